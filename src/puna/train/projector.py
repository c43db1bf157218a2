"""A projector to start from: the principal directions of a warmed-up tower's rows, their common mean left out.

The adapter ends in a GELU, so its rows share a large mean: with a random projector nine tenths of what reached the decoder was the same
for every picture (`docs/log.md`). Llama 4's projector has no bias to take it away, but a matrix that maps the mean's direction to zero
does it as well. [ours]
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from puna.model import Model


@torch.no_grad()
def fit_projector(model: Model, tiles: Iterable[Tensor], rms: float) -> None:
    """Set `model.projector` in place from the rows of `tiles` (`[M, 3, h, w]` each), so that projected rows have this RMS.

    Directions are scaled by their variance to the power of -1/4: halfway between as they are and all alike.
    """
    device = model.projector.weight.device
    rows_RA = torch.cat([model.vision(batch.to(device)).float() for batch in tiles]).double()
    mean_A = rows_RA.mean(0)
    along_A = mean_A / mean_A.norm()
    centred_RA = rows_RA - mean_A
    centred_RA = centred_RA - (centred_RA @ along_A)[:, None] * along_A
    variances_A, directions_AA = torch.linalg.eigh(centred_RA.T @ centred_RA / len(rows_RA))
    width = model.config.width
    count = min(width, len(variances_A) - 1)  # never the mean's own direction, whose variance is nil
    kept = slice(len(variances_A) - count, len(variances_A))  # eigh sorts upwards
    weight_DA = (directions_AA[:, kept] * variances_A[kept].clamp(min=1e-6) ** -0.25).T
    if width > count:  # more outputs than directions: turn them into the wider space, where all outputs get their share
        random_DK = torch.randn(width, count, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        weight_DA = torch.linalg.qr(random_DK).Q.to(weight_DA.device) @ weight_DA
    weight_DA *= rms / (rows_RA @ weight_DA.T).square().mean().sqrt()
    model.projector.weight.copy_(weight_DA)
