"""Vectors of examples: a video, a moment of one, a picture, or a strip of pictures side by side."""

from collections.abc import Sequence
from pathlib import Path

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

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
NUM_CLIPS = 5  # of an example, evenly spread
MAX_STRIP_FRAMES = 256  # pictures in a strip


class ExampleError(InputError):
    """An example that can't be used: its path, and the reason."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return ExampleError, (self.path, self.reason)


def embed_examples(encoder: Encoder, examples: Sequence[Moment]) -> np.ndarray:
    """Unit vectors float32 (P, D) of examples. Raises InputError for one that can't be used."""
    return np.concatenate([embed_example(encoder, example) for example in examples])


def embed_example(encoder: Encoder, example: Moment) -> np.ndarray:
    """The unit vector (1, D) of an example. Another process reads the file, since a bad one may crash the decoder."""
    clips = run_isolated(read_example_clips, example, encoder.spec, limits=get_limits(example.path))
    if isinstance(clips, WorkerFailure):
        raise ExampleError(example.path, f"nothing to search with ({clips.detail})")
    return embed_clips(encoder, clips)


def read_example_clips(example: Moment, spec: EncoderSpec) -> np.ndarray:
    """The clips of an example, as an encoder takes them, uint8 (V, T, H, W, C). Raises InputError."""
    if not example.start_s < example.end_s:
        raise ExampleError(
            example.path, f"a moment must end after its start, got {example.start_s:g} s to {example.end_s:g} s"
        )
    if is_image(example.path):
        return read_strip_clip(example.path, spec)[None]
    return read_moment_clips(example, spec)


def is_image(path: str) -> bool:
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def embed_clips(encoder: Encoder, clips: np.ndarray) -> np.ndarray:
    """The unit vector float32 (1, D) of clips (V, T, H, W, C), by the mean of their features."""
    views = encoder.extract_parts(torch.from_numpy(clips))
    return join_views({name: rows.float().cpu().numpy().mean(axis=0, keepdims=True) for name, rows in views.items()})


def read_moment_clips(example: Moment, spec: EncoderSpec) -> np.ndarray:
    """Clips evenly spread over a moment of a video, uint8 (V, T, H, W, C). Raises InputError."""
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
    instance = Instance(str(example.path), 0, *compute_clip_span(example, info, spec.clip))
    sample = ClipDataset([instance], spec.clip, spec.views.resize_hw, NUM_CLIPS)[(0, 0)]
    if sample.frames is None:
        raise ExampleError(example.path, f"no video to search with ({sample.failure or ''})")
    return np.asarray(sample.frames)


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
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ExampleError(path, "no picture that can be read")
    count = min(MAX_STRIP_FRAMES, max(1, round(picture.shape[1] / picture.shape[0])))
    height, width = spec.views.resize_hw
    edges = np.linspace(0, picture.shape[1], count + 1).round().astype(int)
    squares = [picture[:, a:b, ::-1] for a, b in zip(edges[:-1], edges[1:], strict=True)]
    frames = np.stack([cv2.resize(s, (width, height), interpolation=cv2.INTER_AREA) for s in squares])
    total = spec.clip.total_frames
    return frames[np.arange(total) * count // total]
