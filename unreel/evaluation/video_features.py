"""Features of labelled videos: one array for each source, layer and condition."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from unreel.errors import InputError
from unreel.types import FileFailure, Instance

ENCODER, JOINT, INTACT = "encoder", "joint", "intact"


class FeatureKey(NamedTuple):
    """Which features: the source (the encoder, or a baseline's row name), its layer, and the condition of the clips."""

    source: str
    layer: str
    condition: str = INTACT


@dataclass
class VideoFeatures:
    """Features of the videos that could be read: key to float32 (N, D), mean over clips, views side by side.

    `columns` has the place of each view in D, `clip_vectors` the single clips (N, V, D) of the keys that need them,
    `spans_s` (N, V, 2) the start and end second of each clip, `failures` the other files.
    """

    instances: list[Instance]
    vectors: dict[FeatureKey, np.ndarray] = field(default_factory=dict)
    columns: dict[FeatureKey, dict[str, slice]] = field(default_factory=dict)
    clip_vectors: dict[FeatureKey, np.ndarray] = field(default_factory=dict)
    spans_s: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 2)))
    failures: list[FileFailure] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        return [i.label for i in self.instances]

    @property
    def groups(self) -> list[str]:
        return [i.group for i in self.instances]

    def get_view(self, key: FeatureKey, name: str) -> np.ndarray:
        """One view (N, D) of a key; no copy."""
        return self.vectors[key][:, self.columns[key][name]]

    def select_videos(self, rows: np.ndarray) -> "VideoFeatures":
        """Some of the videos: a mask (N,) or positions."""
        chosen = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
        return replace(
            self,
            instances=[self.instances[n] for n in chosen],
            vectors={key: rows_ND[chosen] for key, rows_ND in self.vectors.items()},
            clip_vectors={key: rows_NVD[chosen] for key, rows_NVD in self.clip_vectors.items()},
            spans_s=self.spans_s[chosen] if len(self.spans_s) else self.spans_s,
        )

    def list_table_rows(self, layer: str, condition: str = INTACT) -> dict[str, tuple[FeatureKey, slice]]:
        """The rows of a table at one layer: baselines, each view of the encoder, and all views side by side.

        A baseline without this layer (pixels have none) is shown with the layer it has.
        """
        rows: dict[str, tuple[FeatureKey, slice]] = {}
        for key in self.vectors:
            layers = {k.layer for k in self.vectors if k.source == key.source}
            if key.condition == condition and (key.layer == layer or layer not in layers):
                rows[key.source] = (key, slice(None))
        if ENCODER not in rows:
            return rows
        key, _ = rows.pop(ENCODER)
        views = self.columns[key]
        rows |= {name: (key, columns) for name, columns in views.items()}
        return rows | ({JOINT: (key, slice(None))} if len(views) > 1 else {})


def scale_views(rows_ND: np.ndarray, views: Iterable[slice]) -> np.ndarray:
    """Rows (N, D) whose views, side by side, each have unit length; zeros stay zeros.

    >>> scale_views(np.array([[3.0, 4.0, 0.5]]), [slice(0, 2), slice(2, 3)]).tolist()
    [[0.6, 0.8, 1.0]]
    """
    parts = [rows_ND[:, columns].astype(np.float64) for columns in views]
    return np.concatenate([p / np.maximum(np.linalg.norm(p, axis=1, keepdims=True), 1e-12) for p in parts], axis=1)


def find_layer_rows(train: VideoFeatures, test: VideoFeatures, layer: str) -> dict[str, tuple[FeatureKey, slice]]:
    """Rows of a table that both lists have features for. Raises InputError where the encoder has none of the layer."""
    for name, features in (("training", train), ("test", test)):
        if FeatureKey(ENCODER, layer) not in features.vectors:
            raise InputError(f"the {name} videos have no features of layer '{layer}'; ask for it when they are made")
    return {name: row for name, row in train.list_table_rows(layer).items() if row[0] in test.vectors}


def get_clip_vectors(features: VideoFeatures, key: FeatureKey, columns: slice) -> np.ndarray:
    """Single clips (N, V, D) where they were kept, elsewhere the mean over clips as the only one; no copy."""
    if key in features.clip_vectors:
        return features.clip_vectors[key][:, :, columns]
    return features.vectors[key][:, None, columns]
