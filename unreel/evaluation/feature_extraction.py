"""One pass over labelled videos for all evaluations: each video is decoded once, however many sources see it.

An *extractor* turns the evenly spread clips of one video into features, e.g. those of each view and layer of an
encoder. The mean over clips is kept, float32, in one array per `FeatureKey`, so memory is N x D; single clips are kept
(N x V x D) for the keys that need them.
"""

from collections.abc import Callable, Container, Sequence

import numpy as np
import torch

from unreel.errors import NonFiniteError
from unreel.evaluation.video_features import ENCODER, FeatureKey, VideoFeatures
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import FileFailure, Instance
from unreel.video.loading.clip_dataset import ClipDataset, ClipSample
from unreel.video.loading.loaders import build_sequential_loader

FeatureExtractor = Callable[[np.ndarray, int], dict[FeatureKey, dict[str, np.ndarray]]]
"""uint8 clips (V, lead_in + T, H, W, C) of one video and its `Instance.video` to features: key -> view -> (V, D)."""
Progress = Callable[[int, int], None]
"""Called after each unit of work with the number done and the total."""


def offset_progress(on_progress: Progress | None, offset: int, total: int) -> Progress | None:
    """Progress of a part that begins at `offset` of a work of `total` units."""
    return None if on_progress is None else lambda done, _: on_progress(offset + done, total)


def build_encoder_extractor(
    encoder: Encoder, source: str = ENCODER, layers: Sequence[str] = ("conv5", "pooled"), num_crops: int = 1
) -> FeatureExtractor:
    """Features of each view of an encoder, all layers from one forward pass.

    Three crops are left, centre and right; V is then clips x crops, the crops of a clip next to each other.
    """

    def extract(frames: np.ndarray, number: int) -> dict[FeatureKey, dict[str, np.ndarray]]:
        features = encoder.extract_layers(torch.as_tensor(frames), layers, num_crops)
        return {
            FeatureKey(source, layer): {n: v.float().cpu().numpy() for n, v in features[layer].items()}
            for layer in layers
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
    clips: ClipDataset | None = None,
) -> VideoFeatures:
    """Features of `num_clips` evenly spread clips of each instance, by all extractors, in the order of the instances.

    `clips` are these with frames of another size than the encoder's. Files that can't be decoded are listed in
    `failures`. Raises NonFiniteError when a feature is not finite.
    """
    clips = clips or ClipDataset(instances, spec.clip, spec.views.resize_hw, num_clips)
    features = VideoFeatures([], spans_s=np.zeros((len(instances), num_clips, 2)))
    sample: ClipSample
    for done, sample in enumerate(build_sequential_loader(clips, workers), start=1):
        instance = instances[sample.index]
        if sample.frames is None or sample.spans_s is None:
            features.failures.append(sample.failure or FileFailure(instance.path, "unreadable"))
        else:
            features.spans_s[len(features.instances)] = sample.spans_s
            for extract in extractors:
                for key, views in extract(np.asarray(sample.frames), instance.video).items():
                    _store_features(features, instance, key, views, len(instances), key in keep_clips)
            features.instances.append(instance)
        if progress is not None:
            progress(done, len(instances))
    return _trim_failed(features)


def _store_features(
    features: VideoFeatures,
    instance: Instance,
    key: FeatureKey,
    views: dict[str, np.ndarray],
    capacity: int,
    keep: bool,
) -> None:
    """Write the features of one video; the arrays are allocated when the first video shows their width."""
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
    """Without the unused rows of files that could not be read; views of the arrays, no copies."""
    count = len(features.instances)
    features.vectors = {key: rows[:count] for key, rows in features.vectors.items()}
    features.clip_vectors = {key: rows[:count] for key, rows in features.clip_vectors.items()}
    features.spans_s = features.spans_s[:count]
    return features


def _build_columns(widths: dict[str, int]) -> dict[str, slice]:
    ends = np.cumsum(list(widths.values())).tolist()
    return {name: slice(end - width, end) for (name, width), end in zip(widths.items(), ends, strict=True)}
