"""EVAL/report.html: is this encoder worth using on these videos? All from EVAL/results.json, and frames of the videos.

One file that opens anywhere. It answers first, then warns, then shows every figure with its protocol.
"""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from unreel.errors import RunError
from unreel.evaluation.baselines.chance import CHANCE
from unreel.evaluation.result import Result
from unreel.evaluation.video_features import ENCODER, INTACT
from unreel.report.baseline_comparison import (
    BaselineComparison,
    Figure,
    compare_to_baselines,
    draw_conclusion,
    find_encoder_rows,
    find_main_column,
    find_main_row,
    format_title,
    get_chosen_k,
    get_figure,
    get_main_figure,
    get_reliance,
)
from unreel.report.confusion_matrix import build_confusion_matrix
from unreel.report.gallery import NUM_QUERIES, Gallery, build_tiles, sample_evenly
from unreel.report.html_writer import write_html
from unreel.report.label_curve import draw_label_curve
from unreel.report.pages.run_page import flatten_options
from unreel.report.results_file import (
    EXPECTED_CONTAMINATION,
    RESULTS_FILE,
    EvaluationSummary,
    is_number,
    load_summary,
)

FROZEN_KINDS = (
    "retrieval",
    "knn",
    "linear",
)  # the tables that the answer is made of: nothing of the encoder is trained on
MOTION_COLUMN = "R@1 both"
STAGE_TITLES = {"features": "decoding the videos and looking at them, all conditions"}


def write_evaluation_page(folder: str | Path) -> Path:
    """Write FOLDER/report.html from FOLDER/results.json, whole or not at all. Raises RunError and DiskError."""
    folder = Path(folder)
    summary = load_summary(folder)
    try:
        return write_html("evaluation.html", build_context(summary), folder / "report.html")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, jinja2.UndefinedError) as error:
        # what evaluations leave in `extras` has many shapes; one that does not fit is the file's fault
        where, what = folder / RESULTS_FILE, type(error).__name__
        raise RunError(f"{where} holds something that can't be shown ({what}: {error}); evaluate again") from error


def build_context(summary: EvaluationSummary) -> dict[str, Any]:
    """Everything the template shows."""
    found = [
        s
        for r in summary.results.values()
        if r.kind in FROZEN_KINDS
        for s in compare_to_baselines(r, summary.encoder_rows)
    ]
    tuned = [
        s
        for r in summary.results.values()
        if r.kind not in FROZEN_KINDS
        for s in compare_to_baselines(r, summary.encoder_rows)
    ]
    motion = next((r for r in summary.results.values() if r.kind == "motion"), None)
    mild = [said for said in summary.warnings if EXPECTED_CONTAMINATION in said]
    return {
        "summary": summary,
        "about": describe_encoder(summary),
        "answer": draw_conclusion(found),
        "standings": [build_standing(s) for s in found + tuned],
        "facts": build_facts(summary, motion),
        "alarms": [said for said in summary.warnings if said not in mild],
        "warnings": mild + collect_table_warnings(summary),
        "tables": [build_table(n, r, summary) for n, r in summary.results.items() if r is not motion],
        "gallery": build_gallery(summary),
        "motion": motion and build_motion_section(motion, summary),
        "seconds": list_timings(summary),
        "data": list_data(summary),
        "encoder": flatten_options(summary.encoder),
        "command": build_command(summary),
    }


def collect_table_warnings(summary: EvaluationSummary) -> list[str]:
    """What single tables have to say, with the names of the tables."""
    where: dict[str, list[str]] = {}
    for result in summary.results.values():
        for said in result.warnings:
            if said not in summary.warnings and format_title(result) not in where.setdefault(said, []):
                where[said].append(format_title(result))
    return [f"{', '.join(names)}: {said}" for said, names in where.items() if names]


def describe_encoder(summary: EvaluationSummary) -> str:
    """The encoder in a sentence."""
    spec = summary.encoder
    clip, views = spec["clip"], spec["views"]
    rate = f"{clip['fps']:g} a second" if clip["fps"] else f"every {clip['stride_frames']}. frame"
    rate = rate.replace("every 1. frame", "every frame").replace("every 2. frame", "every other frame")
    names = " and ".join(views["names"])
    return (
        f"{spec['backbone']} network, method {spec['method']}, clips of {clip['num_frames']} frames ({rate}) of "
        f"{views['size']} × {views['size']} pixels, {'views' if len(views['names']) > 1 else 'view'} {names}"
    )


