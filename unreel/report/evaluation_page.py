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
from unreel.evaluation.features import INTACT, TRAINED
from unreel.evaluation.floors import CHANCE
from unreel.evaluation.result import Result
from unreel.report.confusion import confusion_view
from unreel.report.headline import (
    Figure,
    Standing,
    answer,
    chosen_k,
    figure,
    main_column,
    main_figure,
    main_row,
    own_rows,
    reliance_of,
    standings,
    title,
)
from unreel.report.label_curve import curve_svg
from unreel.report.neighbours import QUERIES, Gallery, spread, tiles
from unreel.report.run_page import flat
from unreel.report.summary import RESULTS, USUAL, Summary, is_number, load_summary
from unreel.report.template import write_html

FROZEN = ("retrieval", "knn", "linear")  # the tables that the answer is made of: nothing of the encoder is trained on
R1 = "R@1 both"
PARTS = {"features": "decoding the videos and looking at them, all conditions"}


def write_page(folder: str | Path) -> Path:
    """Write FOLDER/report.html from FOLDER/results.json, whole or not at all. Raises RunError and DiskError."""
    folder = Path(folder)
    summary = load_summary(folder)
    try:
        return write_html("evaluation.html", page(summary), folder / "report.html")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, jinja2.UndefinedError) as error:
        # what evaluations leave in `extras` has many shapes; one that does not fit is the file's fault
        where, what = folder / RESULTS, type(error).__name__
        raise RunError(f"{where} holds something that can't be shown ({what}: {error}); evaluate again") from error


def page(summary: Summary) -> dict[str, Any]:
    """Everything the template shows."""
    found = [s for r in summary.results.values() if r.kind in FROZEN for s in standings(r, summary.views)]
    tuned = [s for r in summary.results.values() if r.kind not in FROZEN for s in standings(r, summary.views)]
    motion = next((r for r in summary.results.values() if r.kind == "motion"), None)
    mild = [said for said in summary.cautions if USUAL in said]
    return {
        "summary": summary,
        "about": about(summary),
        "answer": answer(found),
        "standings": [standing(s) for s in found + tuned],
        "facts": facts(summary, motion),
        "alarms": [said for said in summary.cautions if said not in mild],
        "warnings": mild + warnings(summary),
        "tables": [table(n, r, summary) for n, r in summary.results.items() if r is not motion],
        "gallery": gallery(summary),
        "motion": motion and motion_view(motion, summary),
        "seconds": seconds(summary),
        "data": data(summary),
        "encoder": flat(summary.encoder),
        "command": command(summary),
    }


def warnings(summary: Summary) -> list[str]:
    """What single tables have to say, with the names of the tables."""
    where: dict[str, list[str]] = {}
    for result in summary.results.values():
        for said in result.warnings:
            if said not in summary.cautions and title(result) not in where.setdefault(said, []):
                where[said].append(title(result))
    return [f"{', '.join(names)}: {said}" for said, names in where.items() if names]


def about(summary: Summary) -> str:
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


def mark(shown: Figure, own: bool, name: str = "") -> dict[str, Any]:
    low, high = (min(100.0, max(0.0, end)) for end in shown.ends)
    at = min(100.0, max(0.0, shown.value))
    return {"at": at, "low": low, "wide": high - low, "own": own, "name": name, "said": str(shown)}


def standing(s: Standing) -> dict[str, Any]:
    marks = [mark(s.beside, False, s.rival), mark(s.own, True, s.row)]
    return {"what": s.what, "verdict": s.verdict, "sentence": s.sentence, "marks": marks}


def facts(summary: Summary, motion: Result | None) -> list[tuple[str, str, str]]:
    """Key figures: value, name, and the best floor beside."""
    found = []
    for result in summary.results.values():
        for s in standings(result, summary.views):
            if s.floor and (result.kind in FROZEN[1:] or result.protocol.get("protocol") == "iic"):
                found.append((f"{s.own.value:.1f} %", s.what, f"best floor {s.beside.value:.1f} %, {s.rival}"))
    return found + ([reliance(share)] if motion and (share := reliance_of(motion)) else [])


def reliance(share: dict[str, Any]) -> tuple[str, str, str]:
    """How much of what is found is lost without motion; a share that may be nothing is not given as a figure."""
    name = "Motion reliance"
    if share["share"] is None:
        return "none", name, f"not defined: {share['why']}"
    ends = f"{share['low']:.0f} to {share['high']:.0f}"
    if share["low"] <= 0 <= share["high"]:
        return "not shown", name, f"{share['share']:.0f} % of R@1 above chance, but the interval has 0 in it ({ends})"
    return f"{share['share']:.0f} %", name, f"of R@1 above chance is lost when frozen ({ends})"


# Tables.


def table(name: str, result: Result, summary: Summary) -> dict[str, Any]:
    """A result as the template shows it: rows with cells, the protocol, and its pictures."""
    mine, extras = own_rows(result, summary.views), result.extras
    rows = [row_view(result, row, row in mine) for row in result.rows]
    confusion = extras.get("confusion")
    row = main_row(result, summary.views)
    return {
        "name": name,
        "title": title(result) if result.kind in ("retrieval",) else result.title,
        "columns": result.columns,
        "rows": rows,
        "ranged": any(row["mark"] for row in rows),
        "main": main_column(result, row) if row and result.kind != "knn" else "the chosen k",
        "chosen": bool(chosen_k(result)),
        "caption": sentence(result.caption),
        "warnings": [w for w in result.warnings if w not in summary.cautions],
        "confusion": confusion_view(confusion) if confusion else None,
        "taken": row,
        "curve": Markup(curve_svg(result)) if extras.get("curve") else None,
        "folded": folded(result),
    }


