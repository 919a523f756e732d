"""The learning rate over a step's updates. Without torch: the driver counts updates, the workers do not."""

from bootstrap.config.optimizers import Schedule


def schedule_factor(schedule: Schedule, *, update: int, total: int) -> float:
    """Return the learning-rate factor of update `update` (from 0) out of `total`.

    Rises linearly over the first `warmup` share, stays 1, and falls linearly to `final` over the last `decay` share.
    """
    warm, fall = schedule.warmup * total, schedule.decay * total
    if update < warm:
        return (update + 1) / (warm + 1)
    start = total - fall
    if update <= start or fall <= 0:
        return 1.0
    return 1.0 - (1.0 - schedule.final) * (update - start) / fall