# What stands beside a figure: its place on a line from 0 to 100.


def build_range(figure: Figure, is_own: bool, name: str = "") -> dict[str, Any]:
    low, high = (min(100.0, max(0.0, end)) for end in figure.interval)
    at = min(100.0, max(0.0, figure.value))
    return {"at": at, "low": low, "wide": high - low, "own": is_own, "name": name, "said": str(figure)}


def build_standing(comparison: BaselineComparison) -> dict[str, Any]:
    marks = [
        build_range(comparison.rival_figure, False, comparison.rival_row),
        build_range(comparison.encoder_figure, True, comparison.row),
    ]
    return {"what": comparison.title, "verdict": comparison.verdict, "sentence": comparison.sentence, "marks": marks}


def build_facts(summary: EvaluationSummary, motion: Result | None) -> list[tuple[str, str, str]]:
    """Key figures: value, name, and the best floor beside."""
    found = []
    for result in summary.results.values():
        for s in compare_to_baselines(result, summary.encoder_rows):
            if s.is_trivial and (result.kind in FROZEN_KINDS[1:] or result.protocol.get("protocol") == "iic"):
                found.append(
                    (
                        f"{s.encoder_figure.value:.1f} %",
                        s.title,
                        f"best floor {s.rival_figure.value:.1f} %, {s.rival_row}",
                    )
                )
    return found + ([format_reliance(share)] if motion and (share := get_reliance(motion)) else [])


def format_reliance(motion_reliance: dict[str, Any]) -> tuple[str, str, str]:
    """How much of what is found is lost without motion; a share that may be nothing is not given as a figure."""
    name = "Motion reliance"
    if motion_reliance["share"] is None:
        return "none", name, f"not defined: {motion_reliance['why']}"
    ends = f"{motion_reliance['low']:.0f} to {motion_reliance['high']:.0f}"
    if motion_reliance["low"] <= 0 <= motion_reliance["high"]:
        return (
            "not shown",
            name,
            f"{motion_reliance['share']:.0f} % of R@1 above chance, but the interval has 0 in it ({ends})",
        )
    return f"{motion_reliance['share']:.0f} %", name, f"of R@1 above chance is lost when frozen ({ends})"


# Tables.


def build_table(name: str, result: Result, summary: EvaluationSummary) -> dict[str, Any]:
    """A result as the template shows it: rows with cells, the protocol, and its pictures."""
    mine, extras = find_encoder_rows(result, summary.encoder_rows), result.extras
    rows = [build_row(result, row, row in mine) for row in result.rows]
    confusion = extras.get("confusion")
    row = find_main_row(result, summary.encoder_rows)
    return {
        "name": name,
        "title": format_title(result) if result.kind in ("retrieval",) else result.title,
        "columns": result.columns,
        "rows": rows,
        "ranged": any(row["mark"] for row in rows),
        "main": find_main_column(result, row) if row and result.kind != "knn" else "the chosen k",
        "chosen": bool(get_chosen_k(result)),
        "caption": format_sentence(result.caption),
        "warnings": [w for w in result.warnings if w not in summary.warnings],
        "confusion": build_confusion_matrix(confusion) if confusion else None,
        "taken": row,
        "curve": Markup(draw_label_curve(result)) if extras.get("curve") else None,
        "folded": list_protocol(result),
    }


def build_row(result: Result, row: str, is_own: bool) -> dict[str, Any]:
    """A row: its figures with their intervals, the main one marked and placed on a line."""
    main, cells = find_main_column(result, row), []
    points = [p for p in result.extras.get("curve", []) if p["row"] == row and p["std"] > 0]
    spreads = {p["column"]: f"± {p['std']:.1f}" for p in points}
    for column in result.columns:
        shown = get_figure(result, row, column)
        ends = f"{shown.low:.1f} to {shown.high:.1f}" if shown and shown.low is not None else spreads.get(column, "")
        value = "" if shown is None else f"{shown.value:.1f}"
        cells.append({"value": value, "ends": ends, "chosen": row in get_chosen_k(result) and column == main})
    shown = get_main_figure(result, row)
    return {"name": row, "own": is_own, "cells": cells, "mark": shown and build_range(shown, is_own, row)}


