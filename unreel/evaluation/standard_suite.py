"""Evaluations on frozen features as values, and the ones that `unreel evaluate all` runs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unreel.errors import InputError
from unreel.evaluation.protocols.attentive_probe import AttentiveProtocol, evaluate_attentive
from unreel.evaluation.protocols.few_labels import evaluate_few_labels
from unreel.evaluation.protocols.knn import KnnProtocol, evaluate_knn
from unreel.evaluation.protocols.label_sampling import DrawPlan
from unreel.evaluation.protocols.linear_probe import LinearProtocol, evaluate_linear
from unreel.evaluation.protocols.motion import MotionProtocol, evaluate_motion
from unreel.evaluation.protocols.retrieval import RetrievalProtocol, build_retrieval_protocol, evaluate_retrieval
from unreel.evaluation.result import Result
from unreel.evaluation.video_features import VideoFeatures
from unreel.models.encoder.spec import EncoderSpec
from unreel.views.perturb import PERTURBATIONS


@dataclass(frozen=True)
class ExtractionOptions:
    """Clips and crops of each video, and what stands beside the encoder: trivial baselines, folders of frozen models.

    `rate` names the frame rate in words where it is not the one that the encoder was trained with.
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


ClipScope = Literal["none", "networks", "all"]


@dataclass(frozen=True)
class Evaluation:
    """A function of features; the layers it needs, the sources whose single clips it needs, and perturbations."""

    run: Callable[[VideoFeatures, VideoFeatures, EncoderSpec], Result]
    layers: tuple[str, ...] = ("pooled",)
    clip_scope: ClipScope = "none"
    conditions: tuple[str, ...] = ()


def build_retrieval(protocol: RetrievalProtocol) -> Evaluation:
    scope: ClipScope = "all" if protocol.unit == "clip" else "none"
    return Evaluation(
        lambda train, test, spec: evaluate_retrieval(train, test, spec, protocol), (protocol.layer,), scope
    )


def build_knn(protocol: KnnProtocol) -> Evaluation:
    return Evaluation(lambda train, test, spec: evaluate_knn(train, test, protocol), (protocol.layer,))


def build_linear_probe(protocol: LinearProtocol) -> Evaluation:
    return Evaluation(lambda train, test, spec: evaluate_linear(train, test, protocol), (protocol.layer,), "networks")


def build_attentive_probe(protocol: AttentiveProtocol, num_channels: int) -> Evaluation:
    """`num_channels` are those of the encoder's last map, `backbone.num_features`."""

    def run(train: VideoFeatures, test: VideoFeatures, spec: EncoderSpec) -> Result:
        return evaluate_attentive(train, test, num_channels, protocol)

    return Evaluation(run, ("map",), "networks")


def build_few_labels(plan: DrawPlan) -> Evaluation:
    return Evaluation(lambda train, test, spec: evaluate_few_labels(train, test, plan))


def build_motion(protocol: MotionProtocol) -> Evaluation:
    def run(train: VideoFeatures, test: VideoFeatures, spec: EncoderSpec) -> Result:
        return evaluate_motion(train, test, protocol)

    return Evaluation(run, (protocol.layer,), "networks", tuple(PERTURBATIONS))


def build_standard_suite(options: ExtractionOptions) -> dict[str, Evaluation]:
    """What `unreel evaluate all` runs, in the order of its report."""
    clips = {"num_clips": options.num_clips, "num_crops": options.num_crops}
    return {
        "retrieval": build_retrieval(build_retrieval_protocol("iic", **clips)),
        "retrieval-dualvar": build_retrieval(build_retrieval_protocol("dualvar", **clips)),
        "knn": build_knn(KnnProtocol()),
        "linear": build_linear_probe(LinearProtocol()),
        "few-labels": build_few_labels(DrawPlan()),
        "motion": build_motion(MotionProtocol()),
    }
