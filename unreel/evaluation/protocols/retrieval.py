"""Nearest-neighbour retrieval: do the nearest training videos of a test video show its class?

Three protocols, which must not be mixed in one table: ours and two of the literature.

    unreel   last map averaged (512 numbers), each view of unit length, not centred: what `embed` and `index` compare
    iic      last map max-pooled and flattened (9216 numbers), nothing centred. Tao, Wang and Yamasaki 2020
             (BestJuly/IIC, retrieval script). The release drops the last partial batch of queries and of the gallery;
             here every video counts
    dualvar  last map averaged (512 numbers), centred. Zhang et al. 2021 (lzhangbj/DualVar). The release centres the
             queries with their own mean, so that each answer depends on the whole test set; by default both sides are
             centred with the gallery's mean, `--centring own` does what the release does

All: 10 clips per video, centre crop, mean over clips, cosine, R@k = any of the k nearest has the query's class. mAP,
the mean over queries of the average precision, uses the whole ranking.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from unreel.errors import InputError, unknown_name_error
from unreel.evaluation.baselines.chance import CHANCE, compute_chance_recall
from unreel.evaluation.baselines.descriptions import describe_baseline, is_baseline
from unreel.evaluation.feature_protocol import ClipScope, Evaluation, ExtractionOptions, FeatureProtocol
from unreel.evaluation.leakage import collect_warnings
from unreel.evaluation.metrics.bootstrap import bootstrap_intervals
from unreel.evaluation.metrics.cosine_ranking import (
    QueryGallery,
    compute_average_precisions,
    find_nearest,
    rank_first_correct,
)
from unreel.evaluation.protocol_description import describe_clips
from unreel.evaluation.protocols.options import Centring, RankingUnit, RetrievalOptions
from unreel.evaluation.result import FIRST_HIT, Intervals, Result
from unreel.evaluation.verdict.carrier import describe_carrier
from unreel.evaluation.verdict.labelled import choose_own_row, judge_with_labels
from unreel.evaluation.video_features import ENCODER, JOINT, FeatureKey, VideoFeatures, scale_views
from unreel.io.text import format_count
from unreel.models.encoder.encoder import FEATURE_LAYERS
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Instance
from unreel.views.geometric import CROP_COUNTS

MEAN_PRECISION = "mAP"


@dataclass(frozen=True)
class RetrievalProtocol:
    """Layer, centring, joined views, clips and crops per video, what is ranked, and the k of R@k.

    Views are joined as they are, or with equal weight, each of unit length. `num_examples` queries keep their nearest
    neighbours for the report.
    """

    name: str = "unreel"
    layer: str = "pooled"
    centring: Centring = "none"
    equal_views: bool = True
    num_clips: int = 10
    num_crops: int = 1
    unit: RankingUnit = "video"
    ks: tuple[int, ...] = (1, 5, 10, 20, 50)
    num_examples: int = 24

    def __post_init__(self) -> None:
        for value, known in (
            (self.layer, FEATURE_LAYERS),
            (self.centring, get_args(Centring)),
            (self.unit, get_args(RankingUnit)),
        ):
            if value not in known:
                raise unknown_name_error("retrieval option", value, known)
        if self.num_crops not in CROP_COUNTS:
            raise InputError(f"crops of a clip are {', '.join(map(str, CROP_COUNTS))}, got {self.num_crops}")
        if self.num_clips < 1 or not self.ks or min(self.ks) < 1:
            raise InputError(f"retrieval needs 1 clip and k=1 or more, got num_clips={self.num_clips}, ks={self.ks}")


def build_retrieval_protocol(name: str, **changes: Any) -> RetrievalProtocol:
    """A protocol by its name with some values changed (None leaves a value). Raises InputError."""
    known = {
        "unreel": RetrievalProtocol(),
        "iic": RetrievalProtocol("iic", "conv5", equal_views=False),
        "dualvar": RetrievalProtocol("dualvar", "pooled", "gallery", equal_views=False),
    }
    if name not in known:
        raise unknown_name_error("retrieval protocol", name, known)
    return dataclasses.replace(known[name], **{n: v for n, v in changes.items() if v is not None})


def evaluate_retrieval(
    gallery: VideoFeatures, query: VideoFeatures, spec: EncoderSpec, protocol: RetrievalProtocol | None = None
) -> Result:
    """R@k and mAP from extracted features: baselines, each view alone, all views side by side.

    `unit="clip"` needs the single clips of every row.
    """
    protocol = protocol or RetrievalProtocol()
    description = describe_protocol(gallery, query, spec, protocol)
    result = Result("retrieval", "Retrieval, percent", {}, format_caption(description), description)
    result.main_column = format_recall(1)
    over_groups: dict[str, Intervals] = {}
    hits: dict[str, np.ndarray] = {}
    gallery_size = len(gallery.instances)
    for name, (key, columns) in gallery.list_table_rows(protocol.layer).items():
        vectors, num_rows = build_query_gallery(gallery, query, key, columns, protocol)
        labels = repeat_each(query.labels, num_rows), repeat_each(gallery.labels, num_rows)
        if CHANCE not in result.rows:
            gallery_size = len(labels[1])
            result.rows[CHANCE] = compute_chance(*labels, protocol.ks)
        ranks_Q = rank_first_correct(vectors, *labels)
        scores = score_queries(vectors, labels, protocol.ks, ranks_Q)
        result.rows[name] = {column: float(values_Q.mean()) for column, values_Q in scores.items()}
        hits[name] = scores[result.main_column].reshape(len(query.instances), num_rows).mean(axis=1)
        result.outcomes[name] = collect_outcomes(scores, ranks_Q, gallery_size, num_rows)
        videos = repeat_each([str(n) for n in range(len(query.instances))], num_rows)
        result.intervals[name] = bootstrap_intervals(scores, videos)
        if any(query.groups):
            over_groups[name] = bootstrap_intervals(scores, repeat_each(query.groups, num_rows))
    result.floors = {n: describe_baseline(n) for n in result.rows if is_baseline(n, gallery)}
    verdict = judge_with_labels(result.main_column, hits, list(result.floors), query.groups)
    carrier = describe_carrier(result.main_column, hits, choose_own_row(hits, list(result.floors)), query.groups)
    result.extras = {"neighbours": find_example_neighbours(gallery, query, protocol), "verdict": verdict.to_json()}
    if carrier:
        result.extras["said"] = [carrier]
    result.warnings = collect_warnings(
        query.instances, gallery.instances, protocol.ks, gallery_size
    ) + collect_protocol_warnings(protocol)
    if over_groups:
        result.extras["intervals_over_groups"] = over_groups
    return result


def format_recall(k: int) -> str:
    return f"R@{k}"


def score_queries(
    vectors: QueryGallery,
    labels: tuple[list[str], list[str]],
    ks: Sequence[int],
    ranks_Q: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """R@k and average precision of each query, percent (Q,) by column; `ranks_Q` of its first hit, where known."""
    ranks_Q = rank_first_correct(vectors, *labels) if ranks_Q is None else ranks_Q
    hits = {format_recall(k): 100.0 * (ranks_Q < min(k, len(labels[1]))) for k in ks}
    return hits | {MEAN_PRECISION: 100.0 * compute_average_precisions(vectors, *labels)}


def collect_outcomes(
    scores: dict[str, np.ndarray], ranks_Q: np.ndarray, gallery_size: int, num_rows: int
) -> dict[str, list[float]]:
    """What is kept of each query: the rank of its first hit, from 1 (0: none), and its average precision in percent.

    A video whose clips are queries by themselves has no rank, but the mean of each column over its `num_rows` clips.
    """
    if num_rows > 1:
        return {c: values.reshape(-1, num_rows).mean(axis=1).round(4).tolist() for c, values in scores.items()}
    ranks = np.where(ranks_Q < gallery_size, ranks_Q + 1, 0).tolist()
    return {FIRST_HIT: ranks, MEAN_PRECISION: scores[MEAN_PRECISION].round(4).tolist()}


def repeat_each(values: Sequence[str], num_repeats: int) -> list[str]:
    """The value of each video, once for each of its clips."""
    return [value for value in values for _ in range(num_repeats)]


def build_query_gallery(
    gallery: VideoFeatures, query: VideoFeatures, key: FeatureKey, columns: slice, protocol: RetrievalProtocol
) -> tuple[QueryGallery, int]:
    """The vectors to compare, centred and joined as the protocol says, and how many rows each video has.

    Copies are made of views with equal weight alone.
    """
    parts, num_rows = [part.vectors[key] for part in (query, gallery)], 1
    if protocol.unit == "clip":
        num_rows = gallery.clip_vectors[key].shape[1]
        parts = [part.clip_vectors[key].reshape(-1, part.clip_vectors[key].shape[2]) for part in (query, gallery)]
    query_QD, gallery_ND = (rows[:, columns] for rows in parts)
    query_mean_D: np.ndarray | float = 0.0
    mean_D: np.ndarray | float = 0.0
    if protocol.centring != "none":
        mean_D = gallery_ND.mean(axis=0, dtype=np.float64)
        query_mean_D = query_QD.mean(axis=0, dtype=np.float64) if protocol.centring == "own" else mean_D
    views = list(gallery.columns[key].values())
    if protocol.equal_views and columns == slice(None) and len(views) > 1:
        query_QD = scale_views(query_QD - query_mean_D, views)
        return QueryGallery(query_QD, scale_views(gallery_ND - mean_D, views)), num_rows
    return QueryGallery(query_QD, gallery_ND, query_mean_D, mean_D), num_rows


def compute_chance(query_labels: Sequence[str], gallery_labels: Sequence[str], ks: Sequence[int]) -> dict[str, float]:
    """Expected figures of a random ranking."""
    return {format_recall(k): v for k, v in compute_chance_recall(query_labels, gallery_labels, ks).items()}


def collect_protocol_warnings(protocol: RetrievalProtocol) -> list[str]:
    if protocol.centring != "own":
        return []
    return [
        "queries are centred with their own mean, as in the DualVar release: each answer then depends on the other "
        "test videos, so compare these figures only with others of that kind"
    ]


def find_example_neighbours(
    gallery: VideoFeatures, query: VideoFeatures, protocol: RetrievalProtocol, k: int = 5
) -> list[dict[str, Any]]:
    """Some queries, evenly spread over the list, and their nearest gallery videos, all views joined."""
    key = next((k for k in gallery.vectors if k.source == ENCODER and k.layer == protocol.layer), None)
    rows = np.unique(
        np.linspace(0, len(query.instances) - 1, min(protocol.num_examples, len(query.instances))).astype(int)
    )
    if key is None or not len(rows):
        return []
    vectors, _ = build_query_gallery(gallery, query, key, slice(None), dataclasses.replace(protocol, unit="video"))
    orders, scores = find_nearest(dataclasses.replace(vectors, query_QD=vectors.query_QD[rows]), k)
    hits = [
        [
            {**_describe_instance(gallery.instances[n]), "score": round(float(s), 6)}
            for n, s in zip(order, score, strict=True)
        ]
        for order, score in zip(orders, scores, strict=True)
    ]
    return [{**_describe_instance(query.instances[row]), "hits": near} for row, near in zip(rows, hits, strict=True)]


def _describe_instance(instance: Instance) -> dict[str, Any]:
    """As JSON, which has no infinity: the end of a whole video is null."""
    end_s = instance.end_s if np.isfinite(instance.end_s) else None
    return {"path": instance.path, "start_s": instance.start_s, "end_s": end_s, "label": instance.label}


def format_caption(protocol: dict[str, Any]) -> str:
    """The protocol in one sentence."""
    p = protocol
    rate = f"{p['fps']:g} fps" if p["fps"] else f"stride {p['stride_frames']}"
    dimensions = ", ".join(f"{name} {d}" for name, d in p["dimensions"].items())
    crops = "centre crop" if p["num_crops"] == 1 else f"{p['num_crops']} crops"
    mean = "mean over clips" if p["unit"] == "video" else "each clip is a query or an answer by itself"
    centring = {"none": "", "gallery": "centred by the gallery's mean, ", "own": "each side centred by its own mean, "}
    return (
        f"protocol {p['protocol']}: {format_count(p['queries'], 'query')} against "
        f"{format_count(p['gallery'], 'gallery video')}, "
        f"{format_count(p['classes'], 'class')}; {format_count(p['num_clips'], 'clip')} of {p['num_frames']} "
        f"frames ({rate}) per video, "
        f"{p['size']} px, {crops}, layer {p['layer']}, {mean}, {centring[p['centring']]}"
        f"{p['distance']} ({dimensions} numbers)"
    )


def describe_protocol(
    gallery: VideoFeatures, query: VideoFeatures, spec: EncoderSpec, protocol: RetrievalProtocol
) -> dict[str, Any]:
    """Everything that a figure depends on, as plain JSON."""
    key = FeatureKey(ENCODER, protocol.layer)
    widths = {n: s.stop - s.start for n, s in gallery.columns.get(key, {}).items()}
    widths |= {JOINT: sum(widths.values())} if len(widths) > 1 else {}
    return {
        "protocol": protocol.name,
        **describe_clips(gallery, query, spec, protocol.num_clips, protocol.num_crops),
        "unit": protocol.unit,
        "layer": protocol.layer,
        "centring": protocol.centring,
        "dimensions": widths,
        "joint": f"{'means over clips of unit length' if protocol.equal_views else 'raw features'}, side by side",
        "distance": "cosine",
        "queries": len(query.instances),
        "gallery": len(gallery.instances),
        "ties": "the video that stands first in the gallery",
        "intervals": "95 %, percentile bootstrap over query videos, 1,000 draws; over groups apart",
    }


def build_retrieval(protocol: RetrievalProtocol) -> Evaluation:
    """Retrieval under one protocol, for `run_evaluations`."""
    scope: ClipScope = "all" if protocol.unit == "clip" else "none"
    return Evaluation(
        lambda train, test, encoder: evaluate_retrieval(train, test, encoder.spec, protocol), (protocol.layer,), scope
    )


def _build(options: RetrievalOptions, extraction: ExtractionOptions) -> dict[str, Evaluation]:
    changes = {"layer": options.layer, "centring": options.centring, "unit": options.unit}
    clips = {"num_clips": extraction.num_clips, "num_crops": extraction.num_crops}
    name = "retrieval" if options.protocol == "unreel" else f"retrieval-{options.protocol}"
    return {name: build_retrieval(build_retrieval_protocol(options.protocol, **changes, **clips))}


PROTOCOL = FeatureProtocol(
    name="retrieval",
    order=1,
    summary="nearest-neighbour retrieval: R@k and mAP, in our protocol or that of IIC or DualVar",
    options=RetrievalOptions,
    build=_build,
    in_suite=(RetrievalOptions(), RetrievalOptions("iic"), RetrievalOptions("dualvar")),
)
