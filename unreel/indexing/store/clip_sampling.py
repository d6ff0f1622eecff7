"""Which clips of a video become rows of a store; written into store.json, so that all rows are made alike."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from unreel.embedding import (
    ClipWorkers,
    check_embed_options,
    encode,
    encode_clips,
    join_views,
    load_encoder,
    pool_clips,
)
from unreel.errors import InputError
from unreel.indexing.store.kept_chunks import Chunk, KeptChunks
from unreel.models.encoder.appearance import attach_appearance
from unreel.models.encoder.encoder import Encoder
from unreel.training.run_folder.trained_heads import load_encoder_with_heads
from unreel.types import FileFailure, Instance, ProgressCallback
from unreel.video.loading.sliding_clips import CHUNK_CLIPS, SlidingClipDataset
from unreel.video.sampling.clip_spec import MAX_FPS, ClipSpec

VIDEOS_PER_GROUP = 256  # all first chunks of a group are read before its other chunks


class VideoVectors(NamedTuple):
    """Unit vectors (K, D) and start and end seconds (K, 2) of the video with this index."""

    video_index: int
    vectors_KD: np.ndarray
    spans_K2: np.ndarray


def add_appearance(encoder: Encoder, model: str) -> Encoder:
    """The encoder with a frozen image model beside it, if one is named. Raises InputError."""
    if model:
        attach_appearance(encoder, model)
    return encoder


class ClipSampling(Protocol):
    """A way to choose clips: its JSON for store.json, the encoder it needs, and the rows of videos one by one."""

    def to_json(self) -> dict[str, Any]: ...

    def load_encoder(self, run: str | Path, allow_import: bool) -> Encoder: ...

    def embed_videos(
        self,
        encoder: Encoder,
        videos: Sequence[Instance],
        workers: ClipWorkers,
        on_failure: Callable[[FileFailure], None],
        on_progress: ProgressCallback = ...,
        kept: KeptChunks | None = ...,
    ) -> Iterator[VideoVectors]: ...


@dataclass(frozen=True)
class EvenSampling:
    """`num_clips` clips evenly spread over a video; one row for their mean, or one for each.

    `appearance` names a frozen image model to put beside the encoder, whose description then has it.
    """

    per: Literal["video", "clip"] = "video"
    num_clips: int = 10
    appearance: str = ""

    def __post_init__(self) -> None:
        check_embed_options(self.per, self.num_clips)

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "appearance"}

    def load_encoder(self, run: str | Path, allow_import: bool) -> Encoder:
        """Raises CheckpointError, and InputError for an image model that can't be loaded."""
        return add_appearance(load_encoder(run, allow_import), self.appearance)

    def embed_videos(
        self,
        encoder: Encoder,
        videos: Sequence[Instance],
        workers: ClipWorkers,
        on_failure: Callable[[FileFailure], None],
        on_progress: ProgressCallback = lambda _done, _total: None,
        kept: KeptChunks | None = None,
    ) -> Iterator[VideoVectors]:
        for item in encode(encoder, videos, self.num_clips, workers=workers, on_failure=on_failure):
            yield VideoVectors(item.index, *pool_clips(item, self.per))
            on_progress(item.index + 1, len(videos))


