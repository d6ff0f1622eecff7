"""The gallery of a report: some videos, and what the encoder holds to be nearest to them.

Taken from a retrieval evaluation where there is one (test videos, neighbours from the training list), else worked out
among the run's own videos; a neighbour never comes from the file of its query.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from unreel.corpus.manifest import Manifest
from unreel.corpus.segments import build_instances
from unreel.embedding import encode, join_views, load_encoder
from unreel.errors import UnreelError
from unreel.io.limits import WorkerFailure, get_limits
from unreel.io.text import format_path
from unreel.io.worker_pool import map_jobs
from unreel.models.encoder.encoder import Encoder
from unreel.report.charts import read_strip
from unreel.types import Instance

NUM_QUERIES, NUM_HITS, MAX_VIDEOS = 8, 5, 300
NUM_WORKERS = 2  # processes that read the frames
EMBED_BUDGET_S, MIN_VIDEOS = 120.0, 40  # embedding stops after so long, once there are enough videos to choose from
Item = TypeVar("Item")


@dataclass
class Tile:
    """A strip of frames and what is said of it. `right`: is its class the query's? None where one is unknown."""

    frames: list[str]
    name: str
    path: str
    label: str = ""
    score: float = 0.0
    is_correct: bool | None = None


@dataclass
class Gallery:
    """Queries with their neighbours, and one sentence that says where they come from."""

    caption: str
    rows: list[tuple[Tile, list[Tile]]] = field(default_factory=list)


def build_gallery(
    run: Path, manifest: Manifest | None, evaluations: Sequence[dict[str, Any]], segment_s: float
) -> Gallery:
    """What a run folder allows to be shown."""
    root = manifest.root if manifest else ""
    for data in reversed(evaluations):
        if asked := data.get("extras", {}).get("neighbours"):
            rows, about = sample_evenly(asked, NUM_QUERIES), data["protocol"]
            said = (
                f"{len(rows)} of {about['queries']} test videos, evenly spread over the list, not picked, with their "
                f"nearest among {about['gallery']} training videos (all views joined, {about['layer']})."
            )
            return Gallery(said, build_tiles(rows, root))
    if manifest is None:
        return Gallery("There is nothing to show yet: the run folder has neither a manifest nor an evaluation.")
    try:
        return build_run_gallery(run, manifest, segment_s)
    except UnreelError as error:
        return Gallery(f"There is no gallery: {error}")


def build_run_gallery(run: Path, manifest: Manifest, segment_s: float) -> Gallery:
    """Neighbours among the run's own videos, held-out ones asking. Raises CheckpointError."""
    found = build_instances(manifest, segment_s)
    if len({i.path for i in found}) < 2:
        return Gallery("There is no gallery: this run has a single video, so no other can be its neighbour.")
    held = read_held_out(run)
    asking = sample_evenly([i for i in found if i.path in held] or found, NUM_QUERIES)
    others = sample_evenly([i for i in found if i not in asking], MAX_VIDEOS)
    encoder = load_encoder(run).to("cuda" if torch.cuda.is_available() else "cpu")
    who, vectors_ND = embed_videos(encoder, [*asking, *others])
    whose = "held-out videos, never trained on," if held else "videos of the run"
    said = (
        f"{len(asking)} {whose} evenly spread and not picked, with their nearest among {len(who)} of the run's videos; "
        "a neighbour is always another file."
    )
    return Gallery(said, build_tiles(find_neighbours(who, vectors_ND, len(asking)), manifest.root))


def read_held_out(run: Path) -> set[str]:
    path = run / "held_out.txt"
    return set(path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()) if path.is_file() else set()


def embed_videos(encoder: Encoder, videos: Sequence[Instance]) -> tuple[list[Instance], np.ndarray]:
    """As many of the videos as the budget allows, and their unit-length vectors (N, D)."""
    began_s, who, rows = time.monotonic(), [], []
    for item in encode(encoder, videos, num_clips=3):
        who.append(videos[item.index])
        rows.append(join_views({name: v.mean(axis=0, keepdims=True) for name, v in item.features.items()})[0])
        if time.monotonic() - began_s > EMBED_BUDGET_S and len(who) >= MIN_VIDEOS:
            break
    return who, np.stack(rows) if rows else np.zeros((0, 1), np.float32)


def find_neighbours(videos: Sequence[Instance], vectors_ND: np.ndarray, num_queries: int) -> list[dict[str, Any]]:
    """The first rows ask; same form as the neighbours of a retrieval evaluation."""
    asked = []
    for n, query in enumerate(videos[:num_queries]):
        scores_N = vectors_ND @ vectors_ND[n]
        scores_N[[i.path == query.path for i in videos]] = -np.inf
        order = [int(g) for g in np.argsort(-scores_N, kind="stable")[:NUM_HITS] if np.isfinite(scores_N[g])]
        asked.append({**asdict(query), "hits": [{**asdict(videos[g]), "score": float(scores_N[g])} for g in order]})
    return asked


def build_tiles(rows: Sequence[dict[str, Any]], root: str) -> list[tuple[Tile, list[Tile]]]:
    """Pictures of each query and its hits; none of a file that can't be read."""
    places = [where for row in rows for where in (row, *row["hits"][:NUM_HITS])]
    strips = map_jobs(read_tile_frames, places, (), NUM_WORKERS, lambda where: get_limits(where["path"]))
    drawn = iter(
        [build_tile(where, root, [] if isinstance(found, WorkerFailure) else found) for where, found in strips]
    )
    return [(next(drawn), [score_tile(next(drawn), hit, row) for hit in row["hits"][:NUM_HITS]]) for row in rows]


def read_tile_frames(segment: dict[str, Any]) -> list[str]:
    end_s = float("inf") if segment.get("end_s") is None else float(segment["end_s"])
    return read_strip(str(segment["path"]), float(segment.get("start_s") or 0.0), end_s)


def build_tile(segment: dict[str, Any], root: str, frames: list[str]) -> Tile:
    path, start_s = Path(segment["path"]), float(segment.get("start_s") or 0.0)
    name = format_path(path.name) + (f" from {int(start_s) // 60}:{int(start_s) % 60:02d}" if start_s > 0 else "")
    return Tile(frames, name, format_path(str(path), root), segment.get("label") or "")


def score_tile(tile: Tile, hit: dict[str, Any], query: dict[str, Any]) -> Tile:
    """The tile of a hit with its score, and whether its class is the query's."""
    tile.score = float(hit["score"])
    tile.is_correct = hit["label"] == query["label"] if hit.get("label") and query.get("label") else None
    return tile


def sample_evenly(items: Sequence[Item], count: int) -> list[Item]:
    """`count` items at even distances, all when there are fewer."""
    return [items[n] for n in np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int))]
