"""The rows `appearance` and `both` of a table: a frozen image model, and its features beside the encoder's.

`both` is what an index compares that was made with `--appearance`: the parts side by side, weighted by what the
training videos show without labels (models/encoder/row_parts.py).
"""

from collections.abc import Mapping

import numpy as np
import torch

from unreel.evaluation.baselines.external_baselines import build_frozen_extractor
from unreel.evaluation.feature_extraction import FeatureExtractor
from unreel.evaluation.video_features import ENCODER, FeatureKey, VideoFeatures
from unreel.models.encoder.appearance import load_appearance
from unreel.models.encoder.row_parts import RowParts, measure_weights
from unreel.models.encoder.spec import APPEARANCE, EncoderSpec

BOTH = "both"
LAYER = "pooled"
DESCRIPTIONS = {
    APPEARANCE: "a frozen image model, one frame of each clip",
    BOTH: "the encoder and the image model side by side, weighted without labels",
}


def build_appearance_extractor(model: str, spec: EncoderSpec, device: str | torch.device) -> FeatureExtractor:
    """Features of the image model by its name or folder, on clips of the encoder. Raises InputError."""
    return build_frozen_extractor(load_appearance(spec, model).to(device), APPEARANCE)


def add_both(train: VideoFeatures, test: VideoFeatures) -> RowParts | None:
    """Add the features of both to training and test videos, with the weights of the training videos; returns the parts.

    None, and nothing is added, where either has no features of the encoder's last layer or of the image model.
    """
    keys = FeatureKey(ENCODER, LAYER), FeatureKey(APPEARANCE, LAYER)
    if any(key not in features.vectors for key in keys for features in (train, test)):
        return None
    names = [*train.columns[keys[0]], APPEARANCE]
    columns = [*train.columns[keys[0]].values(), slice(None)]

    def split(vectors: Mapping[FeatureKey, np.ndarray]) -> list[np.ndarray]:
        sources = [keys[0]] * (len(names) - 1) + [keys[1]]
        return [vectors[key][..., column] for key, column in zip(sources, columns, strict=True)]

    parts_of_train = split(train.vectors)
    equal = RowParts.make_equal(names, [part.shape[1] for part in parts_of_train])
    weighted = measure_weights(equal, parts_of_train, np.arange(len(train.instances)))
    for features in (train, test):
        key = FeatureKey(BOTH, LAYER)
        features.vectors[key] = weighted.set_lengths(np.concatenate(split(features.vectors), axis=-1))
        features.columns[key] = {BOTH: slice(0, features.vectors[key].shape[1])}
        if all(k in features.clip_vectors for k in keys):
            features.clip_vectors[key] = weighted.set_lengths(np.concatenate(split(features.clip_vectors), axis=-1))
    return weighted
