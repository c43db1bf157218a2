"""Teaching a tower where its rows stand, for models that already read it.

A decoder tells left from right by what a row says of its column: rotary angles cannot, since their fastest turn is longer than a row of
patches. Nothing in naming things asks a tower to keep that, and one that was trained to name may drop it (`docs/log.md`). Here a fixed code
for each place is added to what the rows say, and the tower learns to say both. [ours]
"""

import copy
from collections.abc import Callable

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from puna.kernels.precision import training_precision
from puna.model import Model
from puna.train.optimizer import build_optimizers, step_at
from puna.train.schedule import warmup_stable_decay

SHARE = 0.3  # of a code's size in a row's: enough to read, too little to drown what the row says


def add_places(
    model: Model, tiles: Callable[[int], Tensor], *, steps: int, lr: float = 5e-3, seed: int = 0, console: Console | None = None
) -> float:
    """Train vision and projector in place, for `steps` batches `tiles(step)` `[M, 3, h, w]`, until each row is what it was plus its place's
    code. Returns how far off the rows of the last batch were, as a share of the codes' size: 1 is where it starts.
    """
    if steps < 1:
        raise ValueError(f"{steps} steps teach nothing; give at least one")
    device = model.projector.weight.device
    learned = nn.ModuleList((model.vision, model.projector))
    vision, projector = copy.deepcopy(learned).requires_grad_(False)
    with torch.no_grad():
        rows = projector(vision(tiles(0).to(device))).unflatten(0, (len(tiles(0)), -1))
        size = SHARE * rows.square().sum(-1).mean().sqrt()
    places = torch.randn(rows.shape[1:], generator=torch.Generator().manual_seed(seed))
    codes_PD = torch.nn.functional.normalize(places - places.mean(0), dim=-1).to(device) * size
    optimizers = build_optimizers(learned, lr, weight_decay=0.0)
    for step in track(range(steps), "learning places", console=console or Console(stderr=True)):
        batch = tiles(step).to(device)
        with training_precision(device.type):
            with torch.no_grad():
                wanted = projector(vision(batch)).unflatten(0, (len(batch), -1)) + codes_PD
            off = (model.embed_tiles(batch).view_as(wanted) - wanted).square().sum(-1).mean() / size.square()
            off.backward()
        rate = warmup_stable_decay(step, warmup=min(20, steps), total=steps, decay=steps // 2)
        step_at(optimizers, rate)
    return float(off.detach().sqrt())
