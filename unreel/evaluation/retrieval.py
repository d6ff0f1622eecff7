"""Nearest-neighbour retrieval: do the nearest training videos of a test video show its class?

The protocol of Tao, Wang and Yamasaki 2020 (BestJuly/IIC, retrieval script; METHODS 1.6): 10 clips per video, centre
crop, last map max-pooled and flattened, mean over clips, cosine, R@k = any of the k nearest has the query's class.
Where we deviate: every query and every gallery video counts (the release drops the last partial batch of each).
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.table import Table

from unreel.errors import InputError, unknown
from unreel.evaluation import floors as flooring
from unreel.evaluation.features import Progress, VideoFeatures, encoder_source, video_features
from unreel.evaluation.lists import cautions, check_lists
from unreel.models.encoder import LAYERS, Encoder
from unreel.types import Instance

TRAINED, JOINT = "encoder", "joint"
QUERY_CHUNK, GALLERY_CHUNK = 256, 1024


@dataclass(frozen=True)
class RetrievalProtocol:
    """Clips per video, layer and the k of R@k; `shown` queries keep their nearest neighbours for the report."""

    num_clips: int = 10
    layer: str = "conv5"
    ks: tuple[int, ...] = (1, 5, 10, 20, 50)
    shown: int = 24

    def __post_init__(self) -> None:
        if self.layer not in LAYERS:
            raise unknown("layer", self.layer, LAYERS)
        if self.num_clips < 1 or not self.ks or min(self.ks) < 1:
            raise InputError(f"retrieval needs 1 clip and k=1 or more, got num_clips={self.num_clips}, ks={self.ks}")


@dataclass
class RetrievalResult:
    """Row name to {k: percent}, the protocol they were taken under, and neighbours to look at."""

    rows: dict[str, dict[int, float]]
    protocol: dict[str, Any]
    neighbours: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        rows = {name: {str(k): value for k, value in row.items()} for name, row in self.rows.items()}
        parts = {"protocol": self.protocol, "warnings": self.warnings, "neighbours": self.neighbours}
        return {"kind": "retrieval", "rows": rows, **parts}

    def table(self) -> Table:
        """For the terminal, with the protocol as caption."""
        table = Table(title="Retrieval, R@k in percent", caption=caption(self.protocol), caption_justify="left")
        table.add_column("features")
        for k in next(iter(self.rows.values())):
            table.add_column(f"R@{k}", justify="right")
        for name, row in self.rows.items():
            learned = name not in flooring.DESCRIPTIONS
            table.add_row(name, *(f"{v:.1f}" for v in row.values()), style="bold" if learned else "dim")
        return table


def caption(protocol: dict[str, Any]) -> str:
    """The protocol in one sentence."""
    rate = f"{protocol['fps']:g} fps" if protocol["fps"] else f"stride {protocol['stride_frames']}"
    dimensions = ", ".join(f"{name} {d}" for name, d in protocol["dimensions"].items())
    return (
        f"{protocol['queries']} queries against {protocol['gallery']} gallery videos, {protocol['classes']} classes; "
        f"{protocol['num_clips']} clips of {protocol['num_frames']} frames ({rate}) per video, {protocol['size']} px, "
        f"centre crop, layer {protocol['layer']}, mean over clips, {protocol['distance']} ({dimensions} numbers)"
    )


def similarity(query_QD: np.ndarray, gallery_ND: np.ndarray) -> np.ndarray:
    """Cosine similarity, float32 (Q, N). Worked out in double, so that equal vectors tie wherever they stand."""
    query = _unit(query_QD)
    parts = [query @ _unit(gallery_ND[i : i + GALLERY_CHUNK]).T for i in range(0, len(gallery_ND), GALLERY_CHUNK)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _chunks(query_QD: np.ndarray, gallery_ND: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(query_QD), QUERY_CHUNK):
        yield start, similarity(query_QD[start : start + QUERY_CHUNK], gallery_ND)


def first_correct(
    query_QD: np.ndarray, gallery_ND: np.ndarray, query_labels: Sequence[str], gallery_labels: Sequence[str]
) -> np.ndarray:
    """Rank (0 is best) of the nearest gallery video of the query's class, int64 (Q,); N where there is none.

    Of equally near videos the one that stands first in the gallery comes first. Raises InputError for empty lists.
    """
    if not len(query_QD) or not len(gallery_ND):
        raise InputError(f"retrieval needs queries and a gallery, got {len(query_QD)} and {len(gallery_ND)} videos")
    gallery, positions = np.asarray(gallery_labels), np.arange(len(gallery_ND))
    ranks = []
    for start, score_QN in _chunks(query_QD, gallery_ND):
        correct_QN = np.asarray(query_labels[start : start + len(score_QN)])[:, None] == gallery
        masked_QN = np.where(correct_QN, score_QN, -np.inf)
        best_Q1, where_Q1 = masked_QN.max(1, keepdims=True), masked_QN.argmax(1)[:, None]
        ahead_QN = (score_QN > best_Q1) | ((score_QN == best_Q1) & (positions < where_Q1))
        ranks.append(ahead_QN.sum(axis=1))
    return np.concatenate(ranks)


def recall_at_k(
    query_QD: np.ndarray,
    gallery_ND: np.ndarray,
    query_labels: Sequence[str],
    gallery_labels: Sequence[str],
    ks: Sequence[int],
) -> dict[int, float]:
    """Percentage of queries with their class among the k nearest gallery videos; a k above N means all N."""
    ranks = first_correct(query_QD, gallery_ND, query_labels, gallery_labels)
    return {k: 100.0 * float(np.mean(ranks < min(k, len(gallery_ND)))) for k in ks}


def nearest(query_QD: np.ndarray, gallery_ND: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions int64 (Q, k) and cosines (Q, k) of the k nearest, best first, ties in the order of the gallery."""
    orders, scores = [], []
    for _, score_QN in _chunks(query_QD, gallery_ND):
        order = np.argsort(-score_QN, axis=1, kind="stable")[:, :k]
        orders.append(order)
        scores.append(np.take_along_axis(score_QN, order, axis=1))
    return np.concatenate(orders), np.concatenate(scores)


