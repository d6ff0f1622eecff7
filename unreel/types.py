"""The few things that travel between the folders.

Axis legend, used in docstrings and as suffixes of local tensor names (`z_BD`):

    B batch    V clip or view of one video    T frame    C channel    H height    W width
    S segment  K negatives, queue or top-k    D feature  N rows of a memory bank or of an index

One layout per stage, turned once: decoded video is uint8 (T, H, W, C), a batch is float (B, C, T, H, W).
"""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from torch import Tensor

from unreel.errors import VideoError


@dataclass(frozen=True, slots=True)
class Instance:
    """What instance discrimination discriminates: a whole short video, or one segment of a long recording.

    `video` numbers the recording, so that segments of one know each other; times are seconds in the file, which begins
    `offset_s` seconds into its recording (0 but for pieces of a packed corpus).
    """

    path: str
    video: int
    start_s: float
    end_s: float
    label: str = ""
    group: str = ""
    offset_s: float = 0.0


@dataclass(frozen=True, slots=True, order=True)
class FileFailure:
    """A file that can't be used: its path, a `reason` out of VIDEO_ERROR_REASONS, and the decoder's own words."""

    path: str
    reason: str
    detail: str = ""

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


@dataclass
class Clips:
    """A batch of decoded clips, uint8 (B, V, T, H, W, C): V clips of each of B instances, and who they are.

    `index_B` is the row of the instance in the run, `video_B` its file, `start_s_B` where it begins in that file.
    `failures` are the files that could not be read and are therefore missing from the batch.
    `draw_B` stays on the CPU: whose chance each row takes, so that drawing never waits for a GPU. It is the instance,
    or with several draws of one opened video instance + k * instances for draw k.
    """

    frames: Tensor
    index_B: Tensor
    video_B: Tensor
    start_s_B: Tensor
    epoch: int
    failures: list[FileFailure] = field(default_factory=list)
    draw_B: Tensor | None = None

    @property
    def rng_index_B(self) -> Tensor:
        """What to hand to `uniforms`, int64 (B,)."""
        return self.index_B if self.draw_B is None else self.draw_B

    def truncate(self, num_rows: int) -> "Clips":
        """The batch without what follows the first rows."""
        if num_rows == len(self.index_B):
            return self
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        return Clips(**values | {n: v[:num_rows] for n, v in values.items() if isinstance(v, Tensor)})

    def pin_memory(self) -> "Clips":
        """What a loader calls to make the copy to a GPU overlap with work."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        pinned: dict[str, Any] = {n: v.pin_memory() for n, v in values.items() if isinstance(v, Tensor)}
        return Clips(**values | pinned)


@dataclass
class Views:
    """What a recipe makes of `Clips` and a method trains on: named float views, each (B, C, T, H, W).

    `segment_order_BS` (int64) belongs to the view "shuffled": its segment at position s is segment order[b, s].
    `draw_B` (int64, on the CPU) is whose chance each row takes, as in `Clips`.
    """

    tensors: dict[str, Tensor]
    index_B: Tensor
    video_B: Tensor
    start_s_B: Tensor
    epoch: int
    segment_order_BS: Tensor | None = None
    draw_B: Tensor | None = None

    @property
    def rng_index_B(self) -> Tensor:
        """What to hand to `uniforms`, int64 (B,)."""
        return self.index_B if self.draw_B is None else self.draw_B


@dataclass
class StepOutput:
    """One training step of a method: a scalar loss with its graph, and detached scalars for the log."""

    loss: Tensor
    logs: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Embeddings:
    """float32 (N, D) vectors, one row per video or per clip, and where each comes from.

    Those of a store know the `content_hashes` of their files too.
    """

    vectors: np.ndarray
    paths: list[str]
    start_s: np.ndarray
    end_s: np.ndarray
    labels: list[str] = field(default_factory=list)
    content_hashes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.paths)
