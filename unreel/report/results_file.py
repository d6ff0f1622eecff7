"""EVAL/results.json: the results of `unreel evaluate all`, read back and checked."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unreel import __version__
from unreel.errors import RunError, no_evaluation_error
from unreel.evaluation.result import Result
from unreel.evaluation.video_features import JOINT

RESULTS_FILE = "results.json"
LEGACY_EXPECTED_TEXT = " training videos were in pre-training"  # in files without the field expected_contamination


@dataclass
class EvaluationSummary:
    """Results by name, and everything that they share; `expected_contamination` are the harmless ones of its sentences.

    Those say that pre-training saw the training list, as it does in the papers.
    """

    unreel: str
    run: str
    checkpoint: str
    encoder: dict[str, Any]
    data: dict[str, Any]
    videos: dict[str, int]
    results: dict[str, Result]
    contamination: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    command: str = ""
    seed: int | None = None
    training: dict[str, Any] = field(default_factory=dict)
    expected_contamination: list[str] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    test_videos: dict[str, list[str]] = field(default_factory=dict)
    row: str = ""
    """The row of the sweep that the run is a member of; "" for other runs."""

    @property
    def encoder_rows(self) -> list[str]:
        """Rows of the encoder: its views and, where it has several, all of them joined."""
        return [*self.encoder["views"]["names"], JOINT]

    @property
    def warnings(self) -> list[str]:
        """Warnings that apply to every figure."""
        return [*self.contamination, *self.data.get("notes", [])]

    @property
    def expected_warnings(self) -> list[str]:
        """Those of `warnings` that are no cause for alarm."""
        if self.expected_contamination is None:
            return [text for text in self.warnings if LEGACY_EXPECTED_TEXT in text]
        return [text for text in self.warnings if text in self.expected_contamination]

    def describe_clips(self) -> str:
        """Length, rate and size of the encoder's clips."""
        clip, views = self.encoder["clip"], self.encoder["views"]
        stride = {1: "every frame", 2: "every other frame"}.get(
            clip["stride_frames"], f"every {clip['stride_frames']}. frame"
        )
        rate = f"{clip['fps']:g} a second" if clip["fps"] else stride
        return f"{clip['num_frames']} frames ({rate}) of {views['size']} × {views['size']}"

    def describe_encoder(self) -> str:
        """The encoder in a sentence."""
        names = self.encoder["views"]["names"]
        return (
            f"{self.encoder['backbone']} network, method {self.encoder['method']}, clips of {self.describe_clips()} "
            f"pixels, {'views' if len(names) > 1 else 'view'} {' and '.join(names)}"
        )


def load_summary(folder: str | Path) -> EvaluationSummary:
    """The evaluation in a folder. Raises RunError when there is none, or none that this version can read."""
    path = Path(folder) / RESULTS_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise no_evaluation_error(folder) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path} can't be read ({error})") from error
    try:
        data = json.loads(text, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged ({error}); evaluate again") from error
    try:
        return _parse_summary(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        version = data.get("unreel", "unknown") if isinstance(data, dict) else "unknown"
        raise RunError(
            f"{path} is not what unreel {__version__} writes ({type(error).__name__}: {error}; it was written by "
            f"version {version}); evaluate again"
        ) from error


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is not a figure")


def _parse_summary(data: dict[str, Any]) -> EvaluationSummary:
    known = {name: data[name] for name in EvaluationSummary.__dataclass_fields__ if name in data}
    known["results"] = {name: _parse_result(found) for name, found in data["results"].items()}
    summary = EvaluationSummary(**known)
    for result in summary.results.values():
        result.test_videos = result.test_videos or summary.test_videos
        _check_outcomes(result)
    texts = [summary.unreel, summary.run, summary.checkpoint, summary.command, summary.data["name"]]
    texts += [summary.data["hash"], *summary.warnings, *summary.encoder_rows, summary.encoder["method"], summary.row]
    _require(all(isinstance(text, str) for text in texts), "a name or a sentence is not a text")
    _require(all(isinstance(summary.videos[side], int) for side in ("training", "test")), "'videos' are not counts")
    _require(all(map(is_number, summary.seconds.values())), "'seconds' are not numbers")
    _require(bool(summary.results), "there are no results")
    return summary


def _parse_result(data: dict[str, Any]) -> Result:
    result = Result.from_json(data)
    texts = [result.kind, result.title, result.caption, *result.warnings, *result.floors.values()]
    _require(all(isinstance(text, str) for text in texts), "a title or a sentence is not a text")
    _require(all(is_number(v) for row in result.rows.values() for v in row.values()), "a figure is not a number")
    ends = [end for row in result.intervals.values() for pair in row.values() for end in pair]
    _require(all(map(is_number, ends)), "an interval has no numbers")
    _require(
        isinstance(result.protocol, dict) and isinstance(result.extras, dict), "'protocol' or 'extras' is not a table"
    )
    return result


def _check_outcomes(result: Result) -> None:
    """Each list of outcomes has a number for each test video. Raises ValueError."""
    columns = [values for row in result.outcomes.values() for values in row.values()]
    _require(all(is_number(value) for values in columns for value in values), "an outcome is not a number")
    names = list(result.test_videos.values())
    _require(all(isinstance(name, str) for texts in names for name in texts), "a test video's name is not a text")
    counts = {*map(len, columns), *map(len, names)}
    _require(len(counts) <= 1, "outcomes and test videos differ in number")


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _require(is_valid: bool, message: str) -> None:
    if not is_valid:
        raise ValueError(message)
