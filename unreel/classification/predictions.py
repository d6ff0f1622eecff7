"""What a classifier says of footage: seconds, class and probability of each clip, or of each video."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from unreel.classification.calibration import UNITS, Calibration, Unit
from unreel.errors import InputError, require_known, unknown_name_error
from unreel.io.atomic_write import atomic_write_csv
from unreel.types import FileFailure, Tabular

NONE_OF_THESE = "none of these"
COLUMNS = ("video", "start_s", "end_s", "class", "probability", "likeliest")


@dataclass(frozen=True)
class PredictionOptions:
    """What a row of predictions is, and from which probability on it is an answer; None is the classifier's own."""

    per: Unit = "clip"
    hop_s: float = 0.0
    num_clips: int = 10
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.per not in UNITS:
            raise unknown_name_error("unit of predictions", self.per, UNITS)
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise InputError(f"a threshold is a probability between 0 and 1, got {self.threshold:g}")

    @classmethod
    def from_named(cls, **named: Any) -> "PredictionOptions":
        """The options by their names. Raises InputError."""
        require_known("option of predictions", named, [f.name for f in fields(cls)])
        return cls(**named)


@dataclass
class Predictions(Tabular):
    """What a classifier says, a row for each clip or each video, by path and time.

    Args:
        paths: file of each row.
        start_s: where each row begins in its file, in seconds, float64 (N,).
        end_s: where each row ends, in seconds, float64 (N,).
        probabilities: calibrated probability of each class, float32 (N, C).
        classes: names of the classes, in that order.
        threshold: a row whose likeliest class has less is "none of these".
        failures: the files that could not be read.

    >>> classifier = unreel.train_classifier(run, videos, out, num_clips=2)
    >>> said = classifier.predict(videos / "test.txt", per="video")
    >>> len(said), set(said.labels) <= {*classifier.classes, "none of these"}
    (8, True)
    """

    paths: list[str]
    start_s: np.ndarray
    end_s: np.ndarray
    probabilities: np.ndarray
    classes: list[str]
    threshold: float
    failures: list[FileFailure] = field(default_factory=list)

    def __len__(self) -> int:
        """The number of rows, N."""
        return len(self.paths)

    def __repr__(self) -> str:
        """How many there are, and the first rows."""
        shown = [f"  {r['video']} {r['start_s']:.2f} to {r['end_s']:.2f} s: {r['class']}" for r in self.iterate_rows(5)]
        more = [f"  ... {len(self) - 5:,} more"] if len(self) > 5 else []
        return "\n".join([f"{len(self):,} predictions, {len(self.classes)} classes", *shown, *more])

    @property
    def likeliest(self) -> list[str]:
        """The class with the highest probability of each row."""
        return [self.classes[n] for n in self.probabilities.argmax(axis=1)] if len(self) else []

    @property
    def labels(self) -> list[str]:
        """The class of each row, "none of these" below the threshold."""
        best_N = self.probabilities.max(axis=1) if len(self) else np.zeros(0)
        return [n if p >= self.threshold else NONE_OF_THESE for n, p in zip(self.likeliest, best_N, strict=True)]

    def list_rows(self) -> list[dict[str, Any]]:
        """The rows, each as video, seconds, class, probability and likeliest class."""
        return list(self.iterate_rows())

    def iterate_rows(self, most: int | None = None) -> Iterator[dict[str, Any]]:
        """`list_rows` one by one, at most so many."""
        best_N = self.probabilities.max(axis=1) if len(self) else np.zeros(0)
        rows = zip(self.paths, self.start_s, self.end_s, self.labels, best_N, self.likeliest, strict=True)
        for n, (path, start_s, end_s, label, best, likeliest) in enumerate(rows):
            if most is not None and n >= most:
                return
            values = (path, float(start_s), float(end_s), label, float(best), likeliest)
            yield dict(zip(COLUMNS, values, strict=True))


@dataclass(frozen=True)
class ClipScores:
    """Log-probabilities (N, C) of the clips of videos, not calibrated, with the path and seconds (N, 2) of each."""

    paths: Sequence[str]
    spans_N2: np.ndarray
    log_p_NC: np.ndarray


def make_predictions(
    scores: ClipScores,
    classes: Sequence[str],
    calibration: Calibration,
    per: Unit,
    failures: Sequence[FileFailure] = (),
) -> Predictions:
    """Calibrated rows in the order of paths and times; `per` video, one row of the mean of its clips."""
    order_N = np.lexsort((scores.spans_N2[:, 0], np.array(scores.paths, dtype=object).astype(str)))
    paths, spans_N2 = [scores.paths[n] for n in order_N], scores.spans_N2[order_N]
    log_p_NC = scores.log_p_NC[order_N]
    if per == "video":
        first_V = [n for n, path in enumerate(paths) if n == 0 or path != paths[n - 1]]
        ends_V = [*first_V[1:], len(paths)]
        parts = [slice(a, b) for a, b in zip(first_V, ends_V, strict=True)]
        spans = [(spans_N2[part, 0].min(), spans_N2[part, 1].max()) for part in parts]
        paths, spans_N2 = [paths[n] for n in first_V], np.array(spans).reshape(-1, 2)
        p_NC = np.stack([calibration.calibrate_video(log_p_NC[part]) for part in parts])
    else:
        p_NC = calibration.calibrate_clips(log_p_NC)
    start_s, end_s = spans_N2.T
    return Predictions(
        paths, start_s, end_s, p_NC.astype(np.float32), list(classes), calibration.threshold, list(failures)
    )


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write the CSV, whole or not at all. Raises DiskError."""
    rows = (
        [r["video"], f"{r['start_s']:.3f}", f"{r['end_s']:.3f}", r["class"], f"{r['probability']:.4f}", r["likeliest"]]
        for r in predictions.iterate_rows()
    )
    atomic_write_csv(path, COLUMNS, rows)


def read_header(path: Path) -> tuple[str, ...]:
    """The columns of a CSV; () for a file that has none, or that can't be read."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return tuple(next(csv.reader(file), ()))
    except (OSError, ValueError, csv.Error):
        return ()