def evaluate_retrieval(
    encoder: Encoder,
    train: Sequence[Instance],
    test: Sequence[Instance],
    protocol: RetrievalProtocol | None = None,
    floors: bool = True,
    workers: int = 0,
    progress: Progress | None = None,
) -> RetrievalResult:
    """R@k of labelled test videos against labelled training videos, floors in the same table.

    Raises InputError when a list is empty, a video has no class, or a test video is in the gallery too.
    """
    protocol = protocol or RetrievalProtocol()
    check_lists(train, test)
    sources = flooring.floor_sources(encoder, protocol.layer) if floors else {}
    sources[TRAINED] = encoder_source(encoder, protocol.layer)
    total = len(train) + len(test)

    def features(instances: Sequence[Instance], before: int) -> VideoFeatures:
        tell = None if progress is None else _shifted(progress, before, total)
        return video_features(instances, encoder.spec, sources, protocol.num_clips, workers, tell)

    gallery, query = features(train, 0), features(test, len(train))
    for name, found in (("training", gallery), ("test", query)):
        if not found.instances:
            raise InputError(f"no video of the {name} list can be read, the first: {': '.join(found.left_out[0])}")
    return RetrievalResult(
        rows=_rows(query, gallery, protocol.ks, floors),
        protocol=describe(encoder, protocol, query, gallery, floors),
        neighbours=_neighbours(query, gallery, protocol.shown),
        warnings=cautions(query.instances, gallery.instances, protocol.ks),
    )


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total)


def _rows(query: VideoFeatures, gallery: VideoFeatures, ks: Sequence[int], floors: bool) -> dict[str, dict[int, float]]:
    labels = [i.label for i in query.instances], [i.label for i in gallery.instances]
    rows = {flooring.CHANCE: flooring.chance(*labels, ks)} if floors else {}
    for name in gallery.vectors:
        if name != TRAINED:
            rows[name] = recall_at_k(query.vectors[name], gallery.vectors[name], *labels, ks)
    views = list(gallery.columns[TRAINED])
    for view in views:
        rows[view] = recall_at_k(query.view(TRAINED, view), gallery.view(TRAINED, view), *labels, ks)
    if len(views) > 1:
        rows[JOINT] = recall_at_k(query.vectors[TRAINED], gallery.vectors[TRAINED], *labels, ks)
    return rows


def _neighbours(query: VideoFeatures, gallery: VideoFeatures, shown: int, k: int = 5) -> list[dict[str, Any]]:
    """Some queries, evenly spread over the list, and their nearest gallery videos, all views joined."""
    rows = np.unique(np.linspace(0, len(query.instances) - 1, min(shown, len(query.instances))).astype(int))
    if not len(rows):
        return []
    orders, scores = nearest(query.vectors[TRAINED][rows], gallery.vectors[TRAINED], k)
    hits = [
        [{**_who(gallery.instances[n]), "score": round(float(s), 6)} for n, s in zip(order, score, strict=True)]
        for order, score in zip(orders, scores, strict=True)
    ]
    return [{**_who(query.instances[row]), "hits": found} for row, found in zip(rows, hits, strict=True)]


def _who(instance: Instance) -> dict[str, Any]:
    """JSON has no infinity: the end of a whole video is null."""
    end_s = instance.end_s if np.isfinite(instance.end_s) else None
    return {"path": instance.path, "start_s": instance.start_s, "end_s": end_s, "label": instance.label}


def describe(
    encoder: Encoder, protocol: RetrievalProtocol, query: VideoFeatures, gallery: VideoFeatures, floors: bool
) -> dict[str, Any]:
    """Everything that a figure depends on, as plain JSON."""
    spec, widths = encoder.spec, {n: s.stop - s.start for n, s in gallery.columns[TRAINED].items()}
    widths |= {JOINT: sum(widths.values())} if len(widths) > 1 else {}
    left_out = [("training", *f) for f in gallery.left_out] + [("test", *f) for f in query.left_out]
    clip = {k: v for k, v in dataclasses.asdict(spec.clip).items() if k != "lead_in"}
    return {
        "num_clips": protocol.num_clips,
        "clip_choice": "evenly spread over the video",
        "layer": protocol.layer,
        **clip,
        "size": spec.views.size,
        "crop": f"centre, of frames resized to {spec.views.resize_hw[1]} x {spec.views.resize_hw[0]}",
        "views": list(spec.views.names),
        "residual": dataclasses.asdict(spec.views.residual) if "residual" in spec.views.names else None,
        "standardize": spec.views.standardize,
        "dimensions": widths,
        "joint": "raw features of the views side by side, then the mean over clips",
        "distance": "cosine",
        "backbone": spec.backbone,
        "method": spec.method,
        "queries": len(query.instances),
        "gallery": len(gallery.instances),
        "classes": len({i.label for i in [*query.instances, *gallery.instances]}),
        "left_out": [{"list": where, "path": path, "reason": reason} for where, path, reason in left_out],
        "floors": flooring.DESCRIPTIONS if floors else {},
    }
