"""What a clip says is what its frames show."""

import itertools
import random
from pathlib import Path

import numpy as np
import pytest

from puna.data import clips
from puna.data.clips import DOWN, GROWS, LEFT, RIGHT, SHRINKS, STAYS, TURNS, UP, Actor, Clip, Pose, film
from puna.data.emoji import SIZE


def _inside(clip: Clip) -> bool:
    poses = [pose for actor in clip.actors for _, pose in actor.seen()]
    return all(pose.size / 2 - 3 <= min(pose.x, pose.y) and max(pose.x, pose.y) <= SIZE - pose.size / 2 + 3 for pose in poses)


def _apart(clip: Clip) -> bool:
    for frame in range(len(clip.timestamps)):
        there = [pose for actor in clip.actors if (pose := actor.poses[frame]) is not None]
        for a, b in itertools.combinations(there, 2):
            if abs(a.x - b.x) < (a.size + b.size) / 2 - 4 and abs(a.y - b.y) < (a.size + b.size) / 2 - 4:
                return False
    return True


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("way", [LEFT, RIGHT, UP, DOWN])
def test_what_moves_moves_that_way_and_nothing_else_does(data: Path, way: int, watched: bool) -> None:
    for seed in range(40):
        clip = clips.moving_clip(random.Random(seed), way, watched)
        (mover,) = clip.movers()
        assert mover.way() == way and len(clip.actors) == 1 + watched
        along = [pose.x if way in (LEFT, RIGHT) else pose.y for _, pose in mover.seen()]
        steps = np.diff(along)
        assert (steps < 0).all() if way in (LEFT, UP) else (steps > 0).all()
        assert _inside(clip) and _apart(clip)


@pytest.mark.parametrize("number", [2, 3, 4])
def test_things_come_one_after_the_other(data: Path, number: int) -> None:
    for seed in range(40):
        clip = clips.order_clip(random.Random(seed), number)
        assert len({actor.code for actor in clip.actors}) == number and clip.in_order() == list(clip.actors)
        for frame in range(len(clip.timestamps)):
            assert sum(actor.poses[frame] is not None for actor in clip.actors) == 1
        assert all(a.seen()[-1][0] + 1 == b.first_frame() for a, b in itertools.pairwise(clip.in_order())) and _inside(clip)


@pytest.mark.parametrize("appears", [False, True])
def test_one_thing_comes_or_goes_and_the_others_stay(data: Path, appears: bool) -> None:
    for seed in range(40):
        clip = clips.appear_clip(random.Random(seed), appears)
        assert (len(clip.newcomers()), len(clip.leavers())) == ((1, 0) if appears else (0, 1))
        assert sum(None not in actor.poses for actor in clip.actors) == len(clip.actors) - 1
        assert _inside(clip) and _apart(clip)


@pytest.mark.parametrize("what", [GROWS, SHRINKS, TURNS, STAYS])
def test_what_happens_is_what_is_asked_for(data: Path, what: int) -> None:
    for seed in range(40):
        clip = clips.change_clip(random.Random(seed), what)
        assert clip.actors[0].happening() == what and clip.actors[0].way() is None and _inside(clip)


def test_times_start_at_nought_and_are_few(data: Path) -> None:
    lengths = {len(clips.moving_clip(random.Random(seed), LEFT).timestamps) for seed in range(120)}
    assert lengths == {4, 6, 8}
    times = clips.order_clip(random.Random(0), 2).timestamps
    assert times[0] == 0 and all(a < b for a, b in itertools.pairwise(times))


def test_frames_share_ground_and_light(data: Path) -> None:
    still = Actor("1f431", "noto", (Pose(32, 32, 30),) * 4)
    for seed in range(10):
        frames = film(Clip((still,), (0.0, 0.5, 1.0, 1.5)), random.Random(seed))
        assert all(np.array_equal(frame, frames[0]) for frame in frames)
    gone = Actor("1f431", "noto", (Pose(32, 32, 30), None))
    first, second = film(Clip((gone,), (0.0, 0.5)), random.Random(1))
    changed = np.argwhere((first != second).any(axis=-1))
    assert len(changed) > 400 and changed.min() >= 16 and changed.max() <= 47
