"""The training curves of several settings in one picture: the mean over seeds, and a band from least to most."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unreel.report.run_files import load_csv

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = (
    ("metrics.csv", "loss", "Loss"),
    ("monitors.csv", "moment", "Moment, %"),
    ("monitors.csv", "order", "Order, %"),
    ("monitors.csv", "far_clip", "Far clip, %"),
)
"""File of a run, column, and title of a panel."""


def draw_row_curves(runs: Mapping[str, Sequence[Path]]) -> str:
    """An SVG file of the curves of each row's runs, over steps; a run without a file is left out."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "unreel", "font.size": 8.5}):
        figure = Figure(figsize=(11, 2.8 + 0.2 * len(runs)), layout="constrained")
        panels = figure.subplots(1, len(PANELS))
        for axes, (file, column, title) in zip(panels, PANELS, strict=True):
            for row, folders in runs.items():
                draw_band(axes, row, [read_curve(folder / file, column) for folder in folders])
            axes.set_title(title, fontsize=9)
            axes.set_xlabel("step")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return out.getvalue()


def read_curve(path: Path, column: str) -> dict[float, float]:
    """Step to value; empty where there is no such file or column."""
    return {row["step"]: row[column] for row in load_csv(path) if column in row and np.isfinite(row[column])}


def draw_band(axes: "Axes", row: str, curves: Sequence[dict[float, float]]) -> None:
    """The mean over seeds at each step that all begun runs have, and the band around it."""
    begun = [curve for curve in curves if curve]
    steps = sorted(set.intersection(*(set(curve) for curve in begun))) if begun else []
    values_SN = np.array([[curve[step] for step in steps] for curve in begun])
    mean_N = values_SN.mean(axis=0) if steps else np.array([])
    dots = "o" if len(steps) < 12 else None
    (line,) = axes.plot(steps, mean_N, lw=1.4, label=f"{row} (n={len(begun)})", marker=dots, ms=2.5)
    if len(begun) > 1 and steps:
        axes.fill_between(steps, values_SN.min(axis=0), values_SN.max(axis=0), color=line.get_color(), alpha=0.15, lw=0)
