"""The values that pass between the rooms of the package.

Axis legend, used in docstrings and as suffixes of local tensor names (`z_BD`):

    B batch    V clip or view of one video    T frame    C channel    H height    W width
    S segment  K negatives, queue or top-k    D feature  N rows of a memory bank or of an index

One layout per stage, turned once: decoded video is uint8 (T, H, W, C), a batch is float (B, C, T, H, W).
"""

import html
import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from unreel.errors import InputError, VideoError

SHOWN_ROWS = 20  # of a table in a notebook

ProgressCallback: TypeAlias = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A unit of training, an instance of instance discrimination: a short video, or one segment of a long recording.

    `video` is the number of the recording, equal for all its segments. Times are seconds in the file, which begins
    `offset_s` seconds into its recording (above 0 only for pieces of a packed corpus).
    """

    path: str
    video: int
    start_s: float
    end_s: float
    label: str = ""
    group: str = ""
    offset_s: float = 0.0


@dataclass(frozen=True)
class Moment:
    """An interval of a video file; by default the whole file.

    Args:
        path: the file.
        start_s: where it begins, in seconds.
        end_s: where it ends, in seconds; infinity is the end of the file.

    >>> unreel.Moment("jump.mp4", 2.0, 3.5)
    Moment(path='jump.mp4', start_s=2.0, end_s=3.5)
    """

    path: str
    start_s: float = 0.0
    end_s: float = math.inf


@dataclass(frozen=True, slots=True, order=True)
class FileFailure:
    """A file that can't be used, its `reason` (one of VIDEO_ERROR_REASONS), and the decoder's message as `detail`.

    `exceeded_limits` tells that a limit of time or memory stopped the reading, so that another try may succeed.
    """

    path: str
    reason: str
    detail: str = ""
    exceeded_limits: bool = field(default=False, compare=False)

    @classmethod
    def from_error(cls, error: VideoError) -> "FileFailure":
        return cls(error.path, error.reason, error.detail)

    @classmethod
    def parse(cls, path: str, text: str) -> "FileFailure":
        """Read back what `str` wrote into a file."""
        reason, _, detail = text.partition(": ")
        return cls(path, reason, detail)

    def to_error(self) -> VideoError:
        return VideoError(self.path, self.reason, self.detail)

    def __str__(self) -> str:
        """The reason with its detail, without the path: "damaged: frame 3"."""
        return f"{self.reason}: {self.detail}".rstrip(": ")


class _RandomRows:
    """Rows with an index for random draws: `draw_B` where it is given, else `index_B`."""

    index_B: Tensor
    draw_B: Tensor | None

    @property
    def rng_index_B(self) -> Tensor:
        """The indices to pass to `draw_uniforms`, int64 (B,)."""
        return self.index_B if self.draw_B is None else self.draw_B


@dataclass
class Clips(_RandomRows):
    """A batch of decoded clips, uint8 (B, V, T, H, W, C): V clips of each of B instances.

    `index_B` numbers the instances of the run, `video_B` their recordings, `start_s_B` is where they begin in the file.
    `failures` are the files that could not be read and are missing from the batch. `draw_B` is the index of each row
    for random draws: the instance, or instance + k * number of instances for draw k of an opened video. It stays on
    the CPU, so that drawing never waits for a GPU.
    """

    frames: Tensor
    index_B: Tensor
    video_B: Tensor
    start_s_B: Tensor
    epoch: int
    failures: list[FileFailure] = field(default_factory=list)
    draw_B: Tensor | None = None

    def truncate(self, num_rows: int) -> "Clips":
        """The first rows of the batch."""
        return self if num_rows == len(self.index_B) else self._map_tensors(lambda tensor: tensor[:num_rows])

    def pin_memory(self) -> "Clips":
        """The batch in pinned memory; loaders call it, so that the copy to a GPU overlaps with computation."""
        return self._map_tensors(lambda tensor: tensor.pin_memory())

    def _map_tensors(self, change: Callable[[Tensor], Tensor]) -> "Clips":
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        changed: dict[str, Any] = {name: change(v) for name, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **changed)


@dataclass
class Views(_RandomRows):
    """The views of a batch of `Clips` that a method trains on: float tensors by name, each (B, C, T, H, W).

    `segment_order_BS` (int64) belongs to the view "shuffled": position s of row b shows segment order[b, s].
    `draw_B` (int64, on the CPU) is the index of each row for random draws, as in `Clips`.
    """

    tensors: dict[str, Tensor]
    index_B: Tensor
    video_B: Tensor
    start_s_B: Tensor
    epoch: int
    segment_order_BS: Tensor | None = None
    draw_B: Tensor | None = None


@dataclass
class StepOutput:
    """The result of a method on one batch: a scalar loss with its graph, and detached scalars for the log."""

    loss: Tensor
    logs: dict[str, Tensor] = field(default_factory=dict)


class Tabular:
    """What shows as a table in a notebook, and turns into a DataFrame where pandas is installed.

    A subclass says what its rows are.
    """

    def list_rows(self) -> list[dict[str, Any]]:
        """The rows, each as column to value."""
        raise NotImplementedError

    def to_pandas(self) -> Any:
        """The rows as a pandas.DataFrame.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise InputError("to_pandas needs pandas: pip install pandas; `list_rows()` needs nothing") from error
        return DataFrame(self.list_rows())

    def _repr_html_(self) -> str:
        """For a notebook: a table of the first rows."""
        rows = self.list_rows()
        columns = list(dict.fromkeys(name for row in rows for name in row))
        lines = [[_format_value(row.get(name, "")) for name in columns] for row in rows[:SHOWN_ROWS]]
        head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(v)}</td>' for v in line)}</tr>" for line in lines)
        more = f"<p>{len(rows) - SHOWN_ROWS:,} more rows</p>" if len(rows) > SHOWN_ROWS else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _format_value(value: Any) -> str:
    """A value of a table in a few characters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass
class Embeddings(Tabular):
    """Vectors of videos or clips, one row each, with the path and the seconds of each row.

    Args:
        vectors: float32 (N, D).
        paths: file of each row.
        start_s: where each row begins in its file, in seconds, float64 (N,).
        end_s: where each row ends, in seconds, float64 (N,).
        labels: label of each row, "" where there is none.
        content_hashes: hash of each row's file; for rows of a store only.

    >>> embeddings = unreel.load_encoder(run).embed(videos / "test.txt", num_clips=2)
    >>> len(embeddings), embeddings.vectors.dtype
    (8, dtype('float32'))
    """

    vectors: np.ndarray
    paths: list[str]
    start_s: np.ndarray
    end_s: np.ndarray
    labels: list[str] = field(default_factory=list)
    content_hashes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        """The number of rows, N."""
        return len(self.paths)

    def __repr__(self) -> str:
        """How many there are, and the first rows."""
        spans = zip(self.paths[:3], self.start_s, self.end_s, strict=False)
        shown = [f"  {path} {start:.2f} to {end:.2f} s" for path, start, end in spans]
        more = [f"  ... {len(self) - 3:,} more"] if len(self) > 3 else []
        shape = " x ".join(map(str, np.shape(self.vectors)))
        count = len(set(self.paths))
        return "\n".join([f"Embeddings of {count:,} video{'s' if count != 1 else ''}, {shape} numbers", *shown, *more])

    def list_rows(self) -> list[dict[str, Any]]:
        """The rows, each as path, seconds, label and vector."""
        labels = self.labels or [""] * len(self)
        values = zip(self.paths, self.start_s, self.end_s, labels, self.vectors, strict=True)
        names = ("path", "start_s", "end_s", "label", "vector")
        return [dict(zip(names, (p, float(a), float(b), label, v), strict=True)) for p, a, b, label, v in values]

    def _repr_html_(self) -> str:
        """For a notebook: the first rows without their vectors."""
        return _RowTable([{n: v for n, v in row.items() if n != "vector"} for row in self.list_rows()])._repr_html_()


class _RowTable(Tabular):
    """Rows as they are."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def list_rows(self) -> list[dict[str, Any]]:
        return self.rows
