"""The training curves of a run's page."""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from unreel.report import charts
from unreel.report.run_files import MetricRow


@dataclass(frozen=True)
class CurveSpec:
    """A column to draw, with its title and its meaning in a few words."""

    column: str
    title: str
    caption: str
    decimals: int = 2
    smooth: bool = False
    log_scale: bool = False


MONITOR_CURVES = (
    CurveSpec("moment", "Moment, %", "a moment in other looks is found among moments of its video; guessing 50", 1),
    CurveSpec("order", "Order, %", "a moment is told from frozen, shuffled, reversed copies; guessing 50", 1),
    CurveSpec("far_clip", "Far clip, %", "the other end of a video is found in other looks; guessing 50", 1),
    CurveSpec(
        "same_video_r1",
        "Same-video R@1, %",
        "clips whose nearest is of their own video; colours alone do this, so high is no success",
        1,
    ),
    CurveSpec("same_video_mrr", "Same-video MRR", "mean reciprocal rank of the own video; no success either", 3),
    CurveSpec("effective_rank", "Effective rank", "directions the embeddings use; near 1 means collapse", 1),
    CurveSpec("alignment", "Alignment", "squared distance of two clips of one video; lower is closer", 3),
    CurveSpec("uniformity", "Uniformity", "how evenly embeddings fill the sphere; 0 is one point, lower is better"),
)


LOSS_CURVE = CurveSpec("loss", "Loss", "what training lowers; thick line: running mean", 3, smooth=True)


TRAINING_CURVES = (
    CurveSpec("lr", "Learning rate", "step size of the optimiser", 5),
    CurveSpec("grad_norm", "Gradient norm", "jumps mean an unsteady run", 2, smooth=True, log_scale=True),
    CurveSpec("clips_per_s", "Clips per second", "training speed", 1, smooth=True),
    CurveSpec(
        "data_wait", "Waiting for data", "share of the time; high means that decoding is too slow", 2, smooth=True
    ),
)


def draw_curves(
    rows: list[MetricRow], specs: tuple[CurveSpec, ...], best_row: MetricRow | None, width_inches: float = 3.9
) -> list[dict[str, Any]]:
    """Charts of the columns that have values, over epochs where they are known, else over steps."""
    drawn = []
    for curve in specs:
        points = [row for row in rows if curve.column in row]
        axis = "epoch" if all("epoch" in row for row in points) else "step"
        if not points:
            continue
        x, y = [row[axis] for row in points], [row[curve.column] for row in points]
        mark = best_row.get(axis) if best_row and curve is not LOSS_CURVE else None
        svg = Markup(charts.draw_curve(x, y, mark, curve.smooth, curve.log_scale, width_inches))
        last = f"{y[-1]:.{curve.decimals}f}".replace("-", "−")
        drawn.append({"title": curve.title, "said": curve.caption, "last": last, "axis": axis, "svg": svg})
    return drawn
