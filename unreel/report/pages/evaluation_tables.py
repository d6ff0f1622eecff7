"""Tables of an evaluation as the page shows them."""

from typing import Any

from markupsafe import Markup

from unreel.evaluation.result import Result
from unreel.report.confusion_matrix import build_confusion_matrix
from unreel.report.html_writer import flatten_options
from unreel.report.label_curve import draw_label_curve
from unreel.report.main_figures import (
    Figure,
    find_encoder_rows,
    find_main_column,
    find_main_row,
    format_title,
    get_chosen_k,
    get_figure,
    get_main_figure,
)
from unreel.report.results_file import (
    EvaluationSummary,
)


def build_range(figure: Figure, is_own: bool, name: str = "") -> dict[str, Any]:
    """A figure and its interval on a line from 0 to 100."""
    low, high = (min(100.0, max(0.0, end)) for end in figure.interval)
    at = min(100.0, max(0.0, figure.value))
    return {"at": at, "low": low, "wide": high - low, "own": is_own, "name": name, "said": str(figure)}


def build_table(name: str, result: Result, summary: EvaluationSummary) -> dict[str, Any]:
    """A result as the template shows it: rows with cells, the protocol, confusion and curve."""
    own_rows, extras = find_encoder_rows(result, summary.encoder_rows), result.extras
    rows = [build_row(result, row, row in own_rows) for row in result.rows]
    confusion = extras.get("confusion")
    row = find_main_row(result, summary.encoder_rows)
    return {
        "name": name,
        "title": format_title(result) if result.kind == "retrieval" else result.title,
        "columns": result.columns,
        "rows": rows,
        "ranged": any(row["mark"] for row in rows),
        "main": find_main_column(result, row) if row and result.kind != "knn" else "the chosen k",
        "chosen": bool(get_chosen_k(result)),
        "caption": format_sentence(result.caption),
        "said": extras.get("said", []),
        "warnings": [w for w in result.warnings if w not in summary.warnings],
        "confusion": build_confusion_matrix(confusion) if confusion else None,
        "confusion_row": row,
        "curve": Markup(draw_label_curve(result)) if extras.get("curve") else None,
        "folded": list_protocol(result),
    }


def build_row(result: Result, row: str, is_own: bool) -> dict[str, Any]:
    """A row: its figures with their intervals, and the main figure on a line from 0 to 100."""
    main, cells = find_main_column(result, row), []
    points = [p for p in result.extras.get("curve", []) if p["row"] == row and p["std"] > 0]
    spreads = {p["column"]: f"± {p['std']:.1f}" for p in points}
    for column in result.columns:
        figure = get_figure(result, row, column)
        spread = spreads.get(column, "")
        if figure and figure.low is not None:
            spread = f"{figure.low:.1f} to {figure.high:.1f}"
        value = "" if figure is None else f"{figure.value:.1f}"
        cells.append({"value": value, "spread": spread, "chosen": row in get_chosen_k(result) and column == main})
    main_figure = get_main_figure(result, row)
    mark = main_figure and build_range(main_figure, is_own, row)
    return {"name": row, "own": is_own, "cells": cells, "mark": mark}


def list_protocol(result: Result) -> list[tuple[str, str]]:
    """The protocol in full, a sentence on each floor, and the files that were left out: name and value."""
    options = flatten_options({key: value for key, value in result.protocol.items() if key != "left_out"})
    lines = [(key.replace("_", " "), value) for key, value in options] + list(result.floors.items())
    for file in result.protocol.get("left_out") or []:
        lines.append((f"left out, {file['list']}", f"{file['path']}: {file['reason']}"))
    return lines


def format_sentence(text: str) -> str:
    """With a capital letter and one full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('. ')}."