def row_view(result: Result, row: str, own: bool) -> dict[str, Any]:
    """A row: its figures with their intervals, the main one marked and placed on a line."""
    main, cells = main_column(result, row), []
    points = [p for p in result.extras.get("curve", []) if p["row"] == row and p["std"] > 0]
    spreads = {p["column"]: f"± {p['std']:.1f}" for p in points}
    for column in result.columns:
        shown = figure(result, row, column)
        ends = f"{shown.low:.1f} to {shown.high:.1f}" if shown and shown.low is not None else spreads.get(column, "")
        value = "" if shown is None else f"{shown.value:.1f}"
        cells.append({"value": value, "ends": ends, "chosen": row in chosen_k(result) and column == main})
    shown = main_figure(result, row)
    return {"name": row, "own": own, "cells": cells, "mark": shown and mark(shown, own, row)}


def folded(result: Result) -> list[tuple[str, str]]:
    """The protocol in full, what the floors are, and the files that were left out."""
    lines = flat({key: value for key, value in result.protocol.items() if key != "left_out"})
    found = [(key.replace("_", " "), value) for key, value in lines] + list(result.floors.items())
    for file in result.protocol.get("left_out") or []:
        found.append((f"left out, {file['list']}", f"{file['path']}: {file['reason']}"))
    return found


def sentence(text: str) -> str:
    """With a capital and one full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('. ')}."


# Motion.


def motion_view(result: Result, summary: Summary) -> dict[str, Any]:
    """The table in two parts, the encoder's open and the floors' folded, and bars of R@1 for each who looked."""
    whole = table("motion", result, summary)
    looked: dict[str, dict[str, str]] = {}
    for row in result.rows:
        who, comma, condition = row.rpartition(", ")
        if comma and R1 in result.rows[row]:
            looked.setdefault(who, {})[condition] = row
    top = max((figure(result, row, R1).ends[1] for rows in looked.values() for row in rows.values()), default=0.0)  # type: ignore[union-attr]
    bars = [bar_view(result, who, rows, max(top, 1.0)) for who, rows in looked.items()]
    open_, rest = (
        [row for row in whole["rows"] if (row["own"] or row["name"] == CHANCE) is side] for side in (True, False)
    )
    return {**whole, "rows": open_, "rest": rest, "bars": bars, "said": result.extras.get("said", [])}


def bar_view(result: Result, who: str, rows: dict[str, str], top: float) -> dict[str, Any]:
    """Bars of one who looked, a width of 100 for the highest of all."""
    chance = result.rows.get(CHANCE, {}).get(R1)
    bars = [(condition, result.rows[row][R1], 100 * result.rows[row][R1] / top) for condition, row in rows.items()]
    return {
        "who": who,
        "own": who == TRAINED,
        "bars": bars,
        "chance": None if chance is None else min(100.0, 100 * chance / top),
        "intact": INTACT in rows,
    }


# What it was made from.


def gallery(summary: Summary) -> Gallery:
    """Queries of the first retrieval with their neighbours, evenly spread over the test list."""
    for result in summary.results.values():
        asked = result.extras.get("neighbours")
        if asked:
            rows, p = spread(asked, QUERIES), result.protocol
            said = (
                f"{len(rows)} of {p.get('queries', 'the')} test videos, evenly spread over the list, not picked, with "
                f"their nearest among {p.get('gallery', 'the')} training videos (all views joined, {p.get('layer')})."
            )
            return Gallery(said, tiles(rows, common_folder(asked)))
    return Gallery("")


def common_folder(asked: Sequence[dict[str, Any]]) -> str:
    """Where all videos of the gallery lie, "" when they have no folder in common."""
    paths = [row["path"] for query in asked for row in (query, *query["hits"])]
    try:
        return os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # some are relative, some not
        return ""


def seconds(summary: Summary) -> list[tuple[str, str]]:
    lines = [(PARTS.get(name, name), f"{value:,.1f} s") for name, value in summary.seconds.items()]
    return [*lines, ("in all", f"{sum(summary.seconds.values()):,.1f} s")] if lines else []


def data(summary: Summary) -> list[tuple[str, str]]:
    """The videos and the versions: name and value."""
    videos = summary.videos
    lines = [("Data", summary.data["name"]), ("Hash of names, labels and contents", summary.data["hash"])]
    lines += [("Training videos", f"{videos['training']:,}"), ("Test videos", f"{videos['test']:,}")]
    lines += [("Run", summary.run), ("Checkpoint", summary.checkpoint)]
    return lines + [(f"Version, {name}", str(value)) for name, value in summary.versions.items()]


def command(summary: Summary) -> str:
    """How to make the figures again: as it was called, else put together from what the results say."""
    if summary.command:
        return summary.command
    words = ["unreel", "evaluate", "all", summary.run, "DATA", "--out", "EVAL"]
    sure = sorted(summary.results.values(), key=lambda r: r.kind != "motion")  # others may have clips of their own
    for name in ("num_clips", "num_crops"):
        values = [r.protocol[name] for r in sure if is_number(r.protocol.get(name))]
        words += [f"--{name.replace('_', '-')}", str(values[0])] if values else []
    return " ".join(words[:3] + [shlex.quote(word) for word in words[3:]])
