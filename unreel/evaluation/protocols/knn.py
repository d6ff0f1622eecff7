"""Nearest neighbours that vote: the class of a test video without training anything.

Source: Wu, Xiong, Yu, Lin 2018 (instance discrimination), weighted k-nearest-neighbour classifier, temperature 0.07.
Where we deviate: k is small, since a folder of videos has hundreds of them and not a million, and votes are shares.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unreel.errors import InputError, unknown_name_error
from unreel.evaluation.feature_extraction import VideoFeatures
from unreel.evaluation.metrics.cosine_ranking import QueryGallery, find_nearest
from unreel.evaluation.probes.grid_search import (
    INTERVALS_NOTE,
    Intervals,
    choose_validation,
    compute_guess_rows,
    count_videos,
    encode_labels,
    find_layer_rows,
    format_not_tuned,
    is_in_top_k,
    list_baseline_descriptions,
    list_classes,
    protocol_to_json,
    summarize_row,
)
from unreel.evaluation.result import Result
from unreel.models.encoder.encoder import FEATURE_LAYERS


@dataclass(frozen=True)
class KnnProtocol:
    """The k of the table, the temperature of the votes and the layer; k of `per class` is chosen on held-out videos."""

    ks: tuple[int, ...] = (1, 5, 10, 20)
    temperature: float = 0.07
    layer: str = "pooled"
    validation_share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.layer not in FEATURE_LAYERS:
            raise unknown_name_error("layer", self.layer, FEATURE_LAYERS)
        if not self.ks or min(self.ks) < 1 or not 0 < self.temperature < math.inf:
            raise InputError(f"kNN needs k=1 or more and a temperature above 0, got {self.ks} and {self.temperature}")


def predict_knn(
    train_ND: np.ndarray,
    train_labels: Sequence[str],
    test_QD: np.ndarray,
    k: int,
    temperature: float,
    classes: Sequence[str],
) -> np.ndarray:
    """Share of the votes for each class, float64 (Q, C): each of the k nearest votes with exp(cosine / temperature).

    Of equally near videos the first in the list votes; a k above N means all of them. Raises InputError for empty lists
    and for a label that is not in `classes`.
    """
    class_N = encode_labels(train_labels, classes)
    if not len(train_ND) or not len(test_QD) or class_N.min() < 0:
        raise InputError(f"kNN needs training and test videos of known classes, got {len(train_ND)} and {len(test_QD)}")
    return _count_votes(*find_nearest(QueryGallery(test_QD, train_ND), k), class_N, temperature, len(classes))


def _count_votes(
    order_QK: np.ndarray, cosine_QK: np.ndarray, class_N: np.ndarray, temperature: float, num_classes: int
) -> np.ndarray:
    """Votes relative to the nearest video's, so that no temperature overflows; each row then sums to 1."""
    cosine_QK = cosine_QK.astype(np.float64)
    weight_QK = np.exp((cosine_QK - cosine_QK[:, :1]) / temperature)
    score_QC = np.zeros((len(order_QK), num_classes))
    np.add.at(score_QC, (np.arange(len(order_QK))[:, None], class_N[order_QK]), weight_QK)
    return score_QC / score_QC.sum(axis=1, keepdims=True)


def evaluate_knn(train: VideoFeatures, test: VideoFeatures, protocol: KnnProtocol | None = None) -> Result:
    """Top-1 of the votes for each k, and mean accuracy per class for the k chosen on held-out training videos.

    Rows are the floors, the encoder's views, and all of them joined. Raises InputError when there is nothing to tell
    apart, or no features of the layer.
    """
    protocol = protocol or KnnProtocol()
    classes, warnings = list_classes(train, test)
    class_N, truth_Q = encode_labels(train.labels, classes), encode_labels(test.labels, classes)
    held_N = choose_validation(train, protocol.validation_share, protocol.seed)
    tops = dict.fromkeys((f"top-1, k={k}" for k in protocol.ks), 1)
    rows, intervals, chosen = compute_guess_rows(train, test, tops), dict[str, Intervals](), dict[str, int]()
    for name, (block, columns) in find_layer_rows(train, test, protocol.layer).items():
        train_ND, test_QD = train.vectors[block][:, columns], test.vectors[block][:, columns]
        right = _score_each_k(train_ND, class_N, test_QD, truth_Q, protocol)
        chosen[name] = _choose_k(train_ND, class_N, held_N, protocol)
        rows[name], intervals[name] = summarize_row(
            dict(zip(tops, right.values(), strict=True)), right[chosen[name]], test
        )
    large = [k for k in protocol.ks if k > len(train.instances)]
    if large:
        which = ", ".join(f"k={k}" for k in large)
        warnings.append(f"{which}: there are {len(train.instances)} training videos only, so all of them vote.")
    return Result(
        kind="knn",
        title="Votes of the nearest training videos, accuracy in percent",
        rows=rows,
        caption=_format_caption(train, test, protocol, held_N),
        protocol={
            **protocol_to_json(protocol),
            **count_videos(train, test, held_N),
            "chosen_k": chosen,
            "distance": "cosine",
        },
        intervals=intervals,
        warnings=warnings + ([format_not_tuned(f"k={protocol.ks[0]}")] if held_N is None else []),
        floors=list_baseline_descriptions(rows),
    )


def _score_each_k(
    train_ND: np.ndarray, class_N: np.ndarray, test_QD: np.ndarray, truth_Q: np.ndarray, protocol: KnnProtocol
) -> dict[int, np.ndarray]:
    """For each k which test videos are right, bool (Q,); the neighbours are looked up once."""
    order_QK, cosine_QK = find_nearest(QueryGallery(test_QD, train_ND), max(protocol.ks))
    found = {}
    for k in protocol.ks:
        score_QC = _count_votes(order_QK[:, :k], cosine_QK[:, :k], class_N, protocol.temperature, class_N.max() + 1)
        found[k] = is_in_top_k(score_QC, truth_Q, 1)
    return found


def _choose_k(train_ND: np.ndarray, class_N: np.ndarray, held_N: np.ndarray | None, protocol: KnnProtocol) -> int:
    """The k with the best accuracy on the held-out training videos, the first of equally good ones."""
    if held_N is None:
        return protocol.ks[0]
    right = _score_each_k(train_ND[~held_N], class_N[~held_N], train_ND[held_N], class_N[held_N], protocol)
    return max(right, key=lambda k: float(right[k].mean()))


def _format_caption(train: VideoFeatures, test: VideoFeatures, protocol: KnnProtocol, held_N: np.ndarray | None) -> str:
    held = "not chosen" if held_N is None else f"chosen on {int(held_N.sum())} training videos, whole groups at a time"
    return (
        f"{len(test.instances)} test videos, {len(train.instances)} training videos that vote with "
        f"exp(cosine / {protocol.temperature:g}), {len(set(train.labels))} classes; layer {protocol.layer}, mean over "
        f"clips; per class: mean over classes of their accuracy, its k {held}; {INTERVALS_NOTE}"
    )
