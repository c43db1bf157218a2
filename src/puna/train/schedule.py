"""Warm-up, stable, decay: the learning rate as a share of its peak, a function of the step alone."""


def warmup_stable_decay(step: int, *, warmup: int, total: int, decay: int, floor: float = 0.0) -> float:
    """Rises linearly over `warmup` steps, stays at 1, falls linearly to `floor` over the last `decay` of `total` steps.

    >>> [round(warmup_stable_decay(s, warmup=2, total=10, decay=4), 2) for s in (0, 1, 5, 8, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.25]
    """
    rising = min(1.0, (step + 1) / warmup) if warmup else 1.0
    falling = min(1.0, (total - step) / decay) if decay else 1.0
    return rising * max(floor, falling)