def list_protocol(result: Result) -> list[tuple[str, str]]:
    """The protocol in full, what the floors are, and the files that were left out."""
    lines = flatten_options({key: value for key, value in result.protocol.items() if key != "left_out"})
    found = [(key.replace("_", " "), value) for key, value in lines] + list(result.floors.items())
    for file in result.protocol.get("left_out") or []:
        found.append((f"left out, {file['list']}", f"{file['path']}: {file['reason']}"))
    return found


def format_sentence(text: str) -> str:
    """With a capital and one full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('. ')}."


# Motion.


def build_motion_section(result: Result, summary: EvaluationSummary) -> dict[str, Any]:
    """The table in two parts, the encoder's open and the floors' folded, and bars of R@1 for each who looked."""
    whole = build_table("motion", result, summary)
    looked: dict[str, dict[str, str]] = {}
    for row in result.rows:
        who, comma, condition = row.rpartition(", ")
        if comma and MOTION_COLUMN in result.rows[row]:
            looked.setdefault(who, {})[condition] = row
    figures = [get_figure(result, row, MOTION_COLUMN) for rows in looked.values() for row in rows.values()]
    top = max((figure.interval[1] for figure in figures if figure), default=0.0)
    bars = [build_bars(result, who, rows, max(top, 1.0)) for who, rows in looked.items()]
    open_, rest = (
        [row for row in whole["rows"] if (row["own"] or row["name"] == CHANCE) is side] for side in (True, False)
    )
    return {**whole, "rows": open_, "rest": rest, "bars": bars, "said": result.extras.get("said", [])}


def build_bars(result: Result, source: str, rows: dict[str, str], max_value: float) -> dict[str, Any]:
    """Bars of one who looked, a width of 100 for the highest of all."""
    chance = result.rows.get(CHANCE, {}).get(MOTION_COLUMN)
    bars = [
        (condition, result.rows[row][MOTION_COLUMN], 100 * result.rows[row][MOTION_COLUMN] / max_value)
        for condition, row in rows.items()
    ]
    return {
        "who": source,
        "own": source == ENCODER,
        "bars": bars,
        "chance": None if chance is None else min(100.0, 100 * chance / max_value),
        "intact": INTACT in rows,
    }


# What it was made from.


def build_gallery(summary: EvaluationSummary) -> Gallery:
    """Queries of the first retrieval with their neighbours, evenly spread over the test list."""
    for result in summary.results.values():
        asked = result.extras.get("neighbours")
        if asked:
            rows, p = sample_evenly(asked, NUM_QUERIES), result.protocol
            said = (
                f"{len(rows)} of {p.get('queries', 'the')} test videos, evenly spread over the list, not picked, with "
                f"their nearest among {p.get('gallery', 'the')} training videos (all views joined, {p.get('layer')})."
            )
            return Gallery(said, build_tiles(rows, find_common_folder(asked)))
    return Gallery("")


def find_common_folder(queries: Sequence[dict[str, Any]]) -> str:
    """Where all videos of the gallery lie, "" when they have no folder in common."""
    paths = [row["path"] for query in queries for row in (query, *query["hits"])]
    try:
        return os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # some are relative, some not
        return ""


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
    """How to make the figures again: as it was called, else put together from what the results say."""
    if summary.command:
        return summary.command
    words = ["unreel", "evaluate", "all", summary.run, "DATA", "--out", "EVAL"]
    sure = sorted(summary.results.values(), key=lambda r: r.kind != "motion")  # others may have clips of their own
    for name in ("num_clips", "num_crops"):
        values = [r.protocol[name] for r in sure if is_number(r.protocol.get(name))]
        words += [f"--{name.replace('_', '-')}", str(values[0])] if values else []
    return " ".join(words[:3] + [shlex.quote(word) for word in words[3:]])
