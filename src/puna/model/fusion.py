"""Early fusion: vision rows take the places of the patch tokens, counted exactly.

Letters: T tokens, D model width, R vision rows.
"""

from torch import Tensor


class FusionError(ValueError):
    """Patch tokens and vision rows do not agree in number."""


def fuse(embedded_TD: Tensor, is_patch_T: Tensor, rows_RD: Tensor | None) -> Tensor:
    """Overwrite the embedded patch tokens by the vision rows, in order. As many rows as patch tokens, or `FusionError`."""
    num_patches = int(is_patch_T.sum())
    num_rows = 0 if rows_RD is None else rows_RD.shape[0]
    if num_patches != num_rows:
        raise FusionError(
            f"the stream has {num_patches} patch tokens but its tiles give {num_rows} vision rows; "
            "every tile needs exactly its own patch tokens"
        )
    if rows_RD is None:
        return embedded_TD
    return embedded_TD.index_copy(0, is_patch_T.nonzero().squeeze(1), rows_RD.to(embedded_TD.dtype))
