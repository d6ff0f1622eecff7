"""The reliability diagram: the share of right answers over the probability that they were given."""

import io
from typing import Any

import numpy as np

from unreel.report import charts


def draw_reliability(bins: dict[str, Any], threshold: float, width_inches: float = 4.6) -> str:
    """Points of each bin as SVG markup, with the counts below; on the dashed diagonal probabilities are exact.

    `bins` has "count", "confidence" and "accuracy" of each bin. The dotted line is the threshold of "none of these".
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "unreel", "font.size": 8.5}):
        figure = Figure(figsize=(width_inches, 4.4), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        _draw_shares(above, bins)
        _draw_counts(below, bins)
        for axes in (above, below):
            axes.axvline(100 * threshold, color=charts.SOFT, lw=1.1, ls=(0, (1.2, 1.8)))
        below.set_xlabel("probability of the answer, %", color=charts.SOFT)
        out = io.StringIO()
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(out, format="svg", transparent=True, metadata=metadata)
    return charts.inline_svg(out.getvalue())


def _draw_shares(axes: Any, bins: dict[str, Any]) -> None:
    """A point for each bin that has answers, and its distance from the diagonal."""
    count, confidence, accuracy = (np.array(bins[name], float) for name in ("count", "confidence", "accuracy"))
    charts.style_axes(axes, log_scale=False)
    axes.plot([0, 100], [0, 100], color=charts.SOFT, lw=1.0, ls=(0, (5, 3)))
    filled = count > 0
    x, y = 100 * confidence[filled], 100 * accuracy[filled]
    axes.vlines(x, x, y, color=charts.ACCENT, lw=3, alpha=0.28)
    axes.plot(x, y, color=charts.ACCENT, lw=1.1, alpha=0.5)
    if len(x):  # a point of few answers is small
        axes.scatter(x, y, 10 + 60 * count[filled] / count.max(), color=charts.ACCENT, zorder=4)
    axes.set_xticks(range(0, 101, 25))
    axes.set_yticks(range(0, 101, 25))
    axes.set_xlim(-2, 102)
    axes.set_ylim(-3, 103)
    axes.set_ylabel("right, %", color=charts.SOFT)


def _draw_counts(axes: Any, bins: dict[str, Any]) -> None:
    """How many answers lie in each bin."""
    count = np.array(bins["count"], float)
    charts.style_axes(axes, log_scale=False)
    width = 100 / len(count)
    axes.bar((np.arange(len(count)) + 0.5) * width, count, 0.8 * width, color=charts.ACCENT, alpha=0.5)
    axes.set_ylim(0, max(1.0, 1.15 * count.max()))
    axes.set_ylabel("answers", color=charts.SOFT)
