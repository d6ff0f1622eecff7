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
from unreel.evaluation import floors as flooring
from unreel.evaluation.attentive import AttentiveProtocol, evaluate_attentive
from unreel.evaluation.features import (
    INTACT,
    TRAINED,
    Block,
    Progress,
    Source,
    VideoFeatures,
    encoder_source,
    video_features,
)
from unreel.evaluation.few_labels import evaluate_few_labels
from unreel.evaluation.floors import UNTRAINED
from unreel.evaluation.frozen_models import frozen_source
from unreel.evaluation.knn import KnnProtocol, evaluate_knn
from unreel.evaluation.label_draws import plan_of
from unreel.evaluation.linear import LinearProtocol, evaluate_linear
from unreel.evaluation.lists import check_lists, flattering
from unreel.evaluation.motion import MotionProtocol, evaluate_motion, tampered
from unreel.evaluation.result import Result
from unreel.evaluation.retrieval import RetrievalProtocol, describe_clips, protocol_named, retrieval
from unreel.models.encoder import Encoder, EncoderSpec
from unreel.types import Instance
from unreel.views.tamper import CONDITIONS


@dataclass(frozen=True)
class Looking:
    """How videos are looked at: clips and crops of each, what stands beside the encoder, folders of frozen models.

    `rate` says in words whether clips have the rate that the encoder was trained with.
    """

    num_clips: int = 10
    num_crops: int = 1
    floors: bool = True
    baselines: tuple[Path, ...] = ()
    workers: int = 0
    rate: str = "the encoder's own"

    def __post_init__(self) -> None:
        if self.num_clips < 1 or self.num_crops not in (1, 3):
            raise InputError(
                f"a video needs 1 clip or more and 1 or 3 crops, got num_clips={self.num_clips}, "
                f"num_crops={self.num_crops}"
            )


Whose = Literal["nobody", "networks", "everybody"]


@dataclass(frozen=True)
class Evaluation:
    """A function of features, the layers it looks at, whose single clips it needs, and what is to be tampered with."""

    run: Callable[[VideoFeatures, VideoFeatures, EncoderSpec], Result]
    layers: tuple[str, ...] = ("pooled",)
    clips: Whose = "nobody"
    conditions: tuple[str, ...] = ()


def of_retrieval(protocol: RetrievalProtocol) -> Evaluation:
    clips: Whose = "everybody" if protocol.unit == "clip" else "nobody"
    return Evaluation(lambda train, test, spec: retrieval(train, test, spec, protocol), (protocol.layer,), clips)


def of_knn(protocol: KnnProtocol) -> Evaluation:
    return Evaluation(lambda train, test, spec: evaluate_knn(train, test, protocol), (protocol.layer,))


def of_linear(protocol: LinearProtocol) -> Evaluation:
    return Evaluation(lambda train, test, spec: evaluate_linear(train, test, protocol), (protocol.layer,), "networks")


def of_attentive(protocol: AttentiveProtocol, channels: int) -> Evaluation:
    """`channels` are the encoder's own, `backbone.num_features`."""

    def run(train: VideoFeatures, test: VideoFeatures, spec: EncoderSpec) -> Result:
        return evaluate_attentive(train, test, channels, protocol)

    return Evaluation(run, ("map",), "networks")


def of_few_labels(ks: Sequence[int], shares: Sequence[float], draws: int) -> Evaluation:
    plan_of(ks, shares, draws)  # what can't be drawn is refused before anything is decoded
    return Evaluation(lambda train, test, spec: evaluate_few_labels(train, test, ks, shares, draws))


def of_motion(protocol: MotionProtocol) -> Evaluation:
    def run(train: VideoFeatures, test: VideoFeatures, spec: EncoderSpec) -> Result:
        return evaluate_motion(train, test, protocol)

    return Evaluation(run, (protocol.layer,), "networks", tuple(CONDITIONS))


def standard(looking: Looking) -> dict[str, Evaluation]:
    """What `unreel evaluate all` runs, in the order of its report."""
    seen = {"num_clips": looking.num_clips, "num_crops": looking.num_crops}
    return {
        "retrieval": of_retrieval(protocol_named("iic", **seen)),
        "retrieval-dualvar": of_retrieval(protocol_named("dualvar", **seen)),
        "knn": of_knn(KnnProtocol()),
        "linear": of_linear(LinearProtocol()),
        "few-labels": of_few_labels((1, 5, 10), (), 5),
        "motion": of_motion(MotionProtocol()),
    }