@dataclass(frozen=True)
class SlidingWindow:
    """Clips of `length_s` seconds, one every `hop_s` seconds; 0 means the encoder's clip length, and half a clip.

    `by` says what the rows are: the encoder's features, or the outputs of the heads it was trained with. `appearance`
    names a frozen image model to put beside the encoder, whose description then has it.
    """

    length_s: float = 0.0
    hop_s: float = 0.0
    by: Literal["features", "heads"] = "features"
    appearance: str = ""

    @staticmethod
    def is_json(clips: dict[str, Any]) -> bool:
        """Whether this is the JSON of a sliding window, not of even sampling."""
        return "hop_s" in clips

    def __post_init__(self) -> None:
        for name in ("length_s", "hop_s"):
            if not 0 <= (value := getattr(self, name)) < float("inf"):
                raise InputError(f"{name} must be a number of seconds, or 0 for the default, got {value}")

    def to_json(self) -> dict[str, Any]:
        fields = {name: value for name, value in asdict(self).items() if name != "appearance"}
        return {name: value for name, value in fields.items() if (name, value) != ("by", "features")}

    def load_encoder(self, run: str | Path, allow_import: bool) -> Encoder:
        """Raises CheckpointError, also for an encoder without heads, and InputError for an image model that can't be
        loaded."""
        features = load_encoder(run, allow_import)
        encoder = features if self.by == "features" else load_encoder_with_heads(features, run)
        return add_appearance(encoder, self.appearance)

    def make_clip_spec(self, encoder: Encoder) -> ClipSpec:
        """The encoder's clips at the frame rate that makes them `length_s` long. Raises InputError."""
        clip = encoder.spec.clip
        if not self.length_s:
            return clip
        if clip.num_frames / self.length_s > MAX_FPS:
            raise InputError(f"length_s {self.length_s}: clips have {clip.num_frames} frames; give a longer time")
        return replace(clip, fps=clip.num_frames / self.length_s, stride_frames=0)

    def embed_videos(
        self,
        encoder: Encoder,
        videos: Sequence[Instance],
        workers: ClipWorkers,
        on_failure: Callable[[FileFailure], None],
        on_progress: ProgressCallback = lambda _done, _total: None,
        kept: KeptChunks | None = None,
    ) -> Iterator[VideoVectors]:
        """The first chunk of each video says how many clips it has; the other chunks of long videos follow.

        `on_progress` counts chunks, so that a long video shows how far it is: one a video, and more as they are found.
        Chunks of a video that is not whole yet are given to `kept`, and those that it has are not made again.
        """
        counts = _ChunkCounts(on_progress, len(videos))
        report_once = _ReportOnce(on_failure)
        for first in range(0, len(videos), VIDEOS_PER_GROUP):
            group = range(first, min(first + VIDEOS_PER_GROUP, len(videos)))
            chunks = {video: kept.load(video) if kept else {} for video in group}
            counts.add_kept(chunks.values())
            for video in [video for video in group if is_whole(chunks[video])]:
                yield join_chunks(video, chunks.pop(video))
            for list_names in (list_first, list_further):
                for video, chunk in self._encode_chunks(encoder, videos, list_names(chunks), workers, report_once):
                    chunks[video][chunk.number] = chunk
                    if is_whole(chunks[video]):
                        yield join_chunks(video, chunks.pop(video))
                    elif kept:
                        kept.add(video, videos[video].path, chunk)
                    counts.add(chunk)

    def _encode_chunks(
        self,
        encoder: Encoder,
        videos: Sequence[Instance],
        names: list[tuple[int, int]],
        workers: ClipWorkers,
        on_failure: Callable[[FileFailure], None],
    ) -> Iterator[tuple[int, Chunk]]:
        """Chunks by (number of the video, number of the chunk), each with the number of its video."""
        if not names:  # the start and the end of loader processes cost as much as several videos
            return
        jobs = [(videos[video], number) for video, number in names]
        clips = SlidingClipDataset(jobs, self.make_clip_spec(encoder), encoder.spec.views.resize_hw, self.hop_s)
        for item in encode_clips(encoder, clips, workers=workers, on_failure=on_failure):
            video, number = names[item.index]
            spans_k2 = item.spans_s[number * CHUNK_CLIPS : (number + 1) * CHUNK_CLIPS]
            yield video, Chunk(number, -(-len(item.spans_s) // CHUNK_CLIPS), join_views(item.features), spans_k2)


@dataclass
class _ReportOnce:
    """A failure of each file once: a long video has many chunks."""

    on_failure: Callable[[FileFailure], None]
    paths: set[str] = field(default_factory=set)

    def __call__(self, failure: FileFailure) -> None:
        if failure.path not in self.paths:
            self.paths.add(failure.path)
            self.on_failure(failure)


@dataclass
class _ChunkCounts:
    """How many chunks are done, and of how many: one a video, and more as they are found."""

    on_progress: ProgressCallback
    total: int
    done: int = 0

    def add(self, chunk: Chunk) -> None:
        self.done += 1
        self.total += (chunk.num_chunks - 1) * (chunk.number == 0)
        self.on_progress(self.done, self.total)

    def add_kept(self, found: Iterable[dict[int, Chunk]]) -> None:
        """Count chunks that an earlier process made; of a video's, the first is always there."""
        for chunks in found:
            self.done += len(chunks)
            self.total += count_further(chunks)


def count_further(found: dict[int, Chunk]) -> int:
    """The number of chunks of a video beside one, as its chunks say; 0 where none is there."""
    return next((chunk.num_chunks - 1 for chunk in found.values()), 0)


def is_whole(found: dict[int, Chunk]) -> bool:
    """Whether all chunks of a video are there."""
    return bool(found) and len(found) == 1 + count_further(found)


def list_first(chunks: dict[int, dict[int, Chunk]]) -> list[tuple[int, int]]:
    """The first chunk of each video (by number) of which none is there."""
    return [(video, 0) for video, found in chunks.items() if not found]


def list_further(chunks: dict[int, dict[int, Chunk]]) -> list[tuple[int, int]]:
    """The missing chunks of each video of which some are there."""
    return [
        (video, number)
        for video, found in chunks.items()
        for number in range(1 + count_further(found))
        if found and number not in found
    ]


def join_chunks(video: int, found: dict[int, Chunk]) -> VideoVectors:
    """The rows of all chunks of a video, in order."""
    ordered = [found[number] for number in sorted(found)]
    vectors_KD, spans_K2 = (np.concatenate([chunk[n] for chunk in ordered]) for n in (2, 3))
    return VideoVectors(video, vectors_KD, spans_K2)
