"""Line charts as inline SVG in the colours of the page."""

import io
import re
from collections.abc import Sequence

import numpy as np

THEME_COLOURS = {
    "#010101": "var(--soft)",
    "#020202": "var(--line)",
    "#030303": "var(--accent)",
    "#040404": "var(--paper)",
}
SOFT, LINE, ACCENT, PAPER = THEME_COLOURS


def draw_curve(
    x: Sequence[float],
    y: Sequence[float],
    marked_x: float | None = None,
    smooth: bool = False,
    log_scale: bool = False,
    width_inches: float = 3.9,
) -> str:
    """A line chart as SVG markup. `smooth` adds a running mean, `marked_x` marks the nearest point."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "unreel", "font.size": 8.5}):
        figure = Figure(figsize=(width_inches, 1.75), layout="constrained")
        axes = figure.add_subplot()
        draw_line(axes, np.asarray(x, float), np.asarray(y, float), smooth)
        if marked_x is not None and len(x):
            at = int(np.abs(np.asarray(x) - marked_x).argmin())
            axes.axvline(x[at], color=ACCENT, lw=0.9, ls=(0, (3, 3)), alpha=0.7)
            axes.plot(x[at], y[at], "o", color=ACCENT, ms=8, mec=PAPER, mew=1.6, zorder=5)
        style_axes(axes, log_scale and bool(np.all(np.asarray(y) > 0)))
        out = io.StringIO()
        figure.savefig(
            out, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    return inline_svg(out.getvalue())


def draw_line(axes: object, x: np.ndarray, y: np.ndarray, smooth: bool) -> None:
    """The line, with dots when it has few points; fainter behind its running mean with `smooth`."""
    assert hasattr(axes, "plot")
    if smooth and len(y) >= 20:
        axes.plot(x, y, color=ACCENT, lw=0.8, alpha=0.3)
        axes.plot(x, compute_running_mean(y, max(3, len(y) // 30)), color=ACCENT, lw=1.7)
    else:
        axes.plot(x, y, color=ACCENT, lw=1.7, marker="o" if len(x) <= 30 else None, ms=3.2)


def style_axes(axes: object, log_scale: bool) -> None:
    """Hairlines only."""
    from matplotlib.axes import Axes
    from matplotlib.ticker import MaxNLocator

    assert isinstance(axes, Axes)
    if log_scale:
        axes.set_yscale("log")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.margins(y=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.margins(x=0.02)
    axes.grid(axis="y", color=LINE, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=SOFT, length=0, pad=4, which="both")
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(LINE)


def compute_running_mean(y: np.ndarray, width: int) -> np.ndarray:
    """Centred mean over `width` neighbours, over fewer at the ends."""
    ones = np.ones(width)
    return np.convolve(y, ones, "same") / np.convolve(np.ones(len(y)), ones, "same")


def inline_svg(svg: str) -> str:
    """Markup for the middle of a page: no prologue, no fixed size, no addresses, the page's fonts and colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)
    for shade, name in THEME_COLOURS.items():
        svg = svg.replace(shade, name)
    return svg
