"""The gallery of a report: some videos, and the videos that the encoder ranks nearest to them.

It shows the neighbours of a retrieval evaluation where there is one (test videos, neighbours from the training list),
else neighbours among the run's own videos; a neighbour is never from the file of its query.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unreel.corpus.manifest import Manifest
from unreel.errors import UnreelError
from unreel.evaluation.run_neighbours import NUM_HITS, NUM_QUERIES, find_run_neighbours, sample_evenly
from unreel.io.limits import WorkerFailure, get_limits
from unreel.io.text import format_path
from unreel.io.worker_pool import map_jobs
from unreel.report.frame_strip import read_strip

NUM_WORKERS = 2  # processes that read the frames


@dataclass
class Tile:
    """A strip of frames with its texts; `is_correct`: is its class the query's? None where one is unknown."""

    frames: list[str]
    name: str
    path: str
    label: str = ""
    score: float = 0.0
    is_correct: bool | None = None


@dataclass
class Gallery:
    """Queries with their neighbours, and a sentence on where they come from."""

    caption: str
    rows: list[tuple[Tile, list[Tile]]] = field(default_factory=list)


def build_gallery(
    run: Path, manifest: Manifest | None, evaluations: Sequence[dict[str, Any]], segment_s: float
) -> Gallery:
    """The gallery of a run's page, from the last retrieval evaluation or from the run's own videos."""
    root = manifest.root if manifest else ""
    for data in reversed(evaluations):
        if queries := data.get("extras", {}).get("neighbours"):
            return build_retrieval_gallery(queries, data["protocol"], root)
    if manifest is None:
        return Gallery("There is nothing to show yet: the run folder has neither a manifest nor an evaluation.")
    try:
        neighbours = find_run_neighbours(run, manifest, segment_s)
    except UnreelError as error:
        return Gallery(f"There is no gallery: {error}")
    if neighbours is None:
        return Gallery("There is no gallery: this run has a single video, so no other can be its neighbour.")
    source = "held-out videos, never trained on," if neighbours.is_held_out else "videos of the run"
    caption = (
        f"{len(neighbours.queries)} {source} evenly spread and not picked, with their nearest among "
        f"{neighbours.num_videos} of the run's videos; a neighbour is always another file."
    )
    if any(query.get("label") for query in neighbours.queries):
        caption += " ✓ has the query's label or folder, ✗ another; training does not use them."
    return Gallery(caption, build_tiles(neighbours.queries, root))


def build_retrieval_gallery(queries: Sequence[dict[str, Any]], protocol: dict[str, Any], root: str) -> Gallery:
    """The gallery of a retrieval result: queries evenly spread over the test list."""
    rows = sample_evenly(queries, NUM_QUERIES)
    caption = (
        f"{len(rows)} of {protocol.get('queries', 'the')} test videos, evenly spread over the list, not picked, with "
        f"their nearest among {protocol.get('gallery', 'the')} training videos (all views joined, "
        f"{protocol.get('layer')})."
    )
    return Gallery(caption, build_tiles(rows, root))


def find_common_folder(queries: Sequence[dict[str, Any]]) -> str:
    """The folder that contains all videos of the gallery, "" when they have none in common."""
    paths = [row["path"] for query in queries for row in (query, *query["hits"])]
    try:
        return os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # some are relative, some not
        return ""


def build_tiles(rows: Sequence[dict[str, Any]], root: str) -> list[tuple[Tile, list[Tile]]]:
    """Tiles of each query and its hits, without frames for a file that can't be read."""
    segments = [segment for row in rows for segment in (row, *row["hits"][:NUM_HITS])]
    strips = map_jobs(read_tile_frames, segments, (), NUM_WORKERS, lambda segment: get_limits(segment["path"]))
    tiles = iter(
        [build_tile(segment, root, [] if isinstance(strip, WorkerFailure) else strip) for segment, strip in strips]
    )
    return [(next(tiles), [score_tile(next(tiles), hit, row) for hit in row["hits"][:NUM_HITS]]) for row in rows]


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
