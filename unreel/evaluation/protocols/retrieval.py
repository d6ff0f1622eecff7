"""Nearest-neighbour retrieval: do the nearest training videos of a test video show its class?

Two protocols of the literature, never to be mixed in one table:

    iic      last map max-pooled and flattened (9216 numbers), nothing centred. Tao, Wang and Yamasaki 2020
             (BestJuly/IIC, retrieval script). The release drops the last partial batch of queries and of
             gallery; here every video counts
    dualvar  last map averaged (512 numbers), centred. Zhang et al. 2021 (lzhangbj/DualVar). The
             release centres the queries with their own mean, so the test set as a whole takes part in each answer; by
             default both sides are centred with the gallery's mean, `--centring own` is theirs

Both: 10 clips per video, centre crop, mean over clips, cosine, R@k = any of the k nearest has the query's class. The
mean of the average precision over queries (mAP) looks at the whole ranking.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from unreel.errors import InputError, unknown_name_error
from unreel.evaluation.baselines import trivial_baselines as flooring
from unreel.evaluation.feature_extraction import ENCODER, JOINT, FeatureKey, VideoFeatures
from unreel.evaluation.leakage import collect_warnings
from unreel.evaluation.metrics.bootstrap import bootstrap_intervals
from unreel.evaluation.metrics.cosine_ranking import (
    QueryGallery,
    compute_average_precisions,
    find_nearest,
    rank_first_correct,
)
from unreel.evaluation.result import Result
from unreel.models.encoder.encoder import FEATURE_LAYERS
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Instance

Centring = Literal["none", "gallery", "own"]
RankingUnit = Literal["video", "clip"]
CROP_COUNTS = (1, 3)
Intervals = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class RetrievalProtocol:
    """Layer, centring, clips and crops per video, what is ranked, and the k of R@k.

    `shown` queries keep their nearest neighbours for the report.
    """

    name: str = "iic"
    layer: str = "conv5"
    centring: Centring = "none"
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
            raise InputError(f"crops of a clip are 1 (centre) or 3 (left, centre, right), got {self.num_crops}")
        if self.num_clips < 1 or not self.ks or min(self.ks) < 1:
            raise InputError(f"retrieval needs 1 clip and k=1 or more, got num_clips={self.num_clips}, ks={self.ks}")


def build_retrieval_protocol(name: str, **changes: Any) -> RetrievalProtocol:
    """A protocol of the literature with some values changed; what is None is not. Raises InputError."""
    known = {"iic": RetrievalProtocol(), "dualvar": RetrievalProtocol("dualvar", "pooled", "gallery")}
    if name not in known:
        raise unknown_name_error("retrieval protocol", name, known)
    return dataclasses.replace(known[name], **{n: v for n, v in changes.items() if v is not None})


def evaluate_retrieval(
    gallery: VideoFeatures, query: VideoFeatures, spec: EncoderSpec, protocol: RetrievalProtocol | None = None
) -> Result:
    """R@k and mAP from features that are there: floors, each view alone, all views side by side.

    `unit="clip"` needs the single clips of every row.
    """
    protocol = protocol or RetrievalProtocol()
    about = describe_protocol(gallery, query, spec, protocol)
    result = Result("retrieval", "Retrieval, percent", {}, format_caption(about), about)
    over_groups: dict[str, Intervals] = {}
    answering = len(gallery.instances)
    for name, (block, columns) in gallery.list_table_rows(protocol.layer).items():
        sides, each = build_query_gallery(gallery, query, block, columns, protocol)
        labels = repeat_each(query.labels, each), repeat_each(gallery.labels, each)
        if flooring.CHANCE not in result.rows:
            answering = len(labels[1])
            result.rows[flooring.CHANCE] = compute_chance(*labels, protocol.ks)
        found = score_queries(sides, labels, protocol.ks)
        result.rows[name] = {column: float(values_Q.mean()) for column, values_Q in found.items()}
        videos = repeat_each([str(n) for n in range(len(query.instances))], each)
        result.intervals[name] = bootstrap_intervals(found, videos)
        if any(query.groups):
            over_groups[name] = bootstrap_intervals(found, repeat_each(query.groups, each))
    result.floors = {n: flooring.describe_baseline(n) for n in result.rows if flooring.is_baseline(n, gallery)}
    result.extras = {"neighbours": find_example_neighbours(gallery, query, protocol)}
    result.warnings = collect_warnings(
        query.instances, gallery.instances, protocol.ks, answering
    ) + collect_protocol_warnings(protocol)
    if over_groups:
        result.extras["intervals_over_groups"] = over_groups
    return result


def score_queries(
    vectors: QueryGallery, labels: tuple[list[str], list[str]], ks: Sequence[int]
) -> dict[str, np.ndarray]:
    """R@k and average precision of each query, percent (Q,) by column."""
    ranks = rank_first_correct(vectors, *labels)
    hits = {f"R@{k}": 100.0 * (ranks < min(k, len(labels[1]))) for k in ks}
    return hits | {"mAP": 100.0 * compute_average_precisions(vectors, *labels)}


def repeat_each(values: Sequence[str], num_repeats: int) -> list[str]:
    """What is said of each video, for each of its clips."""
    return [value for value in values for _ in range(num_repeats)]


def build_query_gallery(
    gallery: VideoFeatures, query: VideoFeatures, key: FeatureKey, columns: slice, protocol: RetrievalProtocol
) -> tuple[QueryGallery, int]:
    """What is compared, centred as the protocol says, and how many rows each video has; no copies."""
    parts, each = [part.vectors[key] for part in (query, gallery)], 1
    if protocol.unit == "clip":
        each = gallery.clip_vectors[key].shape[1]
        parts = [part.clip_vectors[key].reshape(-1, part.clip_vectors[key].shape[2]) for part in (query, gallery)]
    asked, answering = (rows[:, columns] for rows in parts)
    if protocol.centring == "none":
        return QueryGallery(asked, answering), each
    mean_D = answering.mean(axis=0, dtype=np.float64)
    own_D = asked.mean(axis=0, dtype=np.float64) if protocol.centring == "own" else mean_D
    return QueryGallery(asked, answering, own_D, mean_D), each


def compute_chance(query_labels: Sequence[str], gallery_labels: Sequence[str], ks: Sequence[int]) -> dict[str, float]:
    """Expected figures of a random ranking."""
    return {f"R@{k}": v for k, v in flooring.compute_chance_recall(query_labels, gallery_labels, ks).items()}


def collect_protocol_warnings(protocol: RetrievalProtocol) -> list[str]:
    if protocol.centring != "own":
        return []
    return [
        "queries are centred with their own mean, as in the DualVar release: each answer then depends on the other "
        "test videos, so these figures stand beside others of that kind only"
    ]


def find_example_neighbours(
    gallery: VideoFeatures, query: VideoFeatures, protocol: RetrievalProtocol, k: int = 5
) -> list[dict[str, Any]]:
    """Some queries, evenly spread over the list, and their nearest gallery videos, all views joined."""
    block = next((b for b in gallery.vectors if b.source == ENCODER and b.layer == protocol.layer), None)
    rows = np.unique(
        np.linspace(0, len(query.instances) - 1, min(protocol.num_examples, len(query.instances))).astype(int)
    )
    if block is None or not len(rows):
        return []
    sides, _ = build_query_gallery(gallery, query, block, slice(None), dataclasses.replace(protocol, unit="video"))
    orders, scores = find_nearest(dataclasses.replace(sides, query_QD=sides.query_QD[rows]), k)
    hits = [
        [
            {**_describe_instance(gallery.instances[n]), "score": round(float(s), 6)}
            for n, s in zip(order, score, strict=True)
        ]
        for order, score in zip(orders, scores, strict=True)
    ]
    return [{**_describe_instance(query.instances[row]), "hits": found} for row, found in zip(rows, hits, strict=True)]


def _describe_instance(instance: Instance) -> dict[str, Any]:
    """JSON has no infinity: the end of a whole video is null."""
    end_s = instance.end_s if np.isfinite(instance.end_s) else None
    return {"path": instance.path, "start_s": instance.start_s, "end_s": end_s, "label": instance.label}


def format_caption(description: dict[str, Any]) -> str:
    """The protocol in one sentence."""
    rate = f"{description['fps']:g} fps" if description["fps"] else f"stride {description['stride_frames']}"
    dimensions = ", ".join(f"{name} {d}" for name, d in description["dimensions"].items())
    crops = "centre crop" if description["num_crops"] == 1 else f"{description['num_crops']} crops"
    mean = "mean over clips" if description["unit"] == "video" else "each clip asks and answers by itself"
    centring = {"none": "", "gallery": "centred by the gallery's mean, ", "own": "each side centred by its own mean, "}
    return (
        f"protocol {description['protocol']}: {description['queries']} queries against {description['gallery']} gallery videos, "
        f"{description['classes']} classes; {description['num_clips']} clips of {description['num_frames']} frames ({rate}) per video, "
        f"{description['size']} px, {crops}, layer {description['layer']}, {mean}, {centring[description['centring']]}"
        f"{description['distance']} ({dimensions} numbers)"
    )


def describe_protocol(
    gallery: VideoFeatures, query: VideoFeatures, spec: EncoderSpec, protocol: RetrievalProtocol
) -> dict[str, Any]:
    """Everything that a figure depends on, as plain JSON."""
    block = FeatureKey(ENCODER, protocol.layer)
    widths = {n: s.stop - s.start for n, s in gallery.columns.get(block, {}).items()}
    widths |= {JOINT: sum(widths.values())} if len(widths) > 1 else {}
    return {
        "protocol": protocol.name,
        **describe_clips(gallery, query, spec, protocol.num_clips, protocol.num_crops),
        "unit": protocol.unit,
        "layer": protocol.layer,
        "centring": protocol.centring,
        "dimensions": widths,
        "joint": "raw features of the views side by side, then the mean over clips",
        "distance": "cosine",
        "queries": len(query.instances),
        "gallery": len(gallery.instances),
        "ties": "the video that stands first in the gallery",
        "intervals": "95 %, percentile bootstrap over query videos, 1,000 draws; over groups apart",
    }


def describe_clips(
    train: VideoFeatures, test: VideoFeatures, spec: EncoderSpec, num_clips: int, num_crops: int
) -> dict[str, Any]:
    """What every evaluation on evenly spread clips has to say of them, of the encoder and of files left out."""
    left_out = [("training", f) for f in train.failures] + [("test", f) for f in test.failures]
    crop = "centre" if num_crops == 1 else "left, centre and right (pixel floors and frozen models: centre)"
    return {
        "num_clips": num_clips,
        "num_crops": num_crops,
        "clip_choice": "evenly spread over the video",
        **{k: v for k, v in dataclasses.asdict(spec.clip).items() if k != "lead_in"},
        "size": spec.views.size,
        "crop": f"{crop}, of frames resized to {spec.views.resize_hw[1]} x {spec.views.resize_hw[0]}",
        "views": list(spec.views.names),
        "residual": dataclasses.asdict(spec.views.residual) if "residual" in spec.views.names else None,
        "standardize": spec.views.standardize,
        "backbone": spec.backbone,
        "method": spec.method,
        "classes": len({*train.labels, *test.labels}),
        "left_out": [{"list": where, "path": f.path, "reason": str(f)} for where, f in left_out],
    }
