"""RUN/report.html: one file that opens anywhere and tells a stranger what was trained, on what, and how it went.

It is made from what the run folder holds and does without what is missing.
"""

import csv
import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import safetensors
from markupsafe import Markup

from unreel.corpus.manifest import Manifest
from unreel.corpus.segments import SEGMENT_S
from unreel.errors import CheckpointError, RunError, UnreelError
from unreel.evaluation.result import Result
from unreel.io.text import format_duration, format_path
from unreel.models.encoder.checkpoint_files import (
    CHECKPOINTS_FOLDER,
    POINTER_FILE,
    WEIGHTS_FILE,
    find_checkpoint,
    read_spec,
)
from unreel.report import charts, gallery
from unreel.report.html_writer import write_html

MetricRow = dict[str, float]


@dataclass(frozen=True)
class CurveSpec:
    """A column worth drawing: its title, and what it says in a few words."""

    column: str
    title: str
    caption: str
    decimals: int = 2
    smooth: bool = False
    log_scale: bool = False


MONITOR_CURVES = (
    CurveSpec(
        "same_video_r1", "Same-video R@1, %", "clips whose nearest comes from their own video; higher is better", 1
    ),
    CurveSpec(
        "same_video_mrr",
        "Same-video MRR",
        "mean reciprocal rank of the own video; looks alone give a high one at step 0",
        3,
    ),
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


def write_report(run: Path) -> Path:
    """Write RUN/report.html, whole or not at all, and return its path. Raises RunError and DiskError.

    >>> write_report(run).name
    'report.html'
    """
    run = Path(run)
    if not run.is_dir():
        raise RunError(f"{run}: no such run folder")
    return write_html("run.html", build_context(run), run / "report.html")


def build_context(run: Path) -> dict[str, Any]:
    """Everything the template shows."""
    notes: list[str] = []
    config = load_json(run / "config.json", notes)
    pointer = load_json(run / CHECKPOINTS_FOLDER / POINTER_FILE, notes)
    metrics, monitors = load_csv(run / "metrics.csv"), load_csv(run / "monitors.csv")
    files = sorted((run / "evaluations").glob("*.json"), key=lambda f: (f.stat().st_mtime, f.name))
    evaluations = [(f.stem, d) for f in files if is_result(d := load_json(f, notes))]
    manifest = load_manifest(run, notes)
    check_encoder(run, notes)
    settings = config.get("settings") or {}
    segment_s = settings.get("segment_s") or SEGMENT_S
    best = next((row for row in monitors if row.get("step") == pointer.get("best_step")), None)
    return {
        "name": run.resolve().name,
        "config": config,
        "lead": settings,
        "facts": build_facts(metrics, best, manifest, monitors),
        "collapsed": find_collapse(monitors),
        "gallery": gallery.build_gallery(run, manifest, [d for _, d in evaluations], segment_s),
        "evaluations": [build_evaluation(name, data) for name, data in reversed(evaluations)],
        "curves": draw_curves(metrics, (LOSS_CURVE,), best) + draw_curves(monitors, MONITOR_CURVES, best),
        "engine": draw_curves(metrics, TRAINING_CURVES, None, width_inches=2.8),
        "best": best,
        "held": bool(gallery.read_held_out(run)),
        "data": manifest and describe_videos(manifest),
        "bad": list_quarantine(manifest) if manifest else [],
        "options": [
            (title, flatten_options(config[key])) for key, title in OPTION_GROUPS if isinstance(config.get(key), dict)
        ],
        "notes": notes,
    }


OPTION_GROUPS = (("options", "Method"), ("settings", "Run"), ("versions", "Versions"))


def load_json(path: Path, notes: list[str]) -> dict[str, Any]:
    """A JSON object; {} when there is none, and a note when it is damaged."""
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        notes.append(f"{path.name} can't be read ({error})")
        return {}
    return data if isinstance(data, dict) else {}


def check_encoder(run: Path, notes: list[str]) -> None:
    """A note when the checkpoint that the run points to is no encoder any more."""
    if not (run / CHECKPOINTS_FOLDER / POINTER_FILE).is_file():
        return
    try:
        folder = find_checkpoint(run)
        read_spec(folder)
        with safetensors.safe_open(folder / WEIGHTS_FILE, "pt"):
            pass
    except CheckpointError as error:
        notes.append(str(error))
    except (OSError, safetensors.SafetensorError) as error:
        notes.append(f"{folder / WEIGHTS_FILE}: the encoder's weights can't be read ({error}); take another checkpoint")


def is_result(data: dict[str, Any]) -> bool:
    """Whether a file in evaluations/ is one that this version wrote."""
    return {"kind", "title", "rows", "caption", "protocol"} <= data.keys() and bool(data["rows"])


def load_csv(path: Path) -> list[MetricRow]:
    """Rows of numbers; cells that are none are left out, and so are rows without a step."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = [{k: parse_number(v) for k, v in row.items() if k} for row in csv.DictReader(file)]
    clean = [{k: v for k, v in row.items() if v is not None} for row in rows]
    return [row for row in clean if "step" in row]


def parse_number(text: Any) -> float | None:
    if text in ("True", "False"):
        return float(text == "True")
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def load_manifest(run: Path, notes: list[str]) -> Manifest | None:
    if not (run / "manifest.parquet").is_file():
        return None
    try:
        return Manifest.load(run)
    except UnreelError as error:
        notes.append(str(error))
        return None


def build_facts(
    metrics: list[MetricRow], best: MetricRow | None, manifest: Manifest | None, monitors: list[MetricRow]
) -> list[tuple[str, str, str]]:
    """The few figures at the top: value, name, remark."""
    found = []
    if manifest:
        videos = manifest.drop_duplicates()
        found.append((f"{len(videos):,}", "videos", f"{format_duration(sum(v.duration_s for v in videos))} of footage"))
    if metrics:
        epochs = metrics[-1].get("epoch")
        remark = f"{epochs:.0f} passes over the data" if epochs is not None and epochs >= 1 else "less than one pass"
        found.append((f"{metrics[-1]['step']:,.0f}", "training steps", remark))
    if best and "same_video_r1" in best:
        chance = f"; chance {100 / best['num_videos']:.1f} %" if best.get("num_videos") else ""
        before = [f", untrained {row['same_video_r1']:.1f} %" for row in monitors[:1] if row.get("step") == 0]
        remark = f"at the best checkpoint, step {best['step']:.0f}{''.join(before)}{chance}"
        found.append((f"{best['same_video_r1']:.1f} %", "same-video R@1", remark))
    if best and "effective_rank" in best:
        found.append((f"{best['effective_rank']:.1f}", "effective rank", "directions the embeddings use"))
    return found


def find_collapse(monitors: list[MetricRow]) -> dict[str, Any] | None:
    """When the embeddings collapsed, and whether they still are at the end."""
    steps = [row["step"] for row in monitors if row.get("collapsed")]
    return {"first": int(steps[0]), "now": bool(monitors[-1].get("collapsed"))} if steps else None


def draw_curves(
    rows: list[MetricRow], specs: tuple[CurveSpec, ...], best_row: MetricRow | None, width_inches: float = 3.9
) -> list[dict[str, Any]]:
    """Charts of the columns that are there, over epochs where they are known, else over steps."""
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


def build_evaluation(name: str, data: dict[str, Any]) -> dict[str, Any]:
    """A table of figures; rows that learned stand out from floors."""
    result = Result.from_json(data)
    cells = {
        row: [result.format_cell(row, c, values.get(c)) for c in result.columns] for row, values in result.rows.items()
    }
    widths = {row: min(100.0, max(0.0, values.get(result.columns[0], 0.0))) for row, values in result.rows.items()}
    table = [(row, row not in result.floors, cells[row], widths[row]) for row in result.rows]
    lines = flatten_options({key: value for key, value in result.protocol.items() if key != "left_out"})
    return {"name": name, "result": result, "table": table, "lines": lines}


def describe_videos(manifest: Manifest) -> list[tuple[str, str]]:
    """The videos in a few lines: name and value."""
    videos = manifest.videos
    labels = {v.label for v in videos if v.label}
    lengths = sorted(v.duration_s for v in videos)
    lines = [("Folder", manifest.root), ("Videos", f"{len(videos):,}")]
    if videos:
        shortest, middle, longest = (format_duration(s) for s in (lengths[0], median(lengths), lengths[-1]))
        lines += [
            ("Footage", format_duration(sum(lengths))),
            ("Length", f"{shortest} to {longest}, median {middle}"),
            ("Codec", format_most_common(v.codec for v in videos)),
            ("Picture", format_most_common(f"{v.width} × {v.height}" for v in videos)),
            ("Rate", format_most_common(f"{v.fps:.4g} fps" for v in videos)),
        ]
    if labels:
        lines.append(("Classes", f"{len(labels)}, known from the layout; training does not see them"))
    twins = len(videos) - len(manifest.drop_duplicates())
    return lines + ([("Duplicates", f"{twins}, used once")] if twins else [])


def format_most_common(values: Any, max_values: int = 4) -> str:
    """The commonest values with their counts."""
    counts = Counter(values).most_common()
    if len(counts) == 1:
        return str(counts[0][0])
    rest = len(counts) - max_values
    return ", ".join(f"{value} ({n:,})" for value, n in counts[:max_values]) + (f" and {rest} more" if rest > 0 else "")


def list_quarantine(manifest: Manifest) -> list[tuple[str, str, str]]:
    """Quarantined files: path, reason, detail."""
    return [(format_path(q.path, manifest.root), q.reason, q.detail) for q in manifest.quarantine]


def flatten_options(options: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A nested dict as lines `outer.inner`, value."""
    lines = []
    for name, value in options.items():
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        lines += flatten_options(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, text)]
    return lines
