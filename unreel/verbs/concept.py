"""Concepts from mark to mark, and what they find in new footage."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unreel.embedding import list_whole_videos, load_encoder
from unreel.errors import CheckpointError, InputError
from unreel.indexing.annotations import find_rows_in_moments, load_annotations, merge_annotations
from unreel.indexing.concept import Annotations, Concept, suggest_rows
from unreel.indexing.index.clip_index import ENCODER_FOLDER, Index, open_index, read_index_metadata
from unreel.indexing.index.row_table import Moment, RowTable
from unreel.indexing.results import Hit, merge_rows
from unreel.indexing.store.clip_sampling import SlidingWindow
from unreel.indexing.store.embeddings_file import STORE_JSON, hash_encoder
from unreel.types import FileFailure, Instance
from unreel.verbs.embed import move_encoder
from unreel.verbs.search import CONCEPTS_FOLDER, learn_concept, require_concept_name
from unreel.video.loading.loaders import default_num_workers

ProgressCallback = Callable[[int, int], None]


@dataclass(frozen=True)
class ConceptUpdate:
    """A concept after some marks: every row's probability, the best moments, and single rows to mark next.

    `lost` counts earlier marks of moments that the index no longer has.
    """

    concept: Concept
    marks: Annotations
    score_N: np.ndarray
    moments: list[Hit]
    to_mark_next: list[Hit]
    num_lost_marks: int = 0


@dataclass(frozen=True)
class MarkedMoments:
    """What a person marks: rows of the index and moments of its videos."""

    rows: tuple[int, ...] = ()
    moments: tuple[Moment, ...] = ()


def update_concept(
    index: Index,
    name: str,
    positive: MarkedMoments,
    negative: MarkedMoments,
    discard_marks: bool = False,
    min_probability: float = 0.5,
    num_next: int = 10,
) -> ConceptUpdate:
    """Add marks to a concept (`forget` the earlier ones) and learn it anew, kept in the index. Raises UnreelError."""
    require_concept_name(name)
    require_probability(min_probability)
    old, lost = (
        (Annotations(()), 0)
        if discard_marks
        else load_annotations(index.folder / CONCEPTS_FOLDER / f"{name}.csv", index.rows)
    )
    new = Annotations(*(m.rows + find_rows_in_moments(index.rows, m.moments) for m in (positive, negative)))
    both = sorted(set(new.positives) & set(new.negatives))
    if both:
        raise InputError(f"row {both[0]} is marked yes and no at once; take one mark away")
    marks = merge_annotations(old, new)
    concept = learn_concept(index, name, marks)
    score_N = concept.score_rows(index.vectors_ND)
    row_n = suggest_rows(concept, index.vectors_ND, marks, num_next)
    following = [merge_rows(index.rows, row_n[[k]], score_N[row_n[[k]]], -1)[0] for k in range(len(row_n))]
    return ConceptUpdate(concept, marks, score_N, find_moments(index.rows, score_N, min_probability), following, lost)


def require_probability(probability: float) -> None:
    if not 0 <= probability <= 1:
        raise InputError(f"a probability is between 0 and 1, got {probability:g}")


def find_moments(rows: RowTable, score_N: np.ndarray, min_probability: float, gap_s: float = 0.5) -> list[Hit]:
    """Neighbouring rows of probability `above` or more as one moment with the best of them, best first."""
    row_K = np.flatnonzero(score_N >= min_probability)
    return merge_rows(rows, row_K, score_N[row_K], gap_s)


@dataclass(frozen=True)
class ConceptMatches:
    """What a concept found, best first, in how many clips of how many videos, and what could not be looked at."""

    moments: list[Hit]
    num_clips: int
    num_videos: int
    left_out: list[FileFailure]


def apply_concept(
    concept: str | Path,
    source: str | Path,
    min_probability: float = 0.5,
    gap_s: float = 0.5,
    on_progress: ProgressCallback = lambda _done, _total: None,
    allow_import: bool = False,
) -> ConceptMatches:
    """Moments of new footage that are the concept: a video, a folder, a list, or an index, which is not decoded.

    The encoder is that of the index in which the concept lies. Raises UnreelError.
    """
    path, source = Path(concept), Path(source)
    require_probability(min_probability)
    home = path.resolve().parent.parent
    if (source / STORE_JSON).is_file():
        there = open_index(source)
        probe = Concept.load(path, there.encoder_hash)
        score_N = probe.score_rows(there.vectors_ND)
        found = find_moments(there.rows, score_N, min_probability, gap_s)
        return ConceptMatches(found, len(there.rows), len(there.rows.paths), [])
    if not path.is_file():
        raise InputError(
            f"{path}: no concept there; `unreel concept INDEX NAME` makes INDEX/{CONCEPTS_FOLDER}/NAME.json"
        )
    try:
        about, encoder = read_index_metadata(home), move_encoder(load_encoder(home / ENCODER_FOLDER, allow_import))
    except (InputError, CheckpointError) as error:
        raise InputError(f"{path}: a concept is used where its index lies, which has its encoder: {error}") from error
    probe = Concept.load(path, hash_encoder(encoder))
    videos, left_out = list_whole_videos(source)
    found, clips, looked = [], 0, 0
    every = SlidingWindow(**about["clips"]).embed_videos(encoder, videos, default_num_workers(), left_out.append)
    for number, vectors_KD, spans_K2 in every:
        score_K = probe.score_rows(vectors_KD)
        found += find_moments(build_rows(videos[number], spans_K2), score_K, min_probability, gap_s)
        clips, looked = clips + len(score_K), looked + 1
        on_progress(looked, len(videos))
    if not looked:
        raise InputError(f"{source}: no video there could be looked at; the first: {left_out[0].path}: {left_out[0]}")
    return ConceptMatches(sorted(found, key=lambda hit: (-hit.score, hit.path, hit.start_s)), clips, looked, left_out)


def build_rows(video: Instance, spans_K2: np.ndarray) -> RowTable:
    who = [video.path] * len(spans_K2)
    return RowTable.from_columns(who, [video.label] * len(who), who, spans_K2[:, 0], spans_K2[:, 1])
