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

from unreel.evaluation.features import Source, encoder_source
from unreel.models.encoder import Encoder, EncoderSpec

CHANCE, MEAN_FRAME, DIFFERENCE, UNTRAINED = "chance", "mean frame (pixels)", "frame difference", "untrained encoder"
THUMB = 32
DESCRIPTIONS = {
    CHANCE: "expected figure of a random ranking, exact (hypergeometric) for the class counts of the gallery",
    MEAN_FRAME: f"mean over all frames of the same clips, centre crop, shrunk to {THUMB} x {THUMB} RGB in [0, 1]",
    DIFFERENCE: f"mean absolute difference of consecutive frames of the same clips, centre crop, {THUMB} x {THUMB} RGB",
    UNTRAINED: "same network with fresh random weights, all views joined, in eval mode: its batch norm has seen no "
    "data, so running mean 0 and variance 1",
}


def chance(query_labels: Sequence[str], gallery_labels: Sequence[str], ks: Sequence[int]) -> dict[int, float]:
    """Expected R@k in percent when every query ranks the gallery at random.

    A class with n of N gallery videos is missed by k draws with probability C(N - n, k) / C(N, k).
    """
    in_gallery, total = Counter(gallery_labels), len(gallery_labels)
    queries = Counter(query_labels)

    def hit(label: str, k: int) -> float:
        k = min(k, total)
        return 1.0 - comb(total - in_gallery[label], k) / comb(total, k)

    return {k: 100.0 * sum(n * hit(c, k) for c, n in queries.items()) / len(query_labels) for k in ks}


def mean_frame(spec: EncoderSpec) -> Source:
    """The mean RGB frame of each clip, THUMB x THUMB, flattened: (V, 3 * THUMB ** 2)."""

    def source(frames: np.ndarray) -> dict[str, np.ndarray]:
        clips = _cropped(frames, spec.views.size)[:, spec.clip.lead_in :]
        return {"pixels": _thumbs(clips.mean(axis=1, dtype=np.float32))}

    return source


def frame_difference(spec: EncoderSpec) -> Source:
    """Where each clip moves: its mean absolute frame difference, THUMB x THUMB, flattened: (V, 3 * THUMB ** 2)."""

    def source(frames: np.ndarray) -> dict[str, np.ndarray]:
        clips = _cropped(frames, spec.views.size)
        steps = [cv2.absdiff(*pair) for clip in clips for pair in zip(clip[1:], clip[:-1], strict=True)]
        moved = np.stack(steps) if steps else np.zeros_like(clips[:, 0])
        return {"pixels": _thumbs(moved.reshape(len(clips), -1, *moved.shape[1:]).mean(axis=1, dtype=np.float32))}

    return source


def untrained_encoder(encoder: Encoder, seed: int = 0) -> Encoder:
    """The same spec with freshly seeded weights, in eval mode, on the same device; leaves torch's own seed alone."""
    device = next(encoder.backbone.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = Encoder(dataclasses.replace(encoder.spec, method="untrained"))
    return fresh.to(device).eval()


def floor_sources(encoder: Encoder, layer: str, seed: int = 0) -> dict[str, Source]:
    """The floors that look at frames, by row name; `chance` needs the labels only."""
    return {
        MEAN_FRAME: mean_frame(encoder.spec),
        DIFFERENCE: frame_difference(encoder.spec),
        UNTRAINED: encoder_source(untrained_encoder(encoder, seed), layer),
    }


def _cropped(frames: np.ndarray, size: int) -> np.ndarray:
    """Centre crop of frames (V, T, H, W, C)."""
    height, width = frames.shape[2:4]
    top, left = (height - size) // 2, (width - size) // 2
    return frames[:, :, top : top + size, left : left + size]


def _thumbs(pictures: np.ndarray) -> np.ndarray:
    """Pictures (V, H, W, C) in 0..255, each shrunk and flattened, float32 in [0, 1]."""
    small = [cv2.resize(picture, (THUMB, THUMB), interpolation=cv2.INTER_AREA) for picture in pictures]
    return np.stack(small).reshape(len(small), -1) / np.float32(255)