@dataclass
class Evaluated:
    """Results by name, the features they come from, and the seconds that each part took."""

    results: dict[str, Result]
    train: VideoFeatures
    test: VideoFeatures
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Kept:
    """The blocks whose single clips are kept: intact ones of networks at some layers, or of everybody."""

    layers: frozenset[str]
    everybody: bool = False

    def __contains__(self, block: object) -> bool:
        if not isinstance(block, Block) or block.condition != INTACT or not self.layers:
            return False
        return block.layer in self.layers or (self.everybody and block.who not in (TRAINED, UNTRAINED))


def evaluate(
    encoder: Encoder,
    train: Sequence[Instance],
    test: Sequence[Instance],
    evaluations: Mapping[str, Evaluation],
    looking: Looking | None = None,
    progress: Progress | None = None,
) -> Evaluated:
    """Run evaluations on labelled training and test videos. Raises InputError for lists that can't be compared."""
    check_lists(train, test)
    looking = looking or Looking()
    began_s = time.monotonic()
    asked = list(evaluations.values())
    some = [e for e in asked if e.clips != "nobody"]
    keep = Kept(frozenset(layer for e in some for layer in e.layers), any(e.clips == "everybody" for e in some))
    sources = sources_for(encoder, asked, looking)

    def features(side: str, instances: Sequence[Instance], before: int) -> VideoFeatures:
        tell = None if progress is None else _shifted(progress, before, len(train) + len(test))
        found = video_features(instances, encoder.spec, sources, looking.num_clips, keep, looking.workers, tell)
        if not found.instances:
            raise InputError(f"no video of the {side} list can be read, the first: {', '.join(found.left_out[0])}")
        return found

    parts = features("training", train, 0), features("test", test, len(train))
    done = Evaluated({}, *parts, seconds={"features": time.monotonic() - began_s})
    shared = describe_clips(*parts, encoder.spec, looking.num_clips, looking.num_crops) | {"rate": looking.rate}
    said = flattering(parts[1].instances, parts[0].instances)
    for name, evaluation in evaluations.items():
        began_s = time.monotonic()
        result = evaluation.run(*parts, encoder.spec)
        result.protocol = shared | result.protocol
        result.warnings = list(dict.fromkeys([*result.warnings, *said]))
        done.results[name], done.seconds[name] = result, time.monotonic() - began_s
    return done


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total)


def sources_for(encoder: Encoder, evaluations: Sequence[Evaluation], looking: Looking) -> list[Source]:
    """Who looks at the clips: frozen models, floors, the encoder; and again at tampered clips where that is asked."""
    layers = tuple(dict.fromkeys(layer for e in evaluations for layer in e.layers))
    conditions = tuple(dict.fromkeys(c for e in evaluations for c in e.conditions))
    bare = tuple(dict.fromkeys(layer for e in evaluations if e.conditions for layer in e.layers))
    frozen = frozen_models(encoder, looking)
    own, again = (floors_and_encoder(encoder, some, looking) for some in (layers, bare))
    if not conditions:
        return frozen + own
    lead_in = encoder.spec.clip.lead_in
    return frozen + own + [tampered(source, conditions, lead_in, intact=False) for source in frozen + again]


def floors_and_encoder(encoder: Encoder, layers: Sequence[str], looking: Looking) -> list[Source]:
    floors = flooring.floor_sources(encoder, layers) if looking.floors else []
    return [*floors, encoder_source(encoder, layers=layers, num_crops=looking.num_crops)]


def frozen_models(encoder: Encoder, looking: Looking) -> list[Source]:
    """The models in the folders of `baselines`, on the encoder's device. Raises InputError when two share a name."""
    device = next(encoder.backbone.parameters()).device
    named = [frozen_source(folder, encoder.spec, device=device) for folder in looking.baselines]
    twice = [name for name, count in Counter(name for name, _ in named).items() if count > 1]
    if twice:
        raise InputError(f"two baselines would share the row '{twice[0]}'; rename one of their folders")
    return [source for _, source in named]
