"""RUN/report.html: what was trained, on which videos, and how training went; made from the files of the run folder.

Parts whose files are missing are left out.
"""

from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

from unreel.corpus.manifest import Manifest
from unreel.corpus.segments import SEGMENT_S
from unreel.errors import RunError
from unreel.evaluation.result import Result
from unreel.evaluation.run_neighbours import read_held_out
from unreel.evaluation.verdict.decision import Verdict
from unreel.evaluation.verdict.labelled import read_labelled_verdict
from unreel.evaluation.verdict.verdict_file import read_verdict
from unreel.io.text import format_duration, format_path, name_folder
from unreel.models.encoder.checkpoint_files import CHECKPOINTS_FOLDER, POINTER_FILE
from unreel.report import gallery
from unreel.report.html_writer import flatten_options, write_html
from unreel.report.pages.run_curves import LOSS_CURVE, MONITOR_CURVES, TRAINING_CURVES, draw_curves
from unreel.report.run_files import MetricRow, check_encoder, is_result, load_csv, load_json, load_manifest
from unreel.report.verdict_box import build_verdict_box


def write_report(run: Path) -> Path:
    """Write RUN/report.html, whole or not at all.

    Args:
        run: folder of the run.

    Returns:
        The path of the page.

    Raises:
        RunError: the folder does not exist.
        DiskError: the page can't be written.

    >>> unreel.write_report(run).name
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
    segment_s = settings.get("segment_s", SEGMENT_S)
    best = next((row for row in monitors if row.get("step") == pointer.get("best_step")), None)
    checkpoint = str(pointer.get("best") or pointer.get("last") or "")
    verdicts = list_verdicts(run, checkpoint, [d for _, d in evaluations])
    return {
        "name": name_folder(run.resolve()),
        "config": config,
        "lead": settings,
        "facts": build_facts(metrics, best, manifest),
        "verdicts": [build_verdict_box(verdict) for verdict in verdicts],
        "ranks_only": any(verdict.level == "not better" for verdict in verdicts),
        "collapsed": find_collapse(monitors),
        "gallery": gallery.build_gallery(run, manifest, [d for _, d in evaluations], segment_s),
        "evaluations": [build_evaluation(name, data) for name, data in reversed(evaluations)],
        "curves": draw_curves(metrics, (LOSS_CURVE,), best) + draw_curves(monitors, MONITOR_CURVES, best),
        "engine": draw_curves(metrics, TRAINING_CURVES, None, width_inches=2.8),
        "best": best,
        "held": bool(read_held_out(run)),
        "data": manifest and describe_videos(manifest),
        "bad": list_quarantine(manifest) if manifest else [],
        "options": [
            (title, flatten_options(config[key])) for key, title in OPTION_GROUPS if isinstance(config.get(key), dict)
        ],
        "notes": notes,
    }


OPTION_GROUPS = (("options", "Method"), ("settings", "Run"), ("versions", "Versions"))


def list_verdicts(run: Path, checkpoint: str, evaluations: list[dict[str, Any]]) -> list[Verdict]:
    """The verdict of the last evaluation with labels, and the one without labels about this checkpoint."""
    labelled = [read_labelled_verdict(data.get("extras") or {}) for data in evaluations]
    found = [*[verdict for verdict in labelled if verdict][-1:], read_verdict(run, checkpoint)]
    return [verdict for verdict in found if verdict]


def build_facts(
    metrics: list[MetricRow], best: MetricRow | None, manifest: Manifest | None
) -> list[tuple[str, str, str]]:
    """The few figures at the top: value, name, remark."""
    facts = []
    if manifest:
        videos = manifest.drop_duplicates()
        facts.append((f"{len(videos):,}", "videos", f"{format_duration(sum(v.duration_s for v in videos))} of footage"))
    if metrics:
        epochs = metrics[-1].get("epoch")
        remark = f"{epochs:.0f} passes over the data" if epochs is not None and epochs >= 1 else "less than one pass"
        facts.append((f"{metrics[-1]['step']:,.0f}", "training steps", remark))
    if best and "effective_rank" in best:
        facts.append((f"{best['effective_rank']:.1f}", "effective rank", "directions the embeddings use"))
    return facts


def find_collapse(monitors: list[MetricRow]) -> dict[str, Any] | None:
    """The first step with collapsed embeddings, and whether they are still collapsed at the end."""
    steps = [row["step"] for row in monitors if row.get("collapsed")]
    return {"first": int(steps[0]), "now": bool(monitors[-1].get("collapsed"))} if steps else None


def build_evaluation(name: str, data: dict[str, Any]) -> dict[str, Any]:
    """A table of figures; rows that learned are highlighted, floors are grey."""
    result = Result.from_json(data)
    cells = {
        row: [result.format_cell(row, c, values.get(c)) for c in result.columns] for row, values in result.rows.items()
    }
    widths = {row: min(100.0, max(0.0, values.get(result.columns[0], 0.0))) for row, values in result.rows.items()}
    table = [(row, row not in result.floors, cells[row], widths[row]) for row in result.rows]
    lines = flatten_options({key: value for key, value in result.protocol.items() if key != "left_out"})
    return {"name": name, "result": result, "table": table, "lines": lines, "said": result.extras.get("said", [])}


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
