"""Vectors of examples: a video, a moment of one, a picture, or a strip of pictures side by side.

A moment of up to two clips is one vector, the mean of clips spread over it. A longer one shows several things, so each
of its clips is a vector; of a very long one some clips, evenly spread.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from unreel.embedding import join_views
from unreel.errors import InputError, VideoError
from unreel.io.limits import WorkerFailure, get_limits
from unreel.io.worker_pool import run_isolated
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import FileFailure, Instance, Moment
from unreel.video.decoding.probe import VideoInfo, probe
from unreel.video.loading.clip_dataset import ClipDataset
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.video.sources.pictures import read_picture

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
NUM_CLIPS = 5  # of a short example, evenly spread
MAX_CLIPS_AVERAGED = 2  # the longest example that is one vector, in clips
MAX_CLIPS = 32  # of a long example
MAX_STRIP_FRAMES = 256  # pictures in a strip


class ExampleError(InputError):
    """An example that can't be used: its path, and the reason."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return ExampleError, (self.path, self.reason)


class ExampleClips(NamedTuple):
    """Clips of an example, uint8 (V, T, H, W, C), and the moment that each shows: one for each clip of a long example,
    else one for all."""

    frames: np.ndarray
    moments: tuple[Moment, ...]


@dataclass(frozen=True)
class ExampleVectors:
    """Unit vectors float32 (K, D) of an example, and the moment that each stands for; K is 1 for a short example.

    `is_still` tells that all its frames are equal, as those of a single picture.
    """

    vectors_KD: np.ndarray
    moments: tuple[Moment, ...]
    is_still: bool = False

    @property
    def mean_D(self) -> np.ndarray:
        """The example as one vector."""
        mean_D: np.ndarray = self.vectors_KD.mean(axis=0)
        return mean_D

    @property
    def has_gaps(self) -> bool:
        """Whether parts of the example are in none of its clips."""
        tolerance_s = (self.moments[0].end_s - self.moments[0].start_s) / 4  # a clip ends with its last frame
        return any(later.start_s > earlier.end_s + tolerance_s for earlier, later in pairwise(self.moments))


def embed_examples(encoder: Encoder, examples: Sequence[Moment]) -> list[ExampleVectors]:
    """The vectors of examples. Raises InputError for one that can't be used."""
    return [embed_example(encoder, example) for example in examples]


def embed_example(encoder: Encoder, example: Moment) -> ExampleVectors:
    """The vectors of an example. Another process reads the file, since a bad one may crash the decoder."""
    clips = run_isolated(read_example_clips, example, encoder.spec, limits=get_limits(example.path))
    if isinstance(clips, WorkerFailure):
        raise ExampleError(example.path, f"nothing to search with ({clips.detail})")
    return embed_clips(encoder, clips)


def read_example_clips(example: Moment, spec: EncoderSpec) -> ExampleClips:
    """The clips of an example, as an encoder takes them. Raises InputError."""
    if not example.start_s < example.end_s:
        raise ExampleError(
            example.path, f"a moment must end after its start, got {example.start_s:g} s to {example.end_s:g} s"
        )
    if is_image(example.path):
        return ExampleClips(read_strip_clip(example.path, spec)[None], (example,))
    return read_moment_clips(example, spec)


def is_image(path: str) -> bool:
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def embed_clips(encoder: Encoder, clips: ExampleClips) -> ExampleVectors:
    """The vectors of an example; where all clips have one moment, that of the mean of their features."""
    views = {n: rows.float().cpu().numpy() for n, rows in encoder.extract_parts(torch.from_numpy(clips.frames)).items()}
    if len(clips.moments) == 1:
        views = {name: rows_VD.mean(axis=0, keepdims=True) for name, rows_VD in views.items()}
    is_still = bool((clips.frames[:, 1:] == clips.frames[:, :1]).all())
    return ExampleVectors(join_views(views), clips.moments, is_still)


