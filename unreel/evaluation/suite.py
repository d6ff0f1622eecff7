"""Every evaluation on frozen features, from one pass over the videos.

An `Evaluation` says what it has to see of the features; the pass makes the union of what all of them ask for, so each
video is decoded once and goes through the network once, with the tampered versions of its clips where they are asked
for. `STANDARD` is what `unreel evaluate all` runs.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unreel.errors import InputError
from unreel.evaluation.baselines import trivial_baselines as flooring
from unreel.evaluation.baselines.external_baselines import load_external_extractor
from unreel.evaluation.baselines.trivial_baselines import UNTRAINED_ENCODER
from unreel.evaluation.feature_extraction import (
    ENCODER,
    INTACT,
    FeatureExtractor,
    FeatureKey,
    Progress,
    VideoFeatures,
    build_encoder_extractor,
    extract_features,
)
from unreel.evaluation.leakage import check_train_test, collect_leakage_warnings
from unreel.evaluation.protocols.attentive_probe import AttentiveProtocol, evaluate_attentive
from unreel.evaluation.protocols.few_labels import evaluate_few_labels
from unreel.evaluation.protocols.knn import KnnProtocol, evaluate_knn
from unreel.evaluation.protocols.label_sampling import plan_draws
from unreel.evaluation.protocols.linear_probe import LinearProtocol, evaluate_linear
from unreel.evaluation.protocols.motion import MotionProtocol, build_perturbed_extractor, evaluate_motion
from unreel.evaluation.protocols.retrieval import (
    RetrievalProtocol,
    build_retrieval_protocol,
    describe_clips,
    evaluate_retrieval,
)
from unreel.evaluation.result import Result
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Instance
from unreel.views.perturb import PERTURBATIONS


@dataclass(frozen=True)
class ExtractionOptions:
    """How videos are looked at: clips and crops of each, what stands beside the encoder, folders of frozen models.

    `rate` says in words whether clips have the rate that the encoder was trained with.
    """

    num_clips: int = 10
    num_crops: int = 1
    trivial_baselines: bool = True
    baseline_folders: tuple[Path, ...] = ()
    workers: int = 0
    rate: str = "the encoder's own"

    def __post_init__(self) -> None:
        if self.num_clips < 1 or self.num_crops not in (1, 3):
            raise InputError(
                f"a video needs 1 clip or more and 1 or 3 crops, got num_clips={self.num_clips}, "
                f"num_crops={self.num_crops}"
            )


ClipScope = Literal["nobody", "networks", "everybody"]


@dataclass(frozen=True)
class Evaluation:
    """A function of features, the layers it looks at, whose single clips it needs, and what is to be tampered with."""

    run: Callable[[VideoFeatures, VideoFeatures, EncoderSpec], Result]
    layers: tuple[str, ...] = ("pooled",)
    clip_scope: ClipScope = "nobody"
    conditions: tuple[str, ...] = ()


def build_retrieval(protocol: RetrievalProtocol) -> Evaluation:
    clips: ClipScope = "everybody" if protocol.unit == "clip" else "nobody"
    return Evaluation(
        lambda train, test, spec: evaluate_retrieval(train, test, spec, protocol), (protocol.layer,), clips
    )


def build_knn(protocol: KnnProtocol) -> Evaluation:
    return Evaluation(lambda train, test, spec: evaluate_knn(train, test, protocol), (protocol.layer,))


def build_linear_probe(protocol: LinearProtocol) -> Evaluation:
    return Evaluation(lambda train, test, spec: evaluate_linear(train, test, protocol), (protocol.layer,), "networks")


def build_attentive_probe(protocol: AttentiveProtocol, num_channels: int) -> Evaluation:
    """`channels` are the encoder's own, `backbone.num_features`."""

    def run(train: VideoFeatures, test: VideoFeatures, spec: EncoderSpec) -> Result:
        return evaluate_attentive(train, test, num_channels, protocol)

    return Evaluation(run, ("map",), "networks")


def build_few_labels(ks: Sequence[int], shares: Sequence[float], draws: int) -> Evaluation:
    plan_draws(ks, shares, draws)  # what can't be drawn is refused before anything is decoded
    return Evaluation(lambda train, test, spec: evaluate_few_labels(train, test, ks, shares, draws))


def build_motion(protocol: MotionProtocol) -> Evaluation:
    def run(train: VideoFeatures, test: VideoFeatures, spec: EncoderSpec) -> Result:
        return evaluate_motion(train, test, protocol)

    return Evaluation(run, (protocol.layer,), "networks", tuple(PERTURBATIONS))


