"""Frozen models from elsewhere as baselines: rows of a table, from the same decoded frames as the encoder's."""

from pathlib import Path

import numpy as np
import torch

from unreel.evaluation.feature_extraction import FeatureExtractor
from unreel.evaluation.video_features import FeatureKey
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.frozen.catalogue import load_frozen_model
from unreel.models.frozen.frozen_model import FrozenModel

POOLED_LAYER, RGB_VIEW = "pooled", "rgb"


def load_external_extractor(
    model: str | Path, spec: EncoderSpec, num_frames: int = 4, device: str | torch.device = "cpu"
) -> tuple[str, FeatureExtractor]:
    """The row name of a model (a folder, or a name of the catalogue), and its extractor; image models get `num_frames`
    of each clip. Raises InputError."""
    frozen = load_frozen_model(model, spec.clip, spec.views.resize_hw, num_frames)
    return frozen.name, build_frozen_extractor(frozen.to(device), frozen.name)


def build_frozen_extractor(model: FrozenModel, source: str) -> FeatureExtractor:
    """The features of a frozen model as those of a source."""

    def extract(frames: np.ndarray, _number: int) -> dict[FeatureKey, dict[str, np.ndarray]]:
        features_VD = model.extract_features(torch.from_numpy(frames)).cpu().numpy()
        return {FeatureKey(source, POOLED_LAYER): {RGB_VIEW: features_VD}}

    return extract
