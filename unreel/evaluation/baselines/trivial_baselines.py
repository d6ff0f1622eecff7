"""Pixel baselines: how far simple image statistics get in the same table, under the same protocol.

A trained encoder that is not above them has learned nothing that pixels do not already show.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from unreel.evaluation.baselines.untrained_encoder import UNTRAINED_ENCODER, build_untrained_encoder
from unreel.evaluation.feature_extraction import FeatureExtractor, build_encoder_extractor
from unreel.evaluation.video_features import FeatureKey
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec

MEAN_FRAME, FRAME_DIFFERENCE = "mean frame (pixels)", "frame difference"
COLOUR_HISTOGRAM = "colour histogram"
PIXEL_LAYER = "pixels"  # the layer and view name of features made from pixels
THUMBNAIL_SIZE, BINS_PER_CHANNEL = 32, 8
THUMBNAIL, BINS = f"{THUMBNAIL_SIZE} x {THUMBNAIL_SIZE}", " x ".join([str(BINS_PER_CHANNEL)] * 3)
PIXEL_DESCRIPTIONS = {
    MEAN_FRAME: f"mean over all frames of the same clips, centre crop, shrunk to {THUMBNAIL} RGB in [0, 1]",
    FRAME_DIFFERENCE: f"mean absolute difference of consecutive frames of the same clips, centre crop, {THUMBNAIL} RGB",
    COLOUR_HISTOGRAM: f"share of the pixels in each of {BINS} RGB colours, mean over all frames of the same clips, "
    "centre crop",
}


def build_mean_frame_extractor(spec: EncoderSpec) -> FeatureExtractor:
    """The mean RGB frame of each clip, shrunk to a thumbnail and flattened: (V, 3 * THUMBNAIL_SIZE ** 2)."""

    def extract(frames: np.ndarray, number: int) -> dict[FeatureKey, dict[str, np.ndarray]]:
        clips = _center_crop(frames, spec.views.size)[:, spec.clip.lead_in :]
        return {
            FeatureKey(MEAN_FRAME, PIXEL_LAYER): {PIXEL_LAYER: _make_thumbnails(clips.mean(axis=1, dtype=np.float32))}
        }

    return extract


def build_difference_extractor(spec: EncoderSpec) -> FeatureExtractor:
    """Where each clip moves: its mean absolute frame difference as a thumbnail: (V, 3 * THUMBNAIL_SIZE ** 2)."""

    def extract(frames: np.ndarray, number: int) -> dict[FeatureKey, dict[str, np.ndarray]]:
        clips = _center_crop(frames, spec.views.size)
        steps = [cv2.absdiff(*pair) for clip in clips for pair in zip(clip[1:], clip[:-1], strict=True)]
        moved = np.stack(steps) if steps else np.zeros_like(clips[:, 0])
        mean = moved.reshape(len(clips), -1, *moved.shape[1:]).mean(axis=1, dtype=np.float32)
        return {FeatureKey(FRAME_DIFFERENCE, PIXEL_LAYER): {PIXEL_LAYER: _make_thumbnails(mean)}}

    return extract


def build_histogram_extractor(spec: EncoderSpec) -> FeatureExtractor:
    """Which colours a clip shows, wherever and whenever: (V, BINS_PER_CHANNEL ** 3), each row sums to 1."""

    def extract(frames: np.ndarray, number: int) -> dict[FeatureKey, dict[str, np.ndarray]]:
        clips = _center_crop(frames, spec.views.size)[:, spec.clip.lead_in :] // np.uint8(256 // BINS_PER_CHANNEL)
        code = (clips[..., 0].astype(np.int64) * BINS_PER_CHANNEL + clips[..., 1]) * BINS_PER_CHANNEL + clips[..., 2]
        counts = np.stack([np.bincount(clip.ravel(), minlength=BINS_PER_CHANNEL**3) for clip in code])
        return {FeatureKey(COLOUR_HISTOGRAM, PIXEL_LAYER): {PIXEL_LAYER: (counts / code[0].size).astype(np.float32)}}

    return extract


def build_baseline_extractors(encoder: Encoder, layers: Sequence[str], seed: int = 0) -> list[FeatureExtractor]:
    """The baselines that see frames: pixel statistics, and the untrained encoder at the given layers."""
    builders = (build_mean_frame_extractor, build_histogram_extractor, build_difference_extractor)
    untrained = build_encoder_extractor(build_untrained_encoder(encoder, seed), UNTRAINED_ENCODER, layers)
    return [*(build(encoder.spec) for build in builders), untrained]


def _center_crop(frames: np.ndarray, size: int) -> np.ndarray:
    """Centre crop of frames (V, T, H, W, C)."""
    height, width = frames.shape[2:4]
    top, left = (height - size) // 2, (width - size) // 2
    return frames[:, :, top : top + size, left : left + size]


def _make_thumbnails(images: np.ndarray) -> np.ndarray:
    """Images (V, H, W, C) in 0..255, each shrunk and flattened, float32 in [0, 1]."""
    small = [cv2.resize(image, (THUMBNAIL_SIZE, THUMBNAIL_SIZE), interpolation=cv2.INTER_AREA) for image in images]
    return np.stack(small).reshape(len(small), -1) / np.float32(255)
