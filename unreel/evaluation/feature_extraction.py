"""One pass over labelled videos that feeds every evaluation: each video is decoded once, whoever looks at it.

A *source* turns the evenly spread clips of one video into features, e.g. an encoder into one for each of its views and
layers; what it makes is named by a `Block`. Kept is the mean over clips, float32, in one array per block, so memory is
N x D once; single clips are kept for the blocks that ask for it, N x V x D.
"""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch

from unreel.errors import NonFiniteError
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import FileFailure, Instance
from unreel.video.loading.clip_dataset import ClipDataset, ClipSample
from unreel.video.loading.loaders import build_sequential_loader

ENCODER, JOINT, INTACT = "encoder", "joint", "intact"


class FeatureKey(NamedTuple):
    """Who looked (the encoder, or a floor's row name), at which layer, and what was done to the clips before."""

    source: str
    layer: str
    condition: str = INTACT


FeatureExtractor = Callable[[np.ndarray, int], dict[FeatureKey, dict[str, np.ndarray]]]
"""uint8 clips (V, lead_in + T, H, W, C) of one video and its `Instance.video` to features: block -> view -> (V, D)."""
Progress = Callable[[int, int], None]
"""Called after each video with the videos done and the videos in all."""


@dataclass
class VideoFeatures:
    """Features of the videos that could be read: block to float32 (N, D), its views side by side in `columns`.

    `clips` (N, V, D) is there for the blocks that were asked for, `spans_s` (N, V, 2) are the seconds of each clip.
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

    def get_view(self, block: FeatureKey, name: str) -> np.ndarray:
        """One view (N, D) of a block; no copy."""
        return self.vectors[block][:, self.columns[block][name]]

    def select_videos(self, rows: np.ndarray) -> "VideoFeatures":
        """Some of the videos: a mask (N,) or positions."""
        chosen = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
        return replace(
            self,
            instances=[self.instances[n] for n in chosen],
            vectors={block: rows_ND[chosen] for block, rows_ND in self.vectors.items()},
            clip_vectors={block: rows_NVD[chosen] for block, rows_NVD in self.clip_vectors.items()},
            spans_s=self.spans_s[chosen] if len(self.spans_s) else self.spans_s,
        )

    def list_table_rows(self, layer: str, condition: str = INTACT) -> dict[str, tuple[FeatureKey, slice]]:
        """The rows of a table at one layer: floors, the encoder's views alone, and all of them side by side.

        A floor that has no such layer (pixels have none) stands with the one it has.
        """
        whole, found = slice(None), {}
        for block in self.vectors:
            others = {b.layer for b in self.vectors if b.source == block.source}
            if block.condition == condition and (block.layer == layer or layer not in others):
                found[block.source] = (block, whole)
        if ENCODER not in found:
            return found
        block, _ = found.pop(ENCODER)
        views = self.columns[block]
        found |= {name: (block, columns) for name, columns in views.items()}
        return found | ({JOINT: (block, whole)} if len(views) > 1 else {})


def build_encoder_extractor(
    encoder: Encoder, source: str = ENCODER, layers: Sequence[str] = ("conv5", "pooled"), num_crops: int = 1
) -> FeatureExtractor:
    """Raw features of each view of an encoder, all layers from one call of the network.

    Three crops are left, centre and right; V is then clips x crops, the crops of a clip beside each other.
    """

    def extract(frames: np.ndarray, number: int) -> dict[FeatureKey, dict[str, np.ndarray]]:
        made = encoder.extract_layers(torch.as_tensor(frames), layers, num_crops)
        return {
            FeatureKey(source, layer): {n: v.float().cpu().numpy() for n, v in made[layer].items()} for layer in layers
        }

    return extract


def extract_features(
    instances: Sequence[Instance],
    spec: EncoderSpec,
    extractors: Sequence[FeatureExtractor],
    num_clips: int = 10,
    keep_clips: Container[FeatureKey] = (),
    workers: int = 0,
    progress: Progress | None = None,
) -> VideoFeatures:
    """Features of `num_clips` evenly spread clips of each instance, by all sources, in the order of the instances.

    Files that can't be decoded are named in `left_out`. Raises NonFiniteError when a feature is not finite.
    """
    clips = ClipDataset(instances, spec.clip, spec.views.resize_hw, num_clips)
    found = VideoFeatures([], spans_s=np.zeros((len(instances), num_clips, 2)))
    sample: ClipSample
    for done, sample in enumerate(build_sequential_loader(clips, workers), start=1):
        if sample.frames is None or sample.spans_s is None:
            found.failures.append(sample.failure or FileFailure(instances[sample.index].path, "unreadable"))
        else:
            who = instances[sample.index]
            found.spans_s[len(found.instances)] = sample.spans_s
            for source in extractors:
                for block, views in source(np.asarray(sample.frames), who.video).items():
                    _store_features(found, who, block, views, len(instances), block in keep_clips)
            found.instances.append(who)
        if progress is not None:
            progress(done, len(instances))
    return _trim_failed(found)


def _store_features(
    features: VideoFeatures,
    instance: Instance,
    key: FeatureKey,
    views: dict[str, np.ndarray],
    capacity: int,
    keep: bool,
) -> None:
    """Write the features of one video; the arrays are made when the first video tells their width."""
    clips_VD = next(iter(views.values())) if len(views) == 1 else np.concatenate(list(views.values()), axis=1)
    mean_D = clips_VD.mean(axis=0)
    if not np.isfinite(mean_D).all():
        raise NonFiniteError(
            f"{instance.path}: the features from '{key.source}' are not finite; use another checkpoint"
        )
    if key not in features.vectors:
        features.columns[key] = _build_columns({name: view.shape[1] for name, view in views.items()})
        features.vectors[key] = np.empty((capacity, len(mean_D)), np.float32)
        if keep:
            features.clip_vectors[key] = np.empty((capacity, *clips_VD.shape), np.float32)
    features.vectors[key][len(features.instances)] = mean_D
    if keep:
        features.clip_vectors[key][len(features.instances)] = clips_VD


def _trim_failed(features: VideoFeatures) -> VideoFeatures:
    """Without the rows of files that could not be read; views of the arrays, no copies."""
    count = len(features.instances)
    features.vectors = {block: rows[:count] for block, rows in features.vectors.items()}
    features.clip_vectors = {block: rows[:count] for block, rows in features.clip_vectors.items()}
    features.spans_s = features.spans_s[:count]
    return features


def _build_columns(widths: dict[str, int]) -> dict[str, slice]:
    ends = np.cumsum(list(widths.values())).tolist()
    return {name: slice(end - width, end) for (name, width), end in zip(widths.items(), ends, strict=True)}
