"""Nearest neighbours among a run's own videos, by the run's own encoder: what a run without labels can show."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from unreel.corpus.held_out import parse_paths
from unreel.corpus.manifest import Manifest
from unreel.corpus.segments import build_instances
from unreel.embedding import encode, join_views, load_encoder
from unreel.errors import InputError
from unreel.models.encoder.encoder import Encoder
from unreel.types import Instance

NUM_QUERIES, NUM_HITS, MAX_VIDEOS, NUM_CLIPS = 8, 5, 300, 3
EMBED_BUDGET_S, MIN_VIDEOS = 120.0, 40  # embedding stops after so long, once there are enough videos to choose from
Item = TypeVar("Item")


@dataclass(frozen=True)
class RunNeighbours:
    """Queries with their hits, as in a retrieval result; how many videos were compared; are the queries held out?"""

    queries: list[dict[str, Any]]
    num_videos: int
    is_held_out: bool


def find_run_neighbours(run: Path, manifest: Manifest, segment_s: float) -> RunNeighbours | None:
    """Neighbours of some held-out videos (of any videos where none are held out); None for a run with one video.

    Raises CheckpointError.
    """
    instances = build_instances(manifest, segment_s)
    if len({i.path for i in instances}) < 2:
        return None
    held_out = read_held_out(run)
    queries = sample_evenly([i for i in instances if i.path in held_out] or instances, NUM_QUERIES)
    others = sample_evenly([i for i in instances if i not in queries], MAX_VIDEOS)
    encoder = load_encoder(run).to("cuda" if torch.cuda.is_available() else "cpu")
    videos, vectors_ND = embed_videos(encoder, [*queries, *others])
    return RunNeighbours(find_neighbours(videos, vectors_ND, len(queries)), len(videos), bool(held_out))


def count_embedded_clips(num_instances: int) -> int:
    """Clips that `find_run_neighbours` embeds for a run of so many instances."""
    return NUM_CLIPS * min(num_instances, NUM_QUERIES + MAX_VIDEOS)


def read_held_out(run: Path) -> set[str]:
    """Paths of the videos that training held out. Raises InputError for a file that is no such list."""
    path = run / "held_out.txt"
    try:
        return parse_paths(path.read_text(encoding="utf-8", errors="surrogateescape")) if path.is_file() else set()
    except ValueError as error:
        raise InputError(f"{path}: not the list that unreel wrote ({error}); put back a copy of it") from error


def embed_videos(encoder: Encoder, videos: Sequence[Instance]) -> tuple[list[Instance], np.ndarray]:
    """As many of the videos as the time budget allows, and their unit-length vectors (N, D)."""
    start_s, embedded, rows = time.monotonic(), [], []
    for item in encode(encoder, videos, num_clips=NUM_CLIPS):
        embedded.append(videos[item.index])
        rows.append(join_views({name: v.mean(axis=0, keepdims=True) for name, v in item.features.items()})[0])
        if time.monotonic() - start_s > EMBED_BUDGET_S and len(embedded) >= MIN_VIDEOS:
            break
    return embedded, np.stack(rows) if rows else np.zeros((0, 1), np.float32)


def find_neighbours(videos: Sequence[Instance], vectors_ND: np.ndarray, num_queries: int) -> list[dict[str, Any]]:
    """The first videos as queries with their hits in other files, in the form of a retrieval result's neighbours."""
    queries = []
    for n, query in enumerate(videos[:num_queries]):
        scores_N = vectors_ND @ vectors_ND[n]
        scores_N[[i.path == query.path for i in videos]] = -np.inf
        order = [int(g) for g in np.argsort(-scores_N, kind="stable")[:NUM_HITS] if np.isfinite(scores_N[g])]
        queries.append({**asdict(query), "hits": [{**asdict(videos[g]), "score": float(scores_N[g])} for g in order]})
    return queries


def sample_evenly(items: Sequence[Item], count: int) -> list[Item]:
    """`count` items at even distances, all of them when there are fewer."""
    return [items[n] for n in np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int))]
