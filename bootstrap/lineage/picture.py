"""The curves of several lineages (`curves.py`), and the laws fitted to them, as one figure."""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bootstrap.ledger_records import GenerationOutcome
from bootstrap.lineage.curves import Curve
from bootstrap.lineage.text import one_line

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
"""Okabe and Ito's palette, whose colours colour-blind readers can tell apart."""
DASHES = ("-", "--", "-.", ":")
"""With more curves than colours, lines differ by their dashes."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A law to draw beside a curve."""

    value_at: Callable[[float], float]
    label: str


def draw(curves: Sequence[Curve], fits: Sequence[Fitted | None], *, counted: str) -> Figure:
    """Return the figure: quality over the FLOPs since generation 0, on a logarithmic axis.

    Steps are champions, dots promoted generations, crosses rejected ones at their own value, diamonds an arm's
    generations with a line from its start. Bands and bars are 95 % intervals of a share. The level on the left is
    generation 0; values that were not sampled leave a gap. `counted`: the FLOPs on the axis, in words.
    """
    figure = Figure(figsize=(9.0, 5.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for index, (curve, fit) in enumerate(zip(curves, fits, strict=True)):
        color, dash = COLORS[index % len(COLORS)], DASHES[index // len(COLORS) % len(DASHES)]
        if curve.stage is None:
            _draw_champions(axes, curve, fit, color=color, dash=dash)
        else:
            _draw_arm(axes, curve, color=color, dash=dash)
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
        legend = axes.legend(frameon=False, fontsize=9, loc="best")
    else:
        legend = axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for label in legend.get_texts():
        # Names are no formulas, whatever dollar signs they have.
        label.set_parse_math(False)
    return figure


def to_png(figure: Figure) -> bytes:
    """Return the figure as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_champions(axes: Axes, curve: Curve, fit: Fitted | None, *, color: str, dash: str) -> None:
    paid = [point for point in curve.points if point.total > 0]
    start = curve.points[0]
    if not paid or len(curve.points) == 1:
        told = "not sampled" if start.value is None else f"{start.value:.3g}"
        axes.plot([], [], color=color, marker="o", label=f"{_name(curve)} (generation 0 alone: {told})")
        return
    # A logarithmic axis has no 0: the start is drawn slightly before the first cost.
    shown = paid if start.total > 0 else [start, *paid]
    x = [point.total or paid[0].total / 1.6 for point in shown]
    axes.step(x, [_height(p.value) for p in shown], where="post", color=color, linestyle=dash, linewidth=1.6)
    if all(point.low is not None for point in shown):
        low, high = [_height(p.low) for p in shown], [_height(p.high) for p in shown]
        axes.fill_between(x, low, high, step="post", color=color, alpha=0.15, linewidth=0)
    for outcome, marker in ((GenerationOutcome.PROMOTED, "o"), (GenerationOutcome.REJECTED, "x")):
        chosen = [point for point in paid if point.outcome is outcome]
        if chosen:
            axes.plot([p.total for p in chosen], [_height(p.own) for p in chosen], marker, color=color, markersize=5)
    axes.plot([], [], color=color, linestyle=dash, marker="o", markersize=5, label=_name(curve))
    if fit is not None:
        grid = np.geomspace(x[0] if start.total == 0 else paid[1].total, paid[-1].total * 1.3, 200)
        values = [fit.value_at(c - start.total) for c in grid]
        axes.plot(grid, values, color=color, linestyle=(0, (1, 1.5)), linewidth=1.2, label=fit.label)


def _draw_arm(axes: Axes, curve: Curve, *, color: str, dash: str) -> None:
    own = [point for point in curve.points if point.total > 0]
    shown = own if curve.start is None or not curve.start.total else [curve.start, *own]
    axes.plot([p.total for p in shown], [_height(p.value) for p in shown], color=color, linestyle=dash, linewidth=0.8)
    for point in own:
        if point.low is not None and point.high is not None:
            axes.vlines(point.total, point.low, point.high, color=color, linewidth=1.2)
    axes.plot(
        [p.total for p in own],
        [_height(p.value) for p in own],
        "D",
        color=color,
        markersize=5,
        markerfacecolor="none",
        label=_name(curve),
    )


def _name(curve: Curve) -> str:
    return one_line(curve.name, limit=80)


def _height(value: float | None) -> float:
    """Return the value to draw; NaN leaves a gap."""
    return math.nan if value is None else value
