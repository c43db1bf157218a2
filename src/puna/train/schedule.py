"""Warm-up, stable, decay: the learning rate as a share of its peak, a function of how far a stage has come."""


def rise(step: int, warmup: int) -> float:
    """Linear over `warmup` steps, then 1; step 0 already learns something."""
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


def fall(left: float, decay: float, floor: float = 0.0) -> float:
    """1, then a line to `floor` over the last `decay`; `left` and `decay` in any unit of time."""
    return max(floor, min(1.0, left / decay)) if decay else 1.0


def warmup_stable_decay(step: int, *, warmup: int, total: int, decay: int, floor: float = 0.0) -> float:
    """Rises linearly over `warmup` steps, stays at 1, falls linearly to `floor` over the last `decay` of `total` steps.

    >>> [round(warmup_stable_decay(s, warmup=2, total=10, decay=4), 2) for s in (0, 1, 5, 8, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.25]
    """
    return rise(step, warmup) * fall(total - step, decay, floor)
