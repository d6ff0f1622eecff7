"""The features that a head sees of a clip: made alike when it is trained and when it is applied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from unreel.classification.heads.head import FeatureInput, Head
from unreel.embedding import encode, join_views
from unreel.errors import InputError
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.row_parts import RowParts, measure_weights
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import FileFailure, Instance, ProgressCallback

MAP_LAYER = "map"


@dataclass(frozen=True)
class LabelledClips:
    """Features float32 (N, V, D) of V clips of each of N labelled videos, and the files that could not be read."""

    features_NVD: np.ndarray
    instances: list[Instance]
    failures: list[FileFailure]

    def select(self, chosen_N: np.ndarray) -> "LabelledClips":
        """Some of the videos, by a mask (N,)."""
        instances = [i for i, is_chosen in zip(self.instances, chosen_N, strict=True) if is_chosen]
        return replace(self, features_NVD=self.features_NVD[chosen_N], instances=instances)

    def map_features(self, change: "RowParts") -> "LabelledClips":
        """The same videos, the parts of their rows in other lengths."""
        return replace(self, features_NVD=change.set_lengths(self.features_NVD))


def read_clips(
    encoder: Encoder,
    sees: FeatureInput,
    instances: Sequence[Instance],
    num_clips: int,
    workers: int,
    on_progress: ProgressCallback,
) -> LabelledClips:
    """Features of evenly spread clips of each video that can be read. Raises InputError when there is none."""
    failures: list[FileFailure] = []
    layer = MAP_LAYER if sees == MAP_LAYER else "pooled"
    features: list[np.ndarray] = []
    read: list[Instance] = []
    for item in encode(encoder, instances, num_clips, layer, workers, failures.append):
        features.append(join_features(sees, item.features))
        read.append(instances[item.index])
        on_progress(item.index + 1, len(instances))
    if not features:
        raise InputError(f"no labelled video can be read, the first: {failures[0].path}: {failures[0]}")
    return LabelledClips(np.stack(features).astype(np.float32), read, failures)


def join_features(sees: FeatureInput, parts: Mapping[str, np.ndarray]) -> np.ndarray:
    """Features (V, D) of clips from those of each view: as a row of an index, or side by side as they are."""
    return join_views(dict(parts)) if sees == "rows" else np.concatenate(list(parts.values()), axis=1)


def measure_parts(spec: EncoderSpec, sees: FeatureInput, clips: LabelledClips) -> RowParts:
    """How much each part of a row counts. Beside an image model it is measured on the training videos, as in an index;
    else all weigh the same."""
    if sees != "rows":
        return RowParts.make_equal((sees,), (clips.features_NVD.shape[2],))
    equal = RowParts.make_equal(spec.part_names, spec.compute_part_widths(clips.features_NVD.shape[2]))
    mean_ND = clips.features_NVD.mean(axis=1)
    return measure_weights(equal, equal.split(mean_ND), np.arange(len(mean_ND)))


class ClipScorer(Encoder):
    """An encoder with a head, as an encoder whose features are the square roots of the probabilities of the classes.

    Roots of probabilities have unit length, so that a store keeps them like any other row, with all that it knows of
    kills, moved files and long videos.
    """

    def __init__(self, encoder: Encoder, head: Head, parts: RowParts) -> None:
        super().__init__(encoder.spec, encoder.backbone)
        self.appearance, self.heads = encoder.appearance, encoder.heads
        self.head, self.parts = head, parts
        self.eval()

    @torch.inference_mode()
    def extract_parts(self, frames: Tensor) -> dict[str, Tensor]:
        sees = self.head.sees
        views = self.extract_features(frames, MAP_LAYER) if sees == MAP_LAYER else super().extract_parts(frames)
        features_BD = join_features(sees, {name: view.float().cpu().numpy() for name, view in views.items()})
        log_p_BC = self.head.score(self.parts.set_lengths(features_BD))
        return {"classes": torch.from_numpy(np.exp(log_p_BC.astype(np.float64) / 2))}


def read_log_probabilities(root_NC: np.ndarray) -> np.ndarray:
    """Log-probabilities float64 (N, C) from the roots that a `ClipScorer` gives.

    >>> read_log_probabilities(np.array([[1.0, 0.5]])).round(3).tolist()
    [[0.0, -1.386]]
    """
    return 2 * np.log(np.maximum(root_NC.astype(np.float64), 1e-15))
