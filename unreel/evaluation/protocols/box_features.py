"""Features of boxes at keyframes: every clip is decoded once, whoever looks at it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unreel.corpus.labels.boxes import Keyframe
from unreel.corpus.labels.detection_set import DetectionSet
from unreel.errors import NonFiniteError
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
    """What was made of the boxes of the keyframes that could be read: who to float32 (boxes, D), in their order."""

    keyframes: list[Keyframe]
    vectors: dict[str, Tensor]
    failures: list[tuple[Keyframe, FileFailure]]


def extract_box_features(
    encoders: dict[str, Encoder],
    data: DetectionSet,
    keyframes: Sequence[Keyframe],
    workers: int = 0,
    progress: Callable[[int], None] | None = None,
) -> BoxFeatures:
    """Features of all boxes by all encoders, each clip decoded once; what can't be decoded is left out and named."""
    clips = build_keyframe_clips(data, keyframes, next(iter(encoders.values())))
    found, rows = BoxFeatures([], {}, []), {who: [torch.zeros(0, 1)] for who in encoders}
    for done, samples in _iterate_batches(clips, workers):
        found.failures += [(keyframes[s.index], s.failure) for s in samples if s.failure is not None]
        good = [(keyframes[s.index], torch.as_tensor(s.frames[0])) for s in samples if s.frames is not None]
        if good:
            mine, frames = [k for k, _ in good], torch.stack([clip for _, clip in good])
            found.keyframes += mine
            for who, encoder in encoders.items():
                rows[who].append(_extract_finite(who, encoder, frames, [k.boxes for k in mine]))
        if progress is not None:
            progress(done)
    found.vectors = {who: torch.cat(parts[1:] or parts) for who, parts in rows.items()}
    return found


def _iterate_batches(clips: KeyframeClipDataset, workers: int) -> Iterator[tuple[int, list[ClipSample]]]:
    held: list[ClipSample] = []
    for done, sample in enumerate(build_sequential_loader(clips, workers), start=1):
        held.append(sample)
        if len(held) == KEYFRAMES_PER_BATCH or done == len(clips):
            yield done, held
            held = []


@torch.inference_mode()
def _extract_finite(source: str, encoder: Encoder, frames: Tensor, boxes: Sequence[np.ndarray]) -> Tensor:
    encoder.backbone.eval()
    vectors = extract_roi_features(encoder, frames, boxes).cpu()
    if not torch.isfinite(vectors).all():
        raise NonFiniteError(f"the features from '{source}' are not finite; use another checkpoint")
    return vectors
