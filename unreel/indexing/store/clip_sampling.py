"""How the clips are chosen whose vectors are a store's rows; kept with the store, so that all its rows are alike."""

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
from unreel.models.encoder.encoder import Encoder
from unreel.training.run_folder.trained_heads import load_encoder_with_heads
from unreel.types import FileFailure, Instance
from unreel.video.loading.sliding_clips import CHUNK_CLIPS, SlidingClipDataset
from unreel.video.sampling.clip_spec import MAX_FPS, ClipSpec

VIDEOS_PER_GROUP = 64  # videos whose further chunks wait for the first ones


class VideoVectors(NamedTuple):
    """Of the video with this number: unit vectors (K, D) and seconds (K, 2)."""

    video_index: int
    vectors_KD: np.ndarray
    spans_K2: np.ndarray


class ClipSampling(Protocol):
    """What a store asks: what to write down of the choice, what embeds, and the rows of videos, one after the other."""

    def to_json(self) -> dict[str, Any]: ...

    def load_encoder(self, run: str | Path, allow_import: bool) -> Encoder: ...

    def embed_videos(
        self,
        encoder: Encoder,
        videos: Sequence[Instance],
        workers: int,
        on_failure: Callable[[FileFailure], None],
    ) -> Iterator[VideoVectors]: ...


@dataclass(frozen=True)
class EvenSampling:
    """So many clips evenly spread over a video; a row for their mean or for each."""

    per: Literal["video", "clip"] = "video"
    num_clips: int = 10

    def __post_init__(self) -> None:
        check_embed_options(self.per, self.num_clips)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def load_encoder(self, run: str | Path, allow_import: bool) -> Encoder:
        return load_encoder(run, allow_import)

    def embed_videos(
        self,
        encoder: Encoder,
        videos: Sequence[Instance],
        workers: int,
        on_failure: Callable[[FileFailure], None],
    ) -> Iterator[VideoVectors]:
        for item in encode(encoder, videos, self.num_clips, workers=workers, on_failure=on_failure):
            yield VideoVectors(item.index, *pool_clips(item, self.per))


@dataclass(frozen=True)
class SlidingWindow:
    """Clips of `length_s` seconds, one every `hop_s`: by default the encoder's own length, and half of a clip.

    Rows are the encoder's features, or what the heads make of them that its method trained it with.
    """

    length_s: float = 0.0
    hop_s: float = 0.0
    by: Literal["features", "heads"] = "features"

    def __post_init__(self) -> None:
        for name in ("length_s", "hop_s"):
            if not 0 <= (value := getattr(self, name)) < float("inf"):
                raise InputError(f"{name} must be a number of seconds, or 0 for the usual, got {value}")

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if (name, value) != ("by", "features")}

    def load_encoder(self, run: str | Path, allow_import: bool) -> Encoder:
        """Raises CheckpointError, also where there are no heads."""
        encoder = load_encoder(run, allow_import)
        return encoder if self.by == "features" else load_encoder_with_heads(encoder, run)

    def make_clip_spec(self, encoder: Encoder) -> ClipSpec:
        """The encoder's clips, at the rate that makes them as long as asked for. Raises InputError."""
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
    ) -> Iterator[VideoVectors]:
        def encoded(chunks: list[tuple[int, int]]) -> Iterator[InstanceFeatures]:
            named = [(videos[video], number) for video, number in chunks]
            clips = SlidingClipDataset(named, self.make_clip_spec(encoder), encoder.spec.views.resize_hw, self.hop_s)
            return encode_clips(encoder, clips, workers=workers, on_failure=left_out)

        def left_out(failure: FileFailure) -> None:
            if failure.path not in lost:  # a video of many chunks is left out once
                lost.add(failure.path)
                on_failure(failure)

        lost: set[str] = set()
        for first in range(0, len(videos), VIDEOS_PER_GROUP):
            group = range(first, min(first + VIDEOS_PER_GROUP, len(videos)))
            long: dict[int, list[np.ndarray]] = {}
            further: list[tuple[int, int]] = []
            for item in encoded([(video, 0) for video in group]):
                video, vectors = group[item.index], join_views(item.features)
                if len(vectors) == len(item.spans_s):
                    yield VideoVectors(video, vectors, item.spans_s)
                else:
                    long[video] = [vectors]
                    further += [(video, number) for number in range(1, -(-len(item.spans_s) // CHUNK_CLIPS))]
            for item in encoded(further):
                video = further[item.index][0]
                long[video].append(join_views(item.features))
                if sum(map(len, long[video])) == len(item.spans_s):
                    yield VideoVectors(video, np.concatenate(long.pop(video)), item.spans_s)
