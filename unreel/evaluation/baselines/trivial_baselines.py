"""Floors: what a figure is worth without any learning, in the same table and under the same protocol.

A trained encoder that does not clear them has learned nothing that pixels do not already say.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from math import comb

import cv2
import numpy as np
import torch

from unreel.evaluation.feature_extraction import (
    FeatureExtractor,
    FeatureKey,
    VideoFeatures,
    build_encoder_extractor,
)
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec

CHANCE, MEAN_FRAME, FRAME_DIFFERENCE, UNTRAINED_ENCODER = (
    "chance",
    "mean frame (pixels)",
    "frame difference",
    "untrained encoder",
)
COLOUR_HISTOGRAM = "colour histogram"
PIXEL_LAYER = "pixels"  # the layer of what looks at pixels
THUMBNAIL_SIZE, BINS_PER_CHANNEL = 32, 8
BASELINE_DESCRIPTIONS = {
    CHANCE: "expected figure of a random ranking, exact (hypergeometric) for the class counts of the gallery",
    MEAN_FRAME: f"mean over all frames of the same clips, centre crop, shrunk to {THUMBNAIL_SIZE} x {THUMBNAIL_SIZE} RGB in [0, 1]",
    FRAME_DIFFERENCE: f"mean absolute difference of consecutive frames of the same clips, centre crop, {THUMBNAIL_SIZE} x {THUMBNAIL_SIZE} RGB",
    COLOUR_HISTOGRAM: f"share of the pixels in each of {BINS_PER_CHANNEL} x {BINS_PER_CHANNEL} x {BINS_PER_CHANNEL} RGB colours, mean over all frames of the "
    "same clips, centre crop",
    UNTRAINED_ENCODER: "same network with fresh random weights, all views joined, in eval mode: its batch norm has seen no "
    "data, so running mean 0 and variance 1",
}


def is_baseline(row: str, features: VideoFeatures) -> bool:
    """Whether a row of a table did not learn from the person's videos: all but the encoder's own."""
    return row == CHANCE or any(block.source == row for block in features.vectors)


def describe_baseline(row: str) -> str:
    """What a floor is; a row that is not one of ours is a frozen model, which its name tells."""
    return BASELINE_DESCRIPTIONS.get(row, "a model from elsewhere, frozen")


def compute_chance_recall(
    query_labels: Sequence[str], gallery_labels: Sequence[str], ks: Sequence[int]
) -> dict[int, float]:
    """Expected R@k in percent when every query ranks the gallery at random.

    A class with n of N gallery videos is missed by k draws with probability C(N - n, k) / C(N, k).
    """
    in_gallery, total = Counter(gallery_labels), len(gallery_labels)
    queries = Counter(query_labels)

    def hit(label: str, k: int) -> float:
        k = min(k, total)
        return 1.0 - comb(total - in_gallery[label], k) / comb(total, k)

    return {k: 100.0 * sum(n * hit(c, k) for c, n in queries.items()) / len(query_labels) for k in ks}


def build_mean_frame_extractor(spec: EncoderSpec) -> FeatureExtractor:
    """The mean RGB frame of each clip, THUMB x THUMB, flattened: (V, 3 * THUMB ** 2)."""

    def source(frames: np.ndarray, number: int) -> dict[FeatureKey, dict[str, np.ndarray]]:
        clips = _center_crop(frames, spec.views.size)[:, spec.clip.lead_in :]
        return {
            FeatureKey(MEAN_FRAME, PIXEL_LAYER): {PIXEL_LAYER: _make_thumbnails(clips.mean(axis=1, dtype=np.float32))}
        }

    return source


def build_difference_extractor(spec: EncoderSpec) -> FeatureExtractor:
    """Where each clip moves: its mean absolute frame difference, THUMB x THUMB, flattened: (V, 3 * THUMB ** 2)."""

    def source(frames: np.ndarray, number: int) -> dict[FeatureKey, dict[str, np.ndarray]]:
        clips = _center_crop(frames, spec.views.size)
        steps = [cv2.absdiff(*pair) for clip in clips for pair in zip(clip[1:], clip[:-1], strict=True)]
        moved = np.stack(steps) if steps else np.zeros_like(clips[:, 0])
        mean = moved.reshape(len(clips), -1, *moved.shape[1:]).mean(axis=1, dtype=np.float32)
        return {FeatureKey(FRAME_DIFFERENCE, PIXEL_LAYER): {PIXEL_LAYER: _make_thumbnails(mean)}}

    return source


def build_histogram_extractor(spec: EncoderSpec) -> FeatureExtractor:
    """Which colours a clip shows, wherever and whenever: (V, SHADES ** 3), each row sums to 1."""

    def source(frames: np.ndarray, number: int) -> dict[FeatureKey, dict[str, np.ndarray]]:
        clips = _center_crop(frames, spec.views.size)[:, spec.clip.lead_in :] // np.uint8(256 // BINS_PER_CHANNEL)
        code = (clips[..., 0].astype(np.int64) * BINS_PER_CHANNEL + clips[..., 1]) * BINS_PER_CHANNEL + clips[..., 2]
        counts = np.stack([np.bincount(clip.ravel(), minlength=BINS_PER_CHANNEL**3) for clip in code])
        return {FeatureKey(COLOUR_HISTOGRAM, PIXEL_LAYER): {PIXEL_LAYER: (counts / code[0].size).astype(np.float32)}}

    return source


def build_untrained_encoder(encoder: Encoder, seed: int = 0) -> Encoder:
    """The same spec with freshly seeded weights, in eval mode, on the same device; leaves torch's own seed alone."""
    device = next(encoder.backbone.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = Encoder(dataclasses.replace(encoder.spec, method="untrained"))
    return fresh.to(device).eval()


def build_baseline_extractors(encoder: Encoder, layers: Sequence[str], seed: int = 0) -> list[FeatureExtractor]:
    """The floors that look at frames; `chance` needs the labels only."""
    pixels = [
        look(encoder.spec)
        for look in (build_mean_frame_extractor, build_histogram_extractor, build_difference_extractor)
    ]
    return [*pixels, build_encoder_extractor(build_untrained_encoder(encoder, seed), UNTRAINED_ENCODER, layers)]


def _center_crop(frames: np.ndarray, size: int) -> np.ndarray:
    """Centre crop of frames (V, T, H, W, C)."""
    height, width = frames.shape[2:4]
    top, left = (height - size) // 2, (width - size) // 2
    return frames[:, :, top : top + size, left : left + size]


def _make_thumbnails(images: np.ndarray) -> np.ndarray:
    """Pictures (V, H, W, C) in 0..255, each shrunk and flattened, float32 in [0, 1]."""
    small = [cv2.resize(picture, (THUMBNAIL_SIZE, THUMBNAIL_SIZE), interpolation=cv2.INTER_AREA) for picture in images]
    return np.stack(small).reshape(len(small), -1) / np.float32(255)