def read_moment_clips(example: Moment, spec: EncoderSpec) -> ExampleClips:
    """Clips evenly spread over a moment of a video. Raises InputError."""
    if not example.start_s >= 0:
        raise ExampleError(example.path, f"a moment begins at 0 s or later, got {example.start_s:g} s")
    try:
        info = probe(example.path)
    except VideoError as error:
        raise ExampleError(example.path, f"no video to search with ({FileFailure.from_error(error)})") from error
    if example.start_s >= info.duration_s:
        raise ExampleError(
            example.path, f"the video is {info.duration_s:g} s long; {example.start_s:g} s is after its end"
        )
    span_s, num_clips = compute_clip_span(example, info, spec.clip), count_clips(example, info, spec.clip)
    instance = Instance(str(example.path), 0, *span_s)
    sample = ClipDataset([instance], spec.clip, spec.views.resize_hw, num_clips or NUM_CLIPS)[(0, 0)]
    if sample.frames is None or sample.spans_s is None:
        raise ExampleError(example.path, f"no video to search with ({sample.failure or ''})")
    if not num_clips:
        return ExampleClips(np.asarray(sample.frames), (example,))
    moments = [Moment(example.path, start_s, end_s) for start_s, end_s in np.asarray(sample.spans_s).tolist()]
    return ExampleClips(np.asarray(sample.frames), tuple(moments))


def count_clips(moment: Moment, info: VideoInfo, clip: ClipSpec) -> int:
    """The number of clips that a long moment is divided into, half of each in the next; 0 for a short one."""
    clip_s, length_s = clip.duration_s(info.fps), min(moment.end_s, info.duration_s) - moment.start_s
    if length_s <= MAX_CLIPS_AVERAGED * clip_s + 0.5 / info.fps:
        return 0
    return min(MAX_CLIPS, math.ceil(2 * (length_s - clip_s) / clip_s - 1e-6) + 1)


def compute_clip_span(moment: Moment, info: VideoInfo, clip: ClipSpec) -> tuple[float, float]:
    """Start and end seconds from which the clips of a moment are taken; for a row's own seconds, its clip again.

    The span includes the lead-in frames, and half a frame for seconds that were printed rounded. A moment shorter than
    a clip is extended on both sides, since repeating it would show a jump that the video does not have.
    """
    frame_s, clip_s = 1 / info.fps, clip.duration_s(info.fps)
    tick_s = clip_s / clip.num_frames
    start_s, end_s = moment.start_s, min(moment.end_s, info.duration_s)
    missing_s = clip_s - tick_s + frame_s - (end_s - start_s)  # a row ends with its last frame
    if missing_s > 1.5 * frame_s:
        start_s = max(0.0, min(start_s - missing_s / 2, info.duration_s - clip_s))
        end_s = start_s + clip_s
    begin_s = max(0.0, start_s - tick_s * clip.lead_in)
    end_s = max(end_s + max(0.0, tick_s - frame_s), begin_s + tick_s * clip.total_frames)
    return max(0.0, begin_s - frame_s / 2), end_s - frame_s / 2


def read_strip_clip(path: str, spec: EncoderSpec) -> np.ndarray:
    """A clip uint8 (T, H, W, C) whose frames are the squares of a picture from left to right, shown for equal times.

    A picture less than one and a half squares wide is a single frame, a clip without motion.
    """
    try:
        picture = read_picture(str(path))
    except InputError as error:
        raise ExampleError(path, str(error)) from error
    count = min(MAX_STRIP_FRAMES, max(1, round(picture.shape[1] / picture.shape[0])))
    height, width = spec.views.resize_hw
    edges = np.linspace(0, picture.shape[1], count + 1).round().astype(int)
    squares = [picture[:, a:b, ::-1] for a, b in zip(edges[:-1], edges[1:], strict=True)]
    frames = np.stack([cv2.resize(s, (width, height), interpolation=cv2.INTER_AREA) for s in squares])
    total = spec.clip.total_frames
    return frames[np.arange(total) * count // total]
