"""Frozen models from elsewhere as baselines: rows of a table, from the same clips as the encoder's.

They see the frames of the file at the size that they were made for, not those that were shrunk for the encoder.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from unreel.evaluation.feature_extraction import FeatureExtractor
from unreel.evaluation.video_features import FeatureKey
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.frozen.catalogue import load_frozen_model
from unreel.models.frozen.frozen_model import FrozenModel
from unreel.types import Instance
from unreel.video.decoding.decoder import read_frames
from unreel.video.loading.clip_dataset import CandidateFrames, ClipDataset

POOLED_LAYER, RGB_VIEW = "pooled", "rgb"


def load_external_model(
    model: str | Path, spec: EncoderSpec, num_frames: int = 4, device: str | torch.device = "cpu"
) -> FrozenModel:
    """A model by its folder or a name of the catalogue; image models get `num_frames` of each clip. Raises
    InputError."""
    return load_frozen_model(model, spec.clip, spec.views.resize_hw, num_frames).to(device)


class OwnSizeClips(ClipDataset):
    """The clips of an evaluation with frames whose shorter side has `short_side` pixels, or fewer where the file has.

    0 leaves them as they are in the file. Widths and heights keep their ratio, so clips of two files differ in shape.
    """

    def __init__(self, instances: Sequence[Instance], spec: EncoderSpec, num_clips: int, short_side: int) -> None:
        super().__init__(instances, spec.clip, spec.views.resize_hw, num_clips)
        self.short_side = short_side

    def decode_frames(self, candidates: CandidateFrames, index: int, frame_numbers: np.ndarray) -> np.ndarray:
        """Frames of an instance, uint8 (len(frame_numbers), H, W, C); the first tells how large they are."""
        path = self.instances[index].path
        height, width = read_frames(path, frame_numbers[:1]).shape[1:3]
        share = min(1.0, self.short_side / min(height, width)) if self.short_side else 1.0
        return read_frames(path, frame_numbers, (round(height * share), round(width * share)))


def find_short_side(models: Sequence[FrozenModel]) -> int:
    """The shorter side of the frames that suffice for all of these models; 0 where one takes them as they are."""
    sizes = [model.preprocessor.resize_to for model in models]
    sides = [size if isinstance(size, int) else max(size) if size else 0 for size in sizes]
    return 0 if 0 in sides else max(sides, default=0)


def describe_seen_frames(model: FrozenModel, short_side: int) -> str:
    """What a model saw, for the protocol."""
    made = f"shorter side at most {short_side}" if short_side else "as in the file"
    prepared, number = model.preprocessor, len(model.frame_indices)
    crop = f", centre crop {prepared.crop_size}" if prepared.crop_size else ""
    return f"{number} frames of each clip, from the file, {made}, then resized to {prepared.resize_to}{crop}"


def build_frozen_extractor(model: FrozenModel, source: str) -> FeatureExtractor:
    """The features of a frozen model as those of a source."""

    def extract(frames: np.ndarray, _number: int) -> dict[FeatureKey, dict[str, np.ndarray]]:
        features_VD = model.extract_features(torch.from_numpy(frames)).cpu().numpy()
        return {FeatureKey(source, POOLED_LAYER): {RGB_VIEW: features_VD}}

    return extract
