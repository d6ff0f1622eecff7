"""Runs several evaluations on frozen features from one pass over the videos.

The pass extracts what all evaluations together need, so each video is decoded once and goes through the network once;
perturbed versions of its clips follow where an evaluation needs them.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from unreel.errors import InputError
from unreel.evaluation.baselines.appearance import add_both, build_appearance_extractor
from unreel.evaluation.baselines.external_baselines import (
    OwnSizeClips,
    build_frozen_extractor,
    describe_seen_frames,
    find_short_side,
    load_external_model,
)
from unreel.evaluation.baselines.trivial_baselines import build_baseline_extractors
from unreel.evaluation.baselines.untrained_encoder import UNTRAINED_ENCODER
from unreel.evaluation.feature_extraction import (
    FeatureExtractor,
    Progress,
    build_encoder_extractor,
    extract_features,
    offset_progress,
)
from unreel.evaluation.feature_protocol import Evaluation, ExtractionOptions
from unreel.evaluation.leakage import check_train_test, collect_leakage_warnings
from unreel.evaluation.protocol_description import describe_clips, describe_test_videos
from unreel.evaluation.protocols.motion import build_perturbed_extractor
from unreel.evaluation.result import Result
from unreel.evaluation.video_features import ENCODER, INTACT, FeatureKey, VideoFeatures
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.frozen.frozen_model import FrozenModel
from unreel.types import Instance


@dataclass
class SuiteResult:
    """Results by name, the features they come from, and the seconds that each part took."""

    results: dict[str, Result]
    train_features: VideoFeatures
    test_features: VideoFeatures
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ClipFilter:
    """The keys whose single clips are kept: intact ones of networks at some layers, or of every source."""

    layers: frozenset[str]
    all_sources: bool = False

    @classmethod
    def for_evaluations(cls, evaluations: Sequence[Evaluation]) -> "ClipFilter":
        """What these evaluations need together."""
        need_clips = [e for e in evaluations if e.clip_scope != "none"]
        layers = frozenset(layer for e in need_clips for layer in e.layers)
        return cls(layers, any(e.clip_scope == "all" for e in need_clips))

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, FeatureKey) or key.condition != INTACT or not self.layers:
            return False
        return key.layer in self.layers or (self.all_sources and key.source not in (ENCODER, UNTRAINED_ENCODER))


def run_evaluations(
    encoder: Encoder,
    train: Sequence[Instance],
    test: Sequence[Instance],
    evaluations: Mapping[str, Evaluation],
    options: ExtractionOptions | None = None,
    progress: Progress | None = None,
) -> SuiteResult:
    """Run evaluations on labelled training and test videos. Raises InputError for lists that can't be compared."""
    check_train_test(train, test)
    options = options or ExtractionOptions()
    start_s = time.monotonic()
    clip_filter = ClipFilter.for_evaluations(list(evaluations.values()))
    models = load_external_models(encoder, options)
    extractors = build_extractors(encoder, list(evaluations.values()), options)
    foreign = build_foreign_extractors(models, encoder.spec, list(evaluations.values()))
    short_side = find_short_side(models)
    total = len(train) + len(test)

    def extract(name: str, instances: Sequence[Instance], offset: int) -> VideoFeatures:
        features = extract_features(
            instances,
            encoder.spec,
            extractors,
            options.num_clips,
            clip_filter,
            options.workers,
            offset_progress(progress, offset, total),
        )
        if not features.instances:
            failure = features.failures[0]
            raise InputError(f"no video of the {name} list can be read, the first: {failure.path}, {failure}")
        if not foreign:
            return features
        clips = OwnSizeClips(features.instances, encoder.spec, options.num_clips, short_side)
        again = extract_features(
            features.instances, encoder.spec, foreign, options.num_clips, clip_filter, options.workers, clips=clips
        )
        return join_features(features, again)

    features = extract("training", train, 0), extract("test", test, len(train))
    parts = add_both(*features)
    suite = SuiteResult({}, *features, seconds={"features": time.monotonic() - start_s})
    shared = describe_clips(*features, encoder.spec, options.num_clips, options.num_crops) | {"rate": options.rate}
    seen = {model.name: describe_seen_frames(model, short_side) for model in models}
    shared |= {"seen": {"all other rows": f"the clips, {shared['crop']}"} | seen} if seen else {}
    if parts:
        shared |= {"appearance": options.appearance, "motion_weight": round(parts.motion_weight, 3)}
    warnings = collect_leakage_warnings(features[1].instances, features[0].instances)
    test_videos = describe_test_videos(features[1].instances)
    for name, evaluation in evaluations.items():
        start_s = time.monotonic()
        result = evaluation.run(*features, encoder)
        result.protocol, result.test_videos = shared | result.protocol, test_videos
        result.warnings = list(dict.fromkeys([*result.warnings, *warnings]))
        suite.results[name], suite.seconds[name] = result, time.monotonic() - start_s
    return suite


