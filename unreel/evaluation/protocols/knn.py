"""k-nearest-neighbour classification: the class of a test video without training anything.

Source: Wu, Xiong, Yu, Lin 2018 (instance discrimination), weighted k-nearest-neighbour classifier, temperature 0.07.
Where we deviate: k is small, since a folder of videos holds hundreds of them and not a million, and votes are shares.
"""

import math
from dataclasses import dataclass

import numpy as np

from unreel.errors import InputError, unknown_name_error
from unreel.evaluation.baselines.chance import compute_guess_intervals, compute_guess_rows
from unreel.evaluation.baselines.descriptions import describe_classifier_baselines
from unreel.evaluation.feature_protocol import Evaluation, ExtractionOptions, FeatureProtocol
from unreel.evaluation.metrics.accuracy import (
    INTERVALS_NOTE,
    encode_labels,
    is_in_top_k,
    list_classes,
    list_outcomes,
    summarize_row,
)
from unreel.evaluation.metrics.cosine_ranking import QueryGallery, find_nearest
from unreel.evaluation.probes.grid_search import format_not_tuned
from unreel.evaluation.probes.knn_votes import count_votes
from unreel.evaluation.protocol_description import count_videos, protocol_to_json
from unreel.evaluation.protocols.options import KnnOptions
from unreel.evaluation.result import Intervals, Outcomes, Result
from unreel.evaluation.validation_split import hold_out_groups
from unreel.evaluation.video_features import VideoFeatures, find_layer_rows
from unreel.io.text import format_count
from unreel.models.encoder.encoder import FEATURE_LAYERS


@dataclass(frozen=True)
class KnnProtocol:
    """The k of the columns, the temperature of the votes, the layer; `per class` uses a k chosen on held-out videos."""

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


def evaluate_knn(train: VideoFeatures, test: VideoFeatures, protocol: KnnProtocol | None = None) -> Result:
    """Top-1 of the votes for each k, and mean accuracy per class for the k chosen on held-out training videos.

    Rows are the baselines, the encoder's views, and all views joined. Raises InputError for fewer than two classes, and
    for missing features of the layer.
    """
    protocol = protocol or KnnProtocol()
    classes, warnings = list_classes(train.labels, test.labels)
    class_N, truth_Q = encode_labels(train.labels, classes), encode_labels(test.labels, classes)
    held_N = hold_out_groups(train.instances, protocol.validation_share, protocol.seed)
    columns = {k: format_column(k) for k in protocol.ks}
    rows = compute_guess_rows(train.labels, test.labels, dict.fromkeys(columns.values(), 1))
    intervals, outcomes, chosen = dict[str, Intervals](), dict[str, Outcomes](), dict[str, int]()
    intervals |= compute_guess_intervals(train.labels, test.labels, dict.fromkeys(columns.values(), 1), test.groups)
    for name, (key, view) in find_layer_rows(train, test, protocol.layer).items():
        train_ND, test_QD = train.vectors[key][:, view], test.vectors[key][:, view]
        right = _score_each_k(train_ND, class_N, test_QD, truth_Q, protocol)
        chosen[name] = choose_k(train_ND, class_N, held_N, protocol)
        by_column = {columns[k]: right_Q for k, right_Q in right.items()}
        rows[name], intervals[name] = summarize_row(by_column, right[chosen[name]], test.labels, test.groups)
        outcomes[name] = list_outcomes(by_column)
    large = ", ".join(f"k={k}" for k in protocol.ks if k > len(train.instances))
    if large:
        warnings.append(f"{large}: there are {len(train.instances)} training videos only, so all of them vote.")
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
        outcomes=outcomes,
        warnings=warnings + ([format_not_tuned(f"k={protocol.ks[0]}")] if held_N is None else []),
        floors=describe_classifier_baselines(rows),
        main_column=format_column(protocol.ks[0]),
        row_main_columns={name: format_column(k) for name, k in chosen.items()},
    )


def format_column(k: int) -> str:
    return f"top-1, k={k}"


def _score_each_k(
    train_ND: np.ndarray, class_N: np.ndarray, test_QD: np.ndarray, truth_Q: np.ndarray, protocol: KnnProtocol
) -> dict[int, np.ndarray]:
    """For each k which test videos are right, bool (Q,); the neighbours are searched once."""
    order_QK, cosine_QK = find_nearest(QueryGallery(test_QD, train_ND), max(protocol.ks))
    right = {}
    for k in protocol.ks:
        score_QC = count_votes(order_QK[:, :k], cosine_QK[:, :k], class_N, protocol.temperature, class_N.max() + 1)
        right[k] = is_in_top_k(score_QC, truth_Q, 1)
    return right


def choose_k(train_ND: np.ndarray, class_N: np.ndarray, held_N: np.ndarray | None, protocol: KnnProtocol) -> int:
    """The k with the best accuracy on the held-out training videos, the first of equally good ones."""
    if held_N is None:
        return protocol.ks[0]
    right = _score_each_k(train_ND[~held_N], class_N[~held_N], train_ND[held_N], class_N[held_N], protocol)
    return max(right, key=lambda k: float(right[k].mean()))


def _format_caption(train: VideoFeatures, test: VideoFeatures, protocol: KnnProtocol, held_N: np.ndarray | None) -> str:
    choice = (
        "not chosen"
        if held_N is None
        else f"chosen on {format_count(int(held_N.sum()), 'training video')}, whole groups at a time"
    )
    return (
        f"{format_count(len(test.instances), 'test video')}, "
        f"{format_count(len(train.instances), 'training video')} that vote with "
        f"exp(cosine / {protocol.temperature:g}), {format_count(len(set(train.labels)), 'class')}; layer "
        f"{protocol.layer}, mean over "
        f"clips; per class: mean over classes of their accuracy, its k {choice}; {INTERVALS_NOTE}"
    )


def _build(options: KnnOptions, extraction: ExtractionOptions) -> dict[str, Evaluation]:
    protocol = KnnProtocol(options.ks, options.temperature, options.layer)
    return {"knn": Evaluation(lambda train, test, encoder: evaluate_knn(train, test, protocol), (protocol.layer,))}


PROTOCOL = FeatureProtocol(
    name="knn",
    order=2,
    summary="classification by the votes of the nearest training videos",
    options=KnnOptions,
    build=_build,
    in_suite=(KnnOptions(),),
)
