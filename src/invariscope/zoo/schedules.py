"""Learning rates as a function of the completed share of training."""

from __future__ import annotations

import math

from invariscope.common.registry import unknown

SCHEDULES = ("constant", "cosine", "one_cycle")
RISING, START = 0.3, 1 / 25


def learning_rate(schedule: str, peak: float, done: float) -> float:
    """Return the learning rate after a share of the training steps.

    - "constant": the peak throughout.
    - "cosine": from the peak to 0, by a half cosine.
    - "one_cycle": linearly from 1/25 of the peak to the peak during the first 30 % of training, then to 0
      by a half cosine.

    Args:
        schedule: one of these names.
        peak: the largest rate.
        done: completed share of the steps, 0 to 1.
    Raises:
        ValueError: unknown schedule.

    Source:
        Loshchilov and Hutter 2017, arXiv:1608.03983 (cosine, without restarts); Smith and Topin 2018,
        arXiv:1708.07120 (one cycle).

    >>> [round(learning_rate("one_cycle", 0.4, done), 4) for done in (0, 0.15, 0.3, 0.65, 1)]
    [0.016, 0.208, 0.4, 0.2, 0.0]
    """
    if schedule == "constant":
        return peak
    if schedule == "cosine":
        return peak * (1 + math.cos(math.pi * done)) / 2
    if schedule != "one_cycle":
        raise unknown("schedule", schedule, SCHEDULES)
    if done < RISING:
        return peak * (START + (1 - START) * done / RISING)
    return learning_rate("cosine", peak, (done - RISING) / (1 - RISING))
