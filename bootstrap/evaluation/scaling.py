"""How quality grows with compute: ScaleRL's sigmoid, fitted to a lineage's curve.

    R(C) = R_0 + (A - R_0) / (1 + (C_mid / C)^B)                                   (arXiv:2510.13786, equation 1)

`A` is the ceiling, `C_mid` the compute at which half of the gain is had, `B` the steepness; far above `C_mid` it is a
power law in C. `R_0` is generation 0's value and not fitted. As the paper does, A and C_mid are searched on a grid; the
best point is then refined by least squares.

Left out: where the points come from (`lineage/curves.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

MIN_POINTS = 8
"""Points with compute above 0 below which three parameters say more about the noise than about the curve."""
CEILINGS, MIDPOINTS = 24, 24
STEEPNESS = (0.5, 1.0, 2.0, 4.0)
"""Where the refinement starts: each ceiling and midpoint of the grid with the best of these."""
MAX_STEEPNESS = 20.0
UNBOUNDED_GAIN = 10.0
"""Where values have no highest, the ceiling is searched up to so many times the gain seen."""
WIDEST = 0.5
"""A parameter whose standard error exceeds this share of it (for A: of the gain) is not identified by the data."""


@dataclass(frozen=True, kw_only=True)
class FittedValue:
    value: float
    error: float
    """Standard error, from the residuals and the curvature at the optimum."""


@dataclass(frozen=True, kw_only=True)
class Sigmoid:
    """A fitted curve."""

    start: float
    """R_0."""
    ceiling: FittedValue
    """A."""
    midpoint: FittedValue
    """C_mid, in FLOPs."""
    steepness: FittedValue
    """B."""
    residual: float
    """Root mean square of value - fit."""
    num_points: int
    open_ended: bool
    """Whether the ceiling lies where the search for it ends."""

    @property
    def unidentified(self) -> tuple[str, ...]:
        """Names of the parameters that these points do not pin down: the curve has not begun to bend, or is a step."""
        gain = self.ceiling.value - self.start
        wide = {
            "A": self.open_ended or self.ceiling.error > WIDEST * gain,
            "C_mid": self.midpoint.error > WIDEST * self.midpoint.value,
            "B": self.steepness.error > WIDEST * self.steepness.value or self.steepness.value >= 0.99 * MAX_STEEPNESS,
        }
        return tuple(name for name, is_wide in wide.items() if is_wide)

    def at(self, flops: float) -> float:
        """Return the fitted value after `flops`."""
        return float(_sigmoid(np.array([flops]), self.start, *self._parameters())[0])

    def _parameters(self) -> tuple[float, float, float]:
        return self.ceiling.value, float(np.log(self.midpoint.value)), self.steepness.value


def fit_sigmoid(flops: Sequence[float], values: Sequence[float], *, start: float, highest: float) -> Sigmoid | None:
    """Return the least-squares sigmoid through (compute, value) from `start`; None when there is nothing to fit.

    `highest`: largest value there can be, such as 1 for a share; `math.inf` where there is none. Points without compute
    are left out, being on the curve whatever its parameters. Nothing to fit are fewer than `MIN_POINTS` points, and
    points of which none is above the start.
    """
    x = np.array([c for c in flops if c > 0], dtype=float)
    y = np.array([v for c, v in zip(flops, values, strict=True) if c > 0], dtype=float)
    if len(x) < MIN_POINTS or y.max() <= start:
        return None
    gain = float(y.max()) - start
    top = highest if np.isfinite(highest) else start + UNBOUNDED_GAIN * gain
    lower = [float(y.max()) - 0.25 * gain, np.log(x.min()) - 5, 0.05]
    upper = [top + 1e-9 * gain, np.log(x.max()) + 5, MAX_STEEPNESS]

    def residuals(parameters: np.ndarray) -> np.ndarray:
        return _sigmoid(x, start, *parameters) - y

    starts = [
        np.array([ceiling, midpoint, steepness])
        for ceiling in np.linspace(float(y.max()), top, CEILINGS)
        for midpoint in np.linspace(np.log(x.min()), np.log(x.max()), MIDPOINTS)
        for steepness in STEEPNESS
    ]
    best = min(starts, key=lambda parameters: float(np.sum(residuals(parameters) ** 2)))
    inside = np.clip(best, np.array(lower) + 1e-9, np.array(upper) - 1e-9)
    found = least_squares(residuals, inside, bounds=(lower, upper), x_scale=(gain, 1.0, 1.0))
    degrees = max(len(x) - 3, 1)
    spread = float(np.sum(found.fun**2)) / degrees
    errors = np.sqrt(np.maximum(np.diag(np.linalg.pinv(found.jac.T @ found.jac)) * spread, 0.0))
    # A direction that the residuals do not feel has no curvature, and the pseudo-inverse would call that certainty.
    errors[np.linalg.norm(found.jac, axis=0) < 1e-9] = np.inf
    ceiling, midpoint, steepness = (float(value) for value in found.x)
    return Sigmoid(
        start=start,
        ceiling=FittedValue(value=ceiling, error=float(errors[0])),
        midpoint=FittedValue(value=float(np.exp(midpoint)), error=float(np.exp(midpoint) * errors[1])),
        steepness=FittedValue(value=steepness, error=float(errors[2])),
        residual=float(np.sqrt(np.mean(found.fun**2))),
        num_points=len(x),
        open_ended=not np.isfinite(highest) and ceiling > start + 0.99 * UNBOUNDED_GAIN * gain,
    )


def _sigmoid(flops: np.ndarray, start: float, ceiling: float, log_midpoint: float, steepness: float) -> np.ndarray:
    """Return R(C); written with logarithms, so that no power overflows."""
    exponent = np.clip(steepness * (log_midpoint - np.log(flops)), -500, 500)
    return start + (ceiling - start) / (1 + np.exp(exponent))
