"""The curve of accuracy over labels per class, as SVG."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from unreel.evaluation.protocols.label_sampling import ALL_LABELS
from unreel.evaluation.result import Result
from unreel.report import charts


def draw_label_curve(result: Result, width_inches: float = 6.2) -> str:
    """Lines over labels per class as SVG markup, labelled at their right ends, with a band of one deviation."""
    import matplotlib
    from matplotlib.figure import Figure

    lines: dict[str, list[dict[str, Any]]] = {}
    for point in result.extras["curve"]:
        lines.setdefault(point["row"], []).append(point)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "unreel", "font.size": 8.5}):
        figure = Figure(figsize=(width_inches, 2.9), layout="constrained")
        axes = figure.add_subplot()
        charts.style_axes(axes, log_scale=False)
        for n, (name, points) in enumerate(lines.items()):
            _draw_line(axes, points, n, is_learned=name not in result.floors)
        _label_ends(axes, lines, result.floors)
        _set_ticks(axes, lines)
        out = io.StringIO()
        figure.savefig(
            out, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    return charts.inline_svg(out.getvalue())


DASHES: list[Any] = ["-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (5, 2, 1.2, 2)), (0, (8, 2)), (0, (2.5, 2.5))]


def _draw_line(axes: Any, points: Sequence[dict[str, Any]], line_index: int, is_learned: bool) -> None:
    """The first line in the accent colour, the others softer, each with its own dashes."""
    x, mean, std = (np.array([p[key] for p in points]) for key in ("x", "mean", "std"))
    colour = charts.ACCENT if line_index == 0 else charts.SOFT
    axes.fill_between(x, mean - std, mean + std, color=colour, alpha=0.16 if line_index == 0 else 0.09, lw=0)
    dots = {"marker": "o", "ms": 3.4} if is_learned else {}
    axes.plot(x, mean, color=colour, lw=2.0 if line_index == 0 else 1.1, ls=DASHES[line_index % len(DASHES)], **dots)


def _label_ends(axes: Any, lines: dict[str, list[dict[str, Any]]], baselines: dict[str, str]) -> None:
    """Labels to the right of the last points, moved apart where lines end near each other."""
    low, high = axes.get_ylim()
    ends = {name: points[-1]["mean"] for name, points in lines.items()}
    right = max(points[-1]["x"] for points in lines.values())
    names = sorted(ends, key=ends.__getitem__)
    for name, place in zip(names, space_labels(sorted(ends.values()), (high - low) / 15), strict=True):
        first = name == next(iter(lines))
        axes.annotate(
            name,
            (right, place),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=charts.ACCENT if first else charts.SOFT,
            annotation_clip=False,
        )


def space_labels(positions: Sequence[float], gap: float) -> list[float]:
    """Ascending positions near the given ones, at least `gap` apart, each run centred on its mean."""
    runs: list[list[float]] = []
    for y in positions:
        runs.append([y])
        while len(runs) > 1 and _get_run_top(runs[-2], gap) + gap > _get_run_bottom(runs[-1], gap):
            runs[-2:] = [runs[-2] + runs[-1]]
    return [_get_run_bottom(run, gap) + k * gap for run in runs for k in range(len(run))]


def _get_run_bottom(run: Sequence[float], gap: float) -> float:
    return sum(run) / len(run) - gap * (len(run) - 1) / 2


def _get_run_top(run: Sequence[float], gap: float) -> float:
    return sum(run) / len(run) + gap * (len(run) - 1) / 2


def _set_ticks(axes: Any, lines: dict[str, list[dict[str, Any]]]) -> None:
    """Labels per class on a logarithmic scale, with a tick at each point."""
    from matplotlib.ticker import NullLocator

    points = next(iter(lines.values()))
    ticks = {p["x"]: f"all ({p['x']:g})" if p["column"] == ALL_LABELS else f"{p['x']:g}" for p in points}
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_xlabel("labelled videos per class", color=charts.SOFT)
    axes.yaxis.set_major_formatter("{x:g} %")
