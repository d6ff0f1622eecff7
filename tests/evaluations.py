"""A small results.json made by hand: two views and four floors, figures that are easy to tell apart on a page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unreel.evaluation import suite
from unreel.evaluation.feature_extraction import Progress
from unreel.evaluation.feature_protocol import ExtractionOptions
from unreel.evaluation.metrics.cosine_ranking import QueryGallery
from unreel.evaluation.protocols.retrieval import RetrievalProtocol, build_retrieval, score_queries
from unreel.evaluation.result import Result
from unreel.models.encoder.encoder import Encoder
from unreel.types import Instance

VIEWS = {"names": ["rgb", "residual"], "size": 64, "residual": {"sign": "forward"}, "standardize": False}
CLIP = {"num_frames": 8, "fps": 12.5, "stride_frames": 0, "lead_in": 1, "short": "loop"}
FLOORS = {"chance": "a random ranking", "frame difference": "where it moves", "untrained encoder": "fresh weights"}


def retrieval(paper: str = "iic", joint: tuple[float, float, float] = (61.5, 52.25, 70.75)) -> Result:
    """R@1 and mAP; the best floor is frame difference, 32.1 (24.2 to 41.3)."""
    rows = {
        "chance": {"R@1": 12.4},
        "frame difference": {"R@1": 32.1, "mAP": 20.2},
        "untrained encoder": {"R@1": 14.7, "mAP": 14.9},
        "rgb": {"R@1": 56.3, "mAP": 35.8},
        "residual": {"R@1": 58.4, "mAP": 36.4},
        "joint": {"R@1": joint[0], "mAP": 36.7},
    }
    intervals = {"frame difference": {"R@1": (24.2, 41.3)}, "joint": {"R@1": joint[1:], "mAP": (32.15, 41.35)}}
    protocol = {"protocol": paper, "layer": "conv5" if paper == "iic" else "pooled", "centring": "none"}
    protocol |= {"num_clips": 4, "num_crops": 1, "queries": 96, "gallery": 224, "backbone": "tiny", "method": "iic"}
    return Result(
        "retrieval", "Retrieval, percent", rows, f"protocol {paper}: 4 clips", protocol, intervals, floors=FLOORS
    )


def knn() -> Result:
    rows = {
        "chance": {"top-1, k=1": 12.4, "top-1, k=5": 12.4},
        "frame difference": {"top-1, k=1": 33.3, "top-1, k=5": 34.6},
    }
    rows["joint"] = {"top-1, k=1": 51.7, "top-1, k=5": 40.9}
    intervals = {"frame difference": {"top-1, k=5": (25.5, 44.4)}, "joint": {"top-1, k=5": (31.3, 50.1)}}
    protocol = {"ks": [1, 5], "layer": "pooled", "chosen_k": {"frame difference": 5, "joint": 5}, "test": 96}
    return Result("knn", "Votes", rows, "96 test videos that vote", protocol, intervals, floors=FLOORS)


def linear() -> Result:
    rows = {"chance": {"top-1": 12.4}, "frame difference": {"top-1": 71.9}, "joint": {"top-1": 47.2}}
    intervals = {"frame difference": {"top-1": (66.6, 77.7)}, "joint": {"top-1": (40.4, 55.5)}}
    confusion = {"classes": ["jump", "run & <b>hide"], "counts": [[9, 3], [1, 11]]}
    return Result(
        "linear", "Linear probe, accuracy in percent", rows, "one linear layer", {"kind": "sgd", "test_clips": 4},
        intervals, ["widen the <i>grid</i>"], {"confusion": confusion}, FLOORS,
    )  # fmt: skip


def few_labels() -> Result:
    rows = {"chance": {"1 per class": 12.4, "5 per class": 12.4}, "joint": {"1 per class": 32.8, "5 per class": 47.9}}
    curve = [
        {"row": row, "column": column, "x": x, "mean": rows[row][column], "std": std if row == "joint" else 0.0}
        for row in ("joint", "chance")
        for column, x, std in (("1 per class", 1.0, 9.8), ("5 per class", 5.0, 2.6))
    ]
    protocol = {"draws": 5, "blocks": {"joint": ["encoder", "pooled", "intact"]}}
    return Result("few-labels", "Few labels", rows, "5 draws", protocol, extras={"curve": curve}, floors=FLOORS)


def motion(share: tuple[float, float, float] | None = (99.5, 83.4, 113.2)) -> Result:
    columns = ("R@1 both", "probe both")
    rows = {
        f"{who}, {condition}": {c: figure + n for n, c in enumerate(columns)}
        for who, figures in {"encoder": (56.1, 12.6, 23.9), "frame difference": (31.4, 11.8, 30.6)}.items()
        for condition, figure in zip(("intact", "frozen", "shuffled"), figures, strict=True)
    } | {"chance": dict.fromkeys(columns, 12.4)}
    found = dict(zip(("share", "low", "high", "why"), (*share, ""), strict=True)) if share else dict.fromkeys(
        ("share", "low", "high")) | {"why": "not above chance"}  # fmt: skip
    extras = {"reliance": {"encoder": {"motion": {"R@1": found}}}, "said": ["Frozen to one frame, R@1 falls."]}
    protocol = {"num_clips": 4, "layers": {"encoder": "pooled", "frame difference": "pixels"}}
    floors = {row: "a floor" for row in rows if not row.startswith("encoder")}
    return Result("motion", "Without motion or order", rows, "mean over clips", protocol, extras=extras, floors=floors)


def summary(**changes: Any) -> dict[str, Any]:
    """What `unreel evaluate all` writes, with some parts changed."""
    results = {
        "retrieval": retrieval(),
        "retrieval-dualvar": retrieval("dualvar"),
        "knn": knn(),
        "linear": linear(),
        "few-labels": few_labels(),
        "motion": motion(),
    }
    made: dict[str, Any] = {
        "unreel": "0.1.0",
        "run": "my-run",
        "checkpoint": "step-00000300",
        "encoder": {"backbone": "tiny", "method": "iic", "clip": CLIP, "views": VIEWS, "options": {}},
        "data": {"name": "my-set", "hash": "9ae20f8a6b7b84f3", "notes": []},
        "videos": {"training": 224, "test": 96},
        "contamination": [],
        "versions": {"unreel": "0.1.0", "torch": "2.13.0"},
        "seconds": {"features": 230.75, "knn": 0.25},
        "results": {name: result.to_json() for name, result in results.items()},
    }
    return made | changes


def save(folder: Path, data: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(data))
    return folder


def recall_at_k(
    query: np.ndarray, gallery: np.ndarray, query_labels: list[str], gallery_labels: list[str], ks: Sequence[int]
) -> dict[int, float]:
    """The R@k of a retrieval table, by its number."""
    found = score_queries(QueryGallery(query, gallery), (query_labels, gallery_labels), ks)
    return {k: float(found[f"R@{k}"].mean()) for k in ks}


def retrieve(
    encoder: Encoder,
    train: Sequence[Instance],
    test: Sequence[Instance],
    protocol: RetrievalProtocol = RetrievalProtocol(),  # noqa: B008  # frozen
    floors: bool = True,
    progress: Progress | None = None,
) -> Result:
    """Retrieval as the command runs it: one pass of the suite."""
    looking = ExtractionOptions(protocol.num_clips, protocol.num_crops, floors)
    asked = {"retrieval": build_retrieval(protocol)}
    return suite.run_evaluations(encoder, train, test, asked, looking, progress).results["retrieval"]