def build_standard_suite(options: ExtractionOptions) -> dict[str, Evaluation]:
    """What `unreel evaluate all` runs, in the order of its report."""
    seen = {"num_clips": options.num_clips, "num_crops": options.num_crops}
    return {
        "retrieval": build_retrieval(build_retrieval_protocol("iic", **seen)),
        "retrieval-dualvar": build_retrieval(build_retrieval_protocol("dualvar", **seen)),
        "knn": build_knn(KnnProtocol()),
        "linear": build_linear_probe(LinearProtocol()),
        "few-labels": build_few_labels((1, 5, 10), (), 5),
        "motion": build_motion(MotionProtocol()),
    }


@dataclass
class SuiteResult:
    """Results by name, the features they come from, and the seconds that each part took."""

    results: dict[str, Result]
    train_features: VideoFeatures
    test_features: VideoFeatures
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ClipFilter:
    """The blocks whose single clips are kept: intact ones of networks at some layers, or of everybody."""

    layers: frozenset[str]
    all_sources: bool = False

    def __contains__(self, block: object) -> bool:
        if not isinstance(block, FeatureKey) or block.condition != INTACT or not self.layers:
            return False
        return block.layer in self.layers or (self.all_sources and block.source not in (ENCODER, UNTRAINED_ENCODER))


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
    began_s = time.monotonic()
    asked = list(evaluations.values())
    some = [e for e in asked if e.clip_scope != "nobody"]
    keep = ClipFilter(
        frozenset(layer for e in some for layer in e.layers), any(e.clip_scope == "everybody" for e in some)
    )
    sources = build_extractors(encoder, asked, options)

    def features(side: str, instances: Sequence[Instance], before: int) -> VideoFeatures:
        tell = None if progress is None else _offset_progress(progress, before, len(train) + len(test))
        found = extract_features(instances, encoder.spec, sources, options.num_clips, keep, options.workers, tell)
        if not found.instances:
            bad = found.failures[0]
            raise InputError(f"no video of the {side} list can be read, the first: {bad.path}, {bad}")
        return found

    parts = features("training", train, 0), features("test", test, len(train))
    done = SuiteResult({}, *parts, seconds={"features": time.monotonic() - began_s})
    shared = describe_clips(*parts, encoder.spec, options.num_clips, options.num_crops) | {"rate": options.rate}
    said = collect_leakage_warnings(parts[1].instances, parts[0].instances)
    for name, evaluation in evaluations.items():
        began_s = time.monotonic()
        result = evaluation.run(*parts, encoder.spec)
        result.protocol = shared | result.protocol
        result.warnings = list(dict.fromkeys([*result.warnings, *said]))
        done.results[name], done.seconds[name] = result, time.monotonic() - began_s
    return done


def _offset_progress(progress: Progress, offset: int, total: int) -> Progress:
    return lambda done, _: progress(offset + done, total)


def build_extractors(
    encoder: Encoder, evaluations: Sequence[Evaluation], options: ExtractionOptions
) -> list[FeatureExtractor]:
    """Who looks at the clips: frozen models, floors, the encoder; and again at tampered clips where that is asked."""
    layers = tuple(dict.fromkeys(layer for e in evaluations for layer in e.layers))
    conditions = tuple(dict.fromkeys(c for e in evaluations for c in e.conditions))
    bare = tuple(dict.fromkeys(layer for e in evaluations if e.conditions for layer in e.layers))
    frozen = load_external_baselines(encoder, options)
    own, again = (build_encoder_extractors(encoder, some, options) for some in (layers, bare))
    if not conditions:
        return frozen + own
    lead_in = encoder.spec.clip.lead_in
    return (
        frozen
        + own
        + [build_perturbed_extractor(source, conditions, lead_in, with_intact=False) for source in frozen + again]
    )


def build_encoder_extractors(
    encoder: Encoder, layers: Sequence[str], options: ExtractionOptions
) -> list[FeatureExtractor]:
    floors = flooring.build_baseline_extractors(encoder, layers) if options.trivial_baselines else []
    return [*floors, build_encoder_extractor(encoder, layers=layers, num_crops=options.num_crops)]


def load_external_baselines(encoder: Encoder, options: ExtractionOptions) -> list[FeatureExtractor]:
    """The models in the folders of `baselines`, on the encoder's device. Raises InputError when two share a name."""
    device = next(encoder.backbone.parameters()).device
    named = [load_external_extractor(folder, encoder.spec, device=device) for folder in options.baseline_folders]
    twice = [name for name, count in Counter(name for name, _ in named).items() if count > 1]
    if twice:
        raise InputError(f"two baselines would share the row '{twice[0]}'; rename one of their folders")
    return [source for _, source in named]
