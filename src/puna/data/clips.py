"""Short videos of 64 x 64 frames, described by data from which every answer is computed: what moves, comes, goes, grows, turns.

A `Clip` says what stands where in each frame; `film` paints it; questions read only the `Clip`. Knows no chat rows.
"""

import random
from dataclasses import dataclass

import numpy as np

from puna.data.backgrounds import background, plain, recolour
from puna.data.emoji import SIZE, artists_of, codes, drawing_at, stamp
from puna.data.emoji_names import code_of

LEFT, RIGHT, UP, DOWN = range(4)  # as in phrases_seen.WAYS
GROWS, SHRINKS, TURNS, STAYS = range(4)  # as in phrases_seen.HAPPENINGS
# Looks the same after a turn.
_ROUND = frozenset(map(code_of, "⚽🏀☀❄🍩🍪🌻🎯🎾🏐🌍🍊🎳⏰🍕🥚"))


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a thing stands in one frame: centre and size in pixels, angle in degrees."""

    x: float
    y: float
    size: int
    angle: float = 0.0


@dataclass(frozen=True, slots=True)
class Actor:
    """One thing: an emoji by `code` and `artist`, and its pose in each frame, None where it is not there."""

    code: str
    artist: str
    poses: tuple[Pose | None, ...]

    def seen(self) -> list[tuple[int, Pose]]:
        """The frames in which it is there."""
        return [(frame, pose) for frame, pose in enumerate(self.poses) if pose is not None]

    def first_frame(self) -> int:
        return self.seen()[0][0]

    def shift(self) -> tuple[float, float]:
        """How far it moves in all, in pixels to the right and down."""
        (_, start), (_, end) = self.seen()[0], self.seen()[-1]
        return end.x - start.x, end.y - start.y

    def way(self) -> int | None:
        """LEFT, RIGHT, UP or DOWN; None for what moves less than 8 pixels."""
        right, down = self.shift()
        if max(abs(right), abs(down)) < 8:
            return None
        return (RIGHT if right > 0 else LEFT) if abs(right) > abs(down) else (DOWN if down > 0 else UP)

    def happening(self) -> int:
        """GROWS, SHRINKS, TURNS or STAYS."""
        (_, start), (_, end) = self.seen()[0], self.seen()[-1]
        if end.size >= 1.5 * start.size:
            return GROWS
        if start.size >= 1.5 * end.size:
            return SHRINKS
        return TURNS if abs(end.angle - start.angle) >= 60 else STAYS


@dataclass(frozen=True, slots=True)
class Clip:
    """What stands where, frame by frame. `timestamps` are seconds from the start, one a frame."""

    actors: tuple[Actor, ...]
    timestamps: tuple[float, ...]

    def in_order(self) -> list[Actor]:
        """By the frame in which each is first there."""
        return sorted(self.actors, key=Actor.first_frame)

    def movers(self) -> list[Actor]:
        return [actor for actor in self.actors if actor.way() is not None]

    def newcomers(self) -> list[Actor]:
        """Not there at first, there at the end."""
        return [actor for actor in self.actors if actor.poses[0] is None and actor.poses[-1] is not None]

    def leavers(self) -> list[Actor]:
        """There at first, not at the end."""
        return [actor for actor in self.actors if actor.poses[0] is not None and actor.poses[-1] is None]


def film(clip: Clip, rng: random.Random) -> tuple[np.ndarray, ...]:
    """The frames as uint8 [64, 64, 3], on one ground and in one light."""
    ground = background(rng) if rng.random() < 0.4 else plain(rng)
    light = rng.getrandbits(32)
    frames = []
    for frame in range(len(clip.timestamps)):
        canvas = ground.copy()
        for actor in clip.actors:
            if (pose := actor.poses[frame]) is not None:
                stamp(canvas, drawing_at(actor.code, actor.artist, pose.size), pose.size, pose.x, pose.y, pose.angle)
        frames.append(recolour(canvas, random.Random(light)))
    return tuple(frames)


def _times(rng: random.Random, least: int = 4) -> tuple[float, ...]:
    """Times of 4 frames, sometimes of 6 or 8, mostly half a second apart."""
    num = max(least, rng.choices((4, 6, 8), (75, 18, 7))[0])
    step = rng.choices((0.5, 0.25, 1.0), (70, 15, 15))[0]
    return tuple(frame * step for frame in range(num))


def _cast(rng: random.Random, num: int, without: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """`num` different emoji, each with an artist."""
    chosen = rng.sample([code for code in codes("emoji") if code not in without], num)
    return [(code, rng.choice(artists_of(code))) for code in chosen]


def _path(rng: random.Random, num: int, way: int, size: int, across: float) -> tuple[Pose, ...]:
    """`num` poses on a nearly straight way from one side towards the other; `across` is where it lies on the other axis."""
    room = SIZE - size
    length = rng.uniform(max(12, 0.5 * room), room)
    start = size / 2 + rng.uniform(0, room - length)
    along = [start + length * frame / (num - 1) + rng.uniform(-1, 1) for frame in range(num)]
    if way in (LEFT, UP):
        along.reverse()
    wobble = [across + rng.uniform(-1.5, 1.5) for _ in range(num)]
    return tuple(Pose(a, b, size) if way in (LEFT, RIGHT) else Pose(b, a, size) for a, b in zip(along, wobble, strict=True))


def moving_clip(rng: random.Random, way: int, watched: bool = False) -> Clip:
    """One thing moves `way`; if `watched`, another stands still beside its path."""
    times = _times(rng)
    size = rng.randint(18, 28) if watched else rng.randint(18, 36)
    lane = rng.choice((0, 1))  # the half of the picture that the path lies in
    across = SIZE * (1 + 2 * lane) / 4 if watched else rng.uniform(size / 2, SIZE - size / 2)
    (code, artist), (other, other_artist) = _cast(rng, 2)
    actors = [Actor(code, artist, _path(rng, len(times), way, size, across))]
    if watched:
        still, place = rng.randint(18, 28), SIZE * (3 - 2 * lane) / 4
        along = rng.uniform(still / 2, SIZE - still / 2)
        pose = Pose(along, place, still) if way in (LEFT, RIGHT) else Pose(place, along, still)
        actors.append(Actor(other, other_artist, (pose,) * len(times)))
    return Clip(tuple(actors), times)


def order_clip(rng: random.Random, number: int) -> Clip:
    """`number` (2 to 4) different things, one after the other, each alone in the picture."""
    times = _times(rng, least=6 if number > 3 else 4)
    cuts = [0, *sorted(rng.sample(range(1, len(times)), number - 1)), len(times)]
    actors = []
    for (code, artist), start, end in zip(_cast(rng, number), cuts, cuts[1:], strict=False):
        size = rng.randint(28, 56)
        x, y = (rng.uniform(size / 2, SIZE - size / 2) for _ in range(2))
        actors.append(Actor(code, artist, tuple(Pose(x, y, size) if start <= frame < end else None for frame in range(len(times)))))
    return Clip(tuple(actors), times)


def appear_clip(rng: random.Random, appears: bool) -> Clip:
    """One or two things stay all the time; one more appears, or disappears, and all stand apart."""
    times = _times(rng)
    change = rng.randrange(1, len(times))
    corners = rng.sample([(16, 16), (48, 16), (16, 48), (48, 48)], rng.choice((2, 2, 3)))
    actors = []
    for place, ((code, artist), (x, y)) in enumerate(zip(_cast(rng, len(corners)), corners, strict=True)):
        size = rng.randint(22, 31)
        pose = Pose(x + rng.uniform(-1, 1), y + rng.uniform(-1, 1), size)
        there = [place > 0 or (frame >= change) == appears for frame in range(len(times))]
        actors.append(Actor(code, artist, tuple(pose if is_there else None for is_there in there)))
    rng.shuffle(actors)
    return Clip(tuple(actors), times)


def change_clip(rng: random.Random, what: int) -> Clip:
    """One thing in its place GROWS, SHRINKS, TURNS or STAYS."""
    times = _times(rng)
    ((code, artist),) = _cast(rng, 1, _ROUND if what == TURNS else frozenset())
    small, large = rng.randint(15, 24), rng.randint(44, 58)
    turn = rng.choice((-1, 1)) * rng.uniform(80, 160) if what == TURNS else 0.0
    steady = rng.randint(26, 44)
    reach = {GROWS: large, SHRINKS: large, TURNS: round(1.42 * steady), STAYS: steady}[what] / 2
    x, y = (rng.uniform(reach, SIZE - reach) for _ in range(2))
    poses = []
    for frame in range(len(times)):
        done = frame / (len(times) - 1)
        size = {GROWS: small + done * (large - small), SHRINKS: large - done * (large - small)}.get(what, steady)
        poses.append(Pose(x, y, round(size), turn * done))
    return Clip((Actor(code, artist, tuple(poses)),), times)