def build_extractors(
    encoder: Encoder, evaluations: Sequence[Evaluation], options: ExtractionOptions
) -> list[FeatureExtractor]:
    """Baselines and the encoder; and all of them again on perturbed clips, where these are needed."""
    layers = tuple(dict.fromkeys(layer for e in evaluations for layer in e.layers))
    conditions = tuple(dict.fromkeys(c for e in evaluations for c in e.conditions))
    perturbed_layers = tuple(dict.fromkeys(layer for e in evaluations if e.conditions for layer in e.layers))
    intact = build_encoder_extractors(encoder, layers, options)
    if options.appearance:
        device = next(encoder.backbone.parameters()).device
        intact.append(build_appearance_extractor(options.appearance, encoder.spec, device))
    if not conditions:
        return intact
    again = build_encoder_extractors(encoder, perturbed_layers, options)
    lead_in = encoder.spec.clip.lead_in
    return intact + [build_perturbed_extractor(e, conditions, lead_in, with_intact=False) for e in again]


def build_encoder_extractors(
    encoder: Encoder, layers: Sequence[str], options: ExtractionOptions
) -> list[FeatureExtractor]:
    """The trivial baselines if they are wanted, and the encoder itself."""
    baselines = build_baseline_extractors(encoder, layers) if options.trivial_baselines else []
    return [*baselines, build_encoder_extractor(encoder, layers=layers, num_crops=options.num_crops)]


def build_foreign_extractors(
    models: Sequence[FrozenModel], spec: EncoderSpec, evaluations: Sequence[Evaluation]
) -> list[FeatureExtractor]:
    """Models from elsewhere, and again on perturbed clips, where these are needed."""
    conditions = tuple(dict.fromkeys(c for e in evaluations for c in e.conditions))
    intact = [build_frozen_extractor(model, model.name) for model in models]
    if not conditions:
        return intact
    lead_in = spec.clip.lead_in
    return intact + [build_perturbed_extractor(e, conditions, lead_in, with_intact=False) for e in intact]


def join_features(features: VideoFeatures, again: VideoFeatures) -> VideoFeatures:
    """The features of two passes over the same videos, without those that the second could not read.

    Rows of the second stand first, as models from elsewhere do in a table.
    """
    kept = {id(instance) for instance in again.instances}
    joined = features.select_videos(np.array([id(instance) in kept for instance in features.instances]))
    joined.vectors = again.vectors | joined.vectors
    joined.columns = again.columns | joined.columns
    joined.clip_vectors = again.clip_vectors | joined.clip_vectors
    joined.failures = [*features.failures, *again.failures]
    return joined


def load_external_models(encoder: Encoder, options: ExtractionOptions) -> list[FrozenModel]:
    """The models in `baseline_folders`, on the encoder's device. Raises InputError when two share a row name."""
    device = next(encoder.backbone.parameters()).device
    models = [load_external_model(folder, encoder.spec, device=device) for folder in options.baseline_folders]
    repeated = [name for name, count in Counter(model.name for model in models).items() if count > 1]
    if repeated:
        raise InputError(f"two baselines would share the row '{repeated[0]}'; rename one of their folders")
    return models
