"""Moments on the command line: VIDEO@12.5-15 or VIDEO@0:12.5-0:15, and hits as a table, JSON or CSV."""

import csv
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unreel.cli.terminal import escape_markup, stderr_console
from unreel.io.text import format_clock

if TYPE_CHECKING:
    from unreel.indexing.search.results import Hit
    from unreel.types import Moment

_CLOCK = r"((?:\d+:){0,2}\d+(?:\.\d+)?)"  # 12.5, 0:12.5 as tables print it, 1:00:12.5
MOMENT_PATTERN = re.compile(f"(.+)@{_CLOCK}-{_CLOCK}", re.DOTALL)


def match_moment(text: str) -> "Moment | None":
    """The moment of VIDEO@START-END; None for other text."""
    from unreel.types import Moment

    match = MOMENT_PATTERN.fullmatch(text)
    return Moment(match[1], parse_clock_s(match[2]), parse_clock_s(match[3])) if match else None


def parse_clock_s(text: str) -> float:
    """Seconds, of hours and minutes too.

    >>> parse_clock_s("12.5"), parse_clock_s("1:02.5"), parse_clock_s("1:00:00")
    (12.5, 62.5, 3600.0)
    """
    seconds = 0.0
    for part in text.split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def warn_of_encoder(folder: Path) -> None:
    """Say, on standard error, that probabilities mean little where an encoder is no better than what needs no training.

    `folder` is the index or run that the verdict about the encoder lies in.
    """
    from unreel.evaluation.verdict.verdict_file import read_verdict

    verdict = read_verdict(folder)
    if verdict is not None and verdict.level == "not better":
        stderr_console.print(escape_markup(f"note: these probabilities mean little. {verdict.sentence}"))


def hit_to_json(hit: "Hit", score_name: str, num_digits: int) -> dict[str, Any]:
    span_s = {"start_s": round(hit.start_s, 3), "end_s": round(hit.end_s, 3)}
    return {"video": hit.path, **span_s, score_name: round(hit.score, num_digits)}


def print_hits_csv(hits: "Iterable[Hit]", score_name: str, with_rows: bool = False) -> None:
    """`with_rows` adds the row of the index that is best in each hit, which `unreel concept` takes."""
    from unreel.indexing.index.row_table import format_moment

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["video", "start_s", "end_s", score_name, *(["row"] if with_rows else [])])
    writer.writerows([*format_moment(hit), f"{hit.score:.4f}", *([hit.rows[0]] if with_rows else [])] for hit in hits)


def format_hit_rows(
    hits: "Sequence[Hit]", names: Sequence[str], values: Sequence[str] | None = None
) -> list[tuple[str, ...]]:
    """Rows of a table: value (by default the score), start, end, name."""
    values = [f"{hit.score:.3f}" for hit in hits] if values is None else values
    return [
        (value, format_clock(hit.start_s), format_clock(hit.end_s), name)
        for value, hit, name in zip(values, hits, names, strict=True)
    ]
