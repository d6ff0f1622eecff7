"""EVAL/report.html: is this encoder worth using on these videos? Made from EVAL/results.json and frames of the videos.

The page begins with the answer, then the warnings, then every figure with its protocol.
"""

import shlex
from pathlib import Path
from typing import Any

import jinja2

from unreel.errors import RunError
from unreel.evaluation.result import Result
from unreel.evaluation.verdict.decision import Verdict
from unreel.evaluation.verdict.labelled import read_labelled_verdict
from unreel.report.baseline_comparison import BaselineComparison, compare_to_baselines, draw_conclusion
from unreel.report.gallery import Gallery, build_retrieval_gallery, find_common_folder
from unreel.report.html_writer import flatten_options, write_html
from unreel.report.main_figures import (
    format_title,
    get_reliance,
)
from unreel.report.pages.evaluation_tables import build_range, build_table
from unreel.report.pages.motion_section import build_motion_section
from unreel.report.results_file import (
    RESULTS_FILE,
    EvaluationSummary,
    is_number,
    load_summary,
)
from unreel.report.verdict_box import build_verdict_box

FROZEN_KINDS = ("retrieval", "knn", "linear")  # the tables that decide: nothing of the encoder is trained further
STAGE_TITLES = {"features": "decoding and feature extraction, all conditions"}


def write_evaluation_page(folder: str | Path) -> Path:
    """Write FOLDER/report.html from FOLDER/results.json, whole or not at all. Raises RunError and DiskError."""
    folder = Path(folder)
    summary = load_summary(folder)
    try:
        return write_html("evaluation.html", build_context(summary), folder / "report.html")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, jinja2.UndefinedError) as error:
        # `extras` has a different shape in each evaluation; one that does not fit means a damaged file
        file, name = folder / RESULTS_FILE, type(error).__name__
        raise RunError(f"{file} holds something that can't be shown ({name}: {error}); evaluate again") from error


def build_context(summary: EvaluationSummary) -> dict[str, Any]:
    """Everything the template shows."""
    frozen, trained = (
        [
            comparison
            for result in summary.results.values()
            if (result.kind in FROZEN_KINDS) is is_frozen
            for comparison in compare_to_baselines(result, summary.encoder_rows)
        ]
        for is_frozen in (True, False)
    )
    motion = next((r for r in summary.results.values() if r.kind == "motion"), None)
    verdict = find_verdict(summary)
    return {
        "summary": summary,
        "about": summary.describe_encoder(),
        "verdict": verdict and build_verdict_box(verdict),
        "ranks_only": verdict is not None and verdict.level == "not better",
        "answer": draw_conclusion(frozen),
        "comparisons": [build_comparison_context(comparison) for comparison in frozen + trained],
        "facts": build_facts(summary, motion),
        "alarms": [text for text in summary.warnings if text not in summary.expected_warnings],
        "warnings": summary.expected_warnings + collect_table_warnings(summary),
        "tables": [build_table(n, r, summary) for n, r in summary.results.items() if r is not motion],
        "gallery": build_gallery(summary),
        "motion": motion and build_motion_section(motion, summary),
        "seconds": list_timings(summary),
        "data": list_data(summary),
        "encoder": flatten_options(summary.encoder),
        "command": build_command(summary),
    }


def find_verdict(summary: EvaluationSummary) -> Verdict | None:
    """The verdict of the first table that has one; None for results of older versions."""
    verdicts = [read_labelled_verdict(result.extras) for result in summary.results.values()]
    return next((verdict for verdict in verdicts if verdict), None)


def collect_table_warnings(summary: EvaluationSummary) -> list[str]:
    """Warnings of single tables, each once, with the names of the tables."""
    tables: dict[str, list[str]] = {}
    for result in summary.results.values():
        for text in result.warnings:
            if text not in summary.warnings and format_title(result) not in tables.setdefault(text, []):
                tables[text].append(format_title(result))
    return [f"{', '.join(names)}: {text}" for text, names in tables.items() if names]


def build_comparison_context(comparison: BaselineComparison) -> dict[str, Any]:
    marks = [
        build_range(comparison.best_baseline_figure, False, comparison.best_baseline_row),
        build_range(comparison.encoder_figure, True, comparison.row),
    ]
    return {"what": comparison.title, "verdict": comparison.verdict, "sentence": comparison.sentence, "marks": marks}


def build_facts(summary: EvaluationSummary, motion: Result | None) -> list[tuple[str, str, str]]:
    """Key figures: value, name, and the best floor beside it."""
    facts = []
    for name, result in summary.results.items():
        for c in compare_to_baselines(result, summary.encoder_rows):
            if c.is_trivial and (result.kind in FROZEN_KINDS[1:] or name == "retrieval"):
                remark = f"best floor {c.best_baseline_figure.value:.1f} %, {c.best_baseline_row}"
                facts.append((f"{c.encoder_figure.value:.1f} %", c.title, remark))
    return facts + ([format_reliance(reliance)] if motion and (reliance := get_reliance(motion)) else [])


def format_reliance(reliance: dict[str, Any]) -> tuple[str, str, str]:
    """How much of R@1 is lost without motion; no figure where the interval contains 0."""
    name, share = "Motion reliance", reliance["share"]
    if share is None:
        return "none", name, f"not defined: {reliance['why']}"
    interval = f"{reliance['low']:.0f} to {reliance['high']:.0f}"
    if reliance["low"] <= 0 <= reliance["high"]:
        return "not shown", name, f"{share:.0f} % of R@1 above chance, but the interval contains 0 ({interval})"
    return f"{share:.0f} %", name, f"of R@1 above chance is lost when frozen ({interval})"


def build_gallery(summary: EvaluationSummary) -> Gallery:
    """Queries of the first retrieval result with their neighbours."""
    for result in summary.results.values():
        if queries := result.extras.get("neighbours"):
            return build_retrieval_gallery(queries, result.protocol, find_common_folder(queries))
    return Gallery("")


def list_timings(summary: EvaluationSummary) -> list[tuple[str, str]]:
    lines = [(STAGE_TITLES.get(name, name), f"{value:,.1f} s") for name, value in summary.seconds.items()]
    return [*lines, ("in all", f"{sum(summary.seconds.values()):,.1f} s")] if lines else []


def list_data(summary: EvaluationSummary) -> list[tuple[str, str]]:
    """The videos and the versions: name and value."""
    videos = summary.videos
    lines = [("Data", summary.data["name"]), ("Hash of names, labels and contents", summary.data["hash"])]
    lines += [("Training videos", f"{videos['training']:,}"), ("Test videos", f"{videos['test']:,}")]
    lines += [("Run", summary.run), ("Checkpoint", summary.checkpoint)]
    return lines + [(f"Version, {name}", str(value)) for name, value in summary.versions.items()]


def build_command(summary: EvaluationSummary) -> str:
    """The command that makes the figures again: as it was called, else rebuilt from the results."""
    if summary.command:
        return summary.command
    words = ["unreel", "evaluate", "all", summary.run, "DATA", "--out", "EVAL"]
    motion_first = sorted(summary.results.values(), key=lambda r: r.kind != "motion")  # others may have other clips
    for name in ("num_clips", "num_crops"):
        values = [r.protocol[name] for r in motion_first if is_number(r.protocol.get(name))]
        words += [f"--{name.replace('_', '-')}", str(values[0])] if values else []
    return " ".join(words[:3] + [shlex.quote(word) for word in words[3:]])
