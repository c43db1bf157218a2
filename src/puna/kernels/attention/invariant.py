"""Attention to cached keys whose every query gets the same bits whatever else is computed with it, and however many keys come after.

The keys are cut into blocks of 64, counted from the sequence's (or the chunk's) first; the last block is filled with zeros. A block's
scores and its share of the output are products of one fixed shape; blocks are added pairwise, ((0 + 1) + (2 + 3)) + ..., an order
in which later blocks only ever add. A key that a query must not see has probability exactly zero, so a block of such keys adds zero: it
does not matter whether it is there. The largest score is exact in any order. fp32 inside.

Letters: T new tokens, S keys, N query heads, K key/value heads, G = N / K, H head width, n sequences, b blocks, U keys of a block,
Z = K * n items, R rows: an item's queries, token by token and each with its G heads.
"""

import torch
from torch import Tensor

from puna.kernels.invariant import check_row_functions, cuts, item_row_steps, multiply_items

_U = 64
_MAX_ROWS = 128
_MAX_SCORES = 2**24  # at a time: 64 MB


def invariant_attention(q_TNH: Tensor, k_SKH: Tensor, v_SKH: Tensor, scale: float) -> Tensor:
    """Same contract as `cached_attention`; bit for bit what each query gives alone with the keys up to its own. CPU only."""
    out = invariant_batched_attention(q_TNH[None], k_SKH.transpose(0, 1)[:, None], v_SKH.transpose(0, 1)[:, None], None, scale)
    return out[0]


def invariant_batched_attention(q_nTNH: Tensor, k_KnSH: Tensor, v_KnSH: Tensor, num_keys_n: Tensor | None, scale: float) -> Tensor:
    """Same contract as `batched_attention`, and the bits of `invariant_attention` of each sequence by itself. CPU only.

    Without `num_keys` every place holds a key.
    """
    if q_nTNH.device.type != "cpu":
        raise ValueError(f"batch-invariant attention runs on a CPU only so far, but the queries are on {q_nTNH.device}; leave it off there")
    with torch._C.DisableTorchFunction():  # inside `batch_invariant()` batched products are refused: these are the exception
        return _attend(q_nTNH, k_KnSH, v_KnSH, num_keys_n, scale)


def verify_attention(head_width: int) -> bool:
    """Measure this machine's products of attention's shapes. False if rows or items go one by one: slow, and still invariant."""
    check_row_functions((_U, head_width))
    steps = _row_steps(head_width)
    for rows in steps:
        multiply_items(torch.zeros(1, rows, head_width), torch.zeros(1, _U, head_width).transpose(1, 2))
        multiply_items(torch.zeros(1, rows, _U), torch.zeros(1, _U, head_width))
    return len(steps) > 1


def _row_steps(width: int) -> tuple[int, ...]:
    """Numbers of rows at which both products keep every row's bits."""
    threads = torch.get_num_threads()
    scores, outputs = item_row_steps(width, _U, True, threads), item_row_steps(_U, width, False, threads)
    return tuple(step for step in scores if step in outputs and step <= _MAX_ROWS) or (1,)


def _attend(q_nTNH: Tensor, k_KnSH: Tensor, v_KnSH: Tensor, num_keys_n: Tensor | None, scale: float) -> Tensor:
    n, tokens, heads, width = q_nTNH.shape
    kv_heads, _, keys, _ = k_KnSH.shape
    groups, items = heads // kv_heads, kv_heads * n
    q_ZRH = (q_nTNH.float() * scale).unflatten(2, (kv_heads, groups)).permute(2, 0, 1, 3, 4).reshape(items, tokens * groups, width)
    k_bZUH, v_bZUH = (_blocks(x.reshape(items, keys, width)) for x in (k_KnSH, v_KnSH))
    fewest, most = (keys, keys) if num_keys_n is None else (int(num_keys_n.min()), int(num_keys_n.max()))
    keys_Z1 = keys if num_keys_n is None else num_keys_n.repeat(kv_heads)[:, None]
    steps = _row_steps(width)
    steps = tuple(s for s in steps if s * items * len(k_bZUH) * _U <= _MAX_SCORES) or steps[-1:]
    pieces = []
    for first, step, used in cuts(tokens * groups, steps):
        q = q_ZRH[:, first : first + used]
        if step > used:  # rows that nobody reads
            q = torch.cat((q, q.new_zeros(items, step - used, width)), dim=1)
        after_R = tokens - 1 - torch.arange(first, first + step).clamp_(max=tokens * groups - 1) // groups  # later tokens of the sequence
        whole = (fewest - tokens + 1 + first // groups) // _U  # blocks of which every row sees every key
        blocks = (most - tokens + (first + used - 1) // groups) // _U + 1  # blocks of which some row sees a key
        pieces.append(_attend_blocks(q, k_bZUH[:blocks], v_bZUH[:blocks], keys_Z1 - after_R, whole)[:, :used])
    out = (torch.cat(pieces, dim=1) if len(pieces) != 1 else pieces[0]).unflatten(1, (tokens, groups)).unflatten(0, (kv_heads, n))
    return out.permute(1, 2, 0, 3, 4).reshape(n, tokens, heads, width).to(q_nTNH.dtype)


def _attend_blocks(q_ZRH: Tensor, k_bZUH: Tensor, v_bZUH: Tensor, num_keys_ZR: Tensor, whole: int) -> Tensor:
    """`[Z, R, H]` of rows that see the first `num_keys` keys, and therefore all of the first `whole` blocks."""
    blocks, (items, rows, width) = len(k_bZUH), q_ZRH.shape
    q = q_ZRH.expand(blocks, -1, -1, -1).reshape(-1, rows, width)
    p_bZRU = multiply_items(q, k_bZUH.flatten(0, 1).transpose(1, 2)).view(blocks, items, rows, _U)
    if whole < blocks:
        key_bU = torch.arange(whole * _U, blocks * _U).view(-1, 1, 1, _U)
        p_bZRU[whole:].masked_fill_(key_bU >= num_keys_ZR[..., None], -torch.inf)
    p_bZRU.sub_(p_bZRU.amax(dim=3).amax(dim=0)[..., None]).exp_()
    out_bZRH = multiply_items(p_bZRU.view(-1, rows, _U), v_bZUH.flatten(0, 1)).view(blocks, items, rows, width)
    return _add_pairwise(out_bZRH).div_(_add_pairwise(p_bZRU.sum(dim=3))[..., None])


def _add_pairwise(x: Tensor) -> Tensor:
    """The sum over the first axis as a binary tree from its beginning: zeros at the end, however many, do not change it."""
    while len(x) > 1:
        pairs = len(x) // 2
        added = x[0 : 2 * pairs : 2] + x[1 : 2 * pairs : 2]
        x = torch.cat((added, x[-1:])) if len(x) % 2 else added
    return x[0]


def _blocks(x_ZSH: Tensor) -> Tensor:
    """`[b, Z, U, H]` in fp32, zeros behind the last key."""
    items, keys, width = x_ZSH.shape
    whole, rest = divmod(keys, _U)
    out = torch.empty(whole + (rest > 0), items, _U, width)
    out[:whole] = x_ZSH[:, : whole * _U].unflatten(1, (whole, _U)).transpose(0, 1)
    if rest:
        out[whole, :, :rest] = x_ZSH[:, whole * _U :]
        out[whole, :, rest:] = 0
    return out
