"""Evaluations on frozen features, built from their name and options."""

from collections.abc import Callable, Sequence
from typing import Any

from unreel.errors import unknown_name_error
from unreel.evaluation.protocols.attentive_probe import AttentiveProtocol
from unreel.evaluation.protocols.knn import KnnProtocol
from unreel.evaluation.protocols.label_sampling import DrawPlan
from unreel.evaluation.protocols.linear_probe import LinearProtocol, ProbeKind
from unreel.evaluation.protocols.motion import MotionProtocol
from unreel.evaluation.protocols.retrieval import build_retrieval_protocol
from unreel.evaluation.standard_suite import (
    Evaluation,
    ExtractionOptions,
    build_attentive_probe,
    build_few_labels,
    build_knn,
    build_linear_probe,
    build_motion,
    build_retrieval,
)
from unreel.models.encoder.encoder import Encoder

Builder = Callable[..., dict[str, Evaluation]]


def build_evaluations(
    name: str, encoder: Encoder, feature_options: ExtractionOptions, **options: Any
) -> dict[str, Evaluation]:
    """The evaluation `name` with these options, by the name of its result. Raises InputError."""
    if name not in BUILDERS:
        raise unknown_name_error("evaluation", name, BUILDERS)
    return BUILDERS[name](encoder, feature_options, **options)


def _build_retrieval(
    encoder: Encoder, feature_options: ExtractionOptions, protocol: str = "iic", **changes: Any
) -> dict[str, Evaluation]:
    changes |= {"num_clips": feature_options.num_clips, "num_crops": feature_options.num_crops}
    name = "retrieval" if protocol == "iic" else f"retrieval-{protocol}"
    return {name: build_retrieval(build_retrieval_protocol(protocol, **changes))}


def _build_knn(
    encoder: Encoder,
    feature_options: ExtractionOptions,
    ks: tuple[int, ...] = (1, 5, 10, 20),
    temperature: float = 0.07,
    layer: str = "pooled",
) -> dict[str, Evaluation]:
    return {"knn": build_knn(KnnProtocol(ks, temperature, layer))}


def _build_linear(
    encoder: Encoder, feature_options: ExtractionOptions, kind: ProbeKind = "auto", seed: int = 0
) -> dict[str, Evaluation]:
    return {"linear": build_linear_probe(LinearProtocol(kind=kind, seed=seed))}


def _build_attentive(encoder: Encoder, feature_options: ExtractionOptions, seed: int = 0) -> dict[str, Evaluation]:
    num_channels = int(encoder.backbone.num_features)  # type: ignore[arg-type]
    return {"attentive": build_attentive_probe(AttentiveProtocol(seed=seed), num_channels)}


def _build_few_labels(
    encoder: Encoder,
    feature_options: ExtractionOptions,
    ks: Sequence[int] = (1, 5, 10),
    shares: Sequence[float] = (),
    draws: int = 5,
) -> dict[str, Evaluation]:
    return {"few-labels": build_few_labels(DrawPlan(ks, shares, draws))}


def _build_motion(encoder: Encoder, feature_options: ExtractionOptions, layer: str = "pooled") -> dict[str, Evaluation]:
    return {"motion": build_motion(MotionProtocol(layer))}


BUILDERS: dict[str, Builder] = {
    "retrieval": _build_retrieval,
    "knn": _build_knn,
    "linear": _build_linear,
    "attentive": _build_attentive,
    "few-labels": _build_few_labels,
    "motion": _build_motion,
}
