"""Features of boxes at keyframes: each clip is decoded once for all encoders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unreel.corpus.labels.boxes import Keyframe
from unreel.corpus.labels.detection_set import DetectionSet
from unreel.errors import NonFiniteError
from unreel.evaluation.feature_extraction import Progress
from unreel.models.encoder.encoder import Encoder
from unreel.models.roi_align import pool_roi_vectors
from unreel.types import FileFailure
from unreel.video.loading.clip_dataset import ClipSample
from unreel.video.loading.keyframe_clips import KeyframeClipDataset
from unreel.video.loading.loaders import build_sequential_loader
from unreel.views.inference_views import make_inference_views

KEYFRAMES_PER_BATCH = 8  # keyframes that go through the network at once


def extract_roi_features(encoder: Encoder, frames: Tensor, boxes: Sequence[np.ndarray]) -> Tensor:
    """RoI features (boxes, D) of uint8 clips (B, T, H, W, C) that have boxes[b] (n, 4) each, views side by side."""
    device = next(encoder.backbone.parameters()).device
    owner_N = torch.arange(len(boxes), device=device).repeat_interleave(
        torch.tensor([len(b) for b in boxes], device=device)
    )
    boxes_N4 = torch.as_tensor(np.concatenate(boxes), dtype=torch.float32, device=device)
    views = make_inference_views(frames.to(device), encoder.spec.views)
    return torch.cat([pool_roi_vectors(encoder.backbone(view), boxes_N4, owner_N) for view in views.values()], dim=1)


def build_keyframe_clips(data: DetectionSet, keyframes: Sequence[Keyframe], encoder: Encoder) -> KeyframeClipDataset:
    instances = [data.make_instance(k, number) for number, k in enumerate(keyframes)]
    return KeyframeClipDataset(instances, encoder.spec.clip, encoder.spec.views.size)


@dataclass
class BoxFeatures:
    """Features of the boxes of the keyframes that could be read: source to float32 (boxes, D), in their order.

    `failures` has the others, each with its file.
    """

    keyframes: list[Keyframe]
    vectors: dict[str, Tensor]
    failures: list[tuple[Keyframe, FileFailure]]


def extract_box_features(
    encoders: dict[str, Encoder],
    data: DetectionSet,
    keyframes: Sequence[Keyframe],
    workers: int = 0,
    progress: Progress | None = None,
) -> BoxFeatures:
    """Features of all boxes by all encoders, each clip decoded once; clips that can't be decoded are in `failures`."""
    clips = build_keyframe_clips(data, keyframes, next(iter(encoders.values())))
    features, rows = BoxFeatures([], {}, []), {source: [torch.zeros(0, 1)] for source in encoders}
    for done, samples in _iterate_batches(clips, workers):
        features.failures += [(keyframes[s.index], s.failure) for s in samples if s.failure is not None]
        readable = [(keyframes[s.index], torch.as_tensor(s.frames[0])) for s in samples if s.frames is not None]
        if readable:
            batch, frames = [k for k, _ in readable], torch.stack([clip for _, clip in readable])
            features.keyframes += batch
            for source, encoder in encoders.items():
                rows[source].append(_extract_finite(source, encoder, frames, [k.boxes for k in batch]))
        if progress is not None:
            progress(done, len(keyframes))
    features.vectors = {source: torch.cat(parts[1:] or parts) for source, parts in rows.items()}
    return features


def _iterate_batches(clips: KeyframeClipDataset, workers: int) -> Iterator[tuple[int, list[ClipSample]]]:
    batch: list[ClipSample] = []
    for done, sample in enumerate(build_sequential_loader(clips, workers), start=1):
        batch.append(sample)
        if len(batch) == KEYFRAMES_PER_BATCH or done == len(clips):
            yield done, batch
            batch = []


@torch.inference_mode()
def _extract_finite(source: str, encoder: Encoder, frames: Tensor, boxes: Sequence[np.ndarray]) -> Tensor:
    encoder.backbone.eval()
    vectors = extract_roi_features(encoder, frames, boxes).cpu()
    if not torch.isfinite(vectors).all():
        raise NonFiniteError(f"the features from '{source}' are not finite; use another checkpoint")
    return vectors
