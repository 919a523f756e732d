"""The curves of several lineages as one figure: what `curves.py` found and the laws fitted to it, nothing else."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bootstrap.lineage.curves import Curve
from bootstrap.records import Outcome

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""
DASHES = ("-", "--", "-.", ":")
"""Beyond the palette, lines differ by their dashes."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A law to draw beside a curve."""

    value_at: Callable[[float], float]
    label: str


def draw(curves: Sequence[Curve], fits: Sequence[Fitted | None], *, counted: str) -> Figure:
    """Return the figure: the champion's value over the FLOPs since generation 0, on a logarithmic axis.

    Steps are champions, dots promoted generations, crosses rejected ones at their own value, diamonds those kept aside;
    the band is the 95 % interval of a share; the level on the left is generation 0. `counted`: which FLOPs are
    on the axis, in words.
    """
    figure = Figure(figsize=(9.0, 5.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for index, (curve, fit) in enumerate(zip(curves, fits, strict=True)):
        _draw_one(axes, curve, fit, color=COLORS[index % len(COLORS)], dash=DASHES[index // len(COLORS) % len(DASHES)])
    axes.set_xscale("log")
    axes.set_xlabel(f"FLOPs after generation 0 ({counted})")
    axes.set_ylabel(curves[0].quality.label)
    if curves[0].quality.is_share:
        axes.set_ylim(-0.02, 1.02)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if len(curves) <= 8:
        axes.legend(frameon=False, fontsize=9, loc="best")
    else:
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def to_png(figure: Figure) -> bytes:
    """Return the figure as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_one(axes: Axes, curve: Curve, fit: Fitted | None, *, color: str, dash: str) -> None:
    paid = [point for point in curve.points if point.total > 0]
    start = curve.points[0]
    if not paid:
        axes.plot([], [], color=color, marker="o", label=f"{curve.lineage} (generation 0 alone: {start.value:.3g})")
        return
    # On a logarithmic axis nothing stands at 0: the start is drawn from a little before the first cost.
    left = paid[0].total / 1.6
    x = [left, *(point.total for point in paid)]
    axes.step(x, [start.value, *(p.value for p in paid)], where="post", color=color, linestyle=dash, linewidth=1.6)
    if all(point.low is not None for point in (start, *paid)):
        low = [start.low, *(p.low for p in paid)]
        high = [start.high, *(p.high for p in paid)]
        axes.fill_between(x, low, high, step="post", color=color, alpha=0.15, linewidth=0)
    for outcome, marker in ((Outcome.PROMOTED, "o"), (Outcome.REJECTED, "x"), (Outcome.ASIDE, "D")):
        chosen = [point for point in paid if point.outcome is outcome]
        if chosen:
            axes.plot(
                [point.total for point in chosen],
                [point.own for point in chosen],
                marker,
                color=color,
                markersize=5,
                markerfacecolor="none" if outcome is Outcome.ASIDE else color,
            )
    axes.plot([], [], color=color, linestyle=dash, marker="o", markersize=5, label=curve.lineage)
    if fit is not None:
        grid = np.geomspace(left, paid[-1].total * 1.3, 200)
        axes.plot(
            grid, [fit.value_at(c) for c in grid], color=color, linestyle=(0, (1, 1.5)), linewidth=1.2, label=fit.label
        )
