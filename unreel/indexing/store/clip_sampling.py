"""Which clips of a video become rows of a store; written into store.json, so that all rows are made alike."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from unreel.embedding import (
    InstanceFeatures,
    check_embed_options,
    encode,
    encode_clips,
    join_views,
    load_encoder,
    pool_clips,
)
from unreel.errors import InputError
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
        workers: int,
        on_failure: Callable[[FileFailure], None],
        on_progress: ProgressCallback = ...,
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
        workers: int,
        on_failure: Callable[[FileFailure], None],
        on_progress: ProgressCallback = lambda _done, _total: None,
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
        workers: int,
        on_failure: Callable[[FileFailure], None],
        on_progress: ProgressCallback = lambda _done, _total: None,
    ) -> Iterator[VideoVectors]:
        """The first chunk of each video says how many clips it has; the other chunks of long videos follow.

        `on_progress` counts chunks, so that a long video shows how far it is: one a video, and more as they are found.
        """
        failed: set[str] = set()
        num_done, num_chunks = 0, len(videos)

        def report_once(failure: FileFailure) -> None:
            if failure.path not in failed:  # a long video has many chunks
                failed.add(failure.path)
                on_failure(failure)

        def encode_chunks(chunks: list[tuple[int, int]]) -> Iterator[InstanceFeatures]:
            if not chunks:  # the start and the end of loader processes cost as much as several videos
                return
            jobs = [(videos[video], chunk) for video, chunk in chunks]
            clips = SlidingClipDataset(jobs, self.make_clip_spec(encoder), encoder.spec.views.resize_hw, self.hop_s)
            yield from encode_clips(encoder, clips, workers=workers, on_failure=report_once)

        for first in range(0, len(videos), VIDEOS_PER_GROUP):
            group = range(first, min(first + VIDEOS_PER_GROUP, len(videos)))
            unfinished: dict[int, list[np.ndarray]] = {}
            further: list[tuple[int, int]] = []
            for item in encode_chunks([(video, 0) for video in group]):
                video, vectors = group[item.index], join_views(item.features)
                if len(vectors) == len(item.spans_s):
                    yield VideoVectors(video, vectors, item.spans_s)
                else:
                    unfinished[video] = [vectors]
                    others = range(1, -(-len(item.spans_s) // CHUNK_CLIPS))
                    further += [(video, chunk) for chunk in others]
                    num_chunks += len(others)
                num_done += 1
                on_progress(num_done, num_chunks)
            for item in encode_chunks(further):
                video = further[item.index][0]
                unfinished[video].append(join_views(item.features))
                if sum(map(len, unfinished[video])) == len(item.spans_s):
                    yield VideoVectors(video, np.concatenate(unfinished.pop(video)), item.spans_s)
                num_done += 1
                on_progress(num_done, num_chunks)
