"""Concepts of an index: their names and files, and an update from new marks."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unreel.errors import InputError
from unreel.indexing.concepts.annotations import (
    Annotations,
    MarkedMoments,
    find_rows_in_moments,
    load_annotations,
    merge_annotations,
    save_annotations,
)
from unreel.indexing.concepts.concept import Concept, fit_concept
from unreel.indexing.concepts.suggestions import suggest_rows
from unreel.indexing.index.clip_index import Index
from unreel.indexing.search.results import Hit, find_moments, row_to_hit
from unreel.indexing.store.file_names import CONCEPTS_FOLDER
from unreel.io.atomic_write import disk_errors
from unreel.io.file_lock import LOCK_FILE, wait_for_lock
from unreel.io.text import format_path

MAX_NAME_BYTES = 100  # file systems allow 255, and endings need some


@dataclass(frozen=True)
class ConceptUpdate:
    """A concept after an update: the probability (N,) of every row, the best moments, and rows to mark next.

    `num_lost_marks` counts earlier marks of moments that the index no longer has.
    """

    concept: Concept
    marks: Annotations
    score_N: np.ndarray
    moments: list[Hit]
    to_mark_next: list[Hit]
    num_lost_marks: int = 0


def update_concept(
    index: Index,
    name: str,
    positive: MarkedMoments,
    negative: MarkedMoments,
    discard_marks: bool = False,
    min_probability: float = 0.5,
    num_next: int = 10,
) -> ConceptUpdate:
    """Add marks to a concept, or replace the earlier ones, and train it again; saved in the index.

    Moments are neighbouring rows of at least `min_probability`. Raises UnreelError.
    """
    require_concept_name(name)
    require_probability(min_probability)
    new = Annotations(*(m.rows + find_rows_in_moments(index.rows, m.moments) for m in (positive, negative)))
    both = sorted(set(new.positives) & set(new.negatives))
    if both:
        raise InputError(f"row {both[0]} is marked yes and no at once; remove one mark")
    with lock_concepts(index):
        old, num_lost = Annotations(()), 0
        if not discard_marks:
            old, num_lost = load_annotations(get_annotations_path(index, name), index.rows)
        marks = merge_annotations(old, new)
        concept = _save_concept(index, name, marks)
    score_N = concept.score_rows(index.vectors_ND)
    row_n = suggest_rows(concept, index.vectors_ND, marks, num_next)
    to_mark_next = [row_to_hit(index.rows, int(row), float(score_N[row])) for row in row_n]
    moments = find_moments(index.rows, score_N, min_probability)
    return ConceptUpdate(concept, marks, score_N, moments, to_mark_next, num_lost)


def learn_concept(index: Index, name: str, marks: Annotations) -> Concept:
    """Train a concept on marked rows and save both in the index, in place of its earlier marks. Raises UnreelError."""
    require_concept_name(name)
    with lock_concepts(index):
        return _save_concept(index, name, marks)


@contextlib.contextmanager
def lock_concepts(index: Index) -> Iterator[None]:
    """Let one thread of one process alone change the concepts of an index, so that no mark of another is lost.

    Raises InputError when the index was deleted meanwhile, DiskError.
    """
    folder = index.folder / CONCEPTS_FOLDER
    if not index.folder.is_dir():
        raise InputError(f"{index.folder}: no index there any more", "nothing was saved; index the footage again")
    with disk_errors(folder, "the concepts can't be written"):
        folder.mkdir(exist_ok=True)
    with wait_for_lock(folder / LOCK_FILE):
        yield


def _save_concept(index: Index, name: str, marks: Annotations) -> Concept:
    """The marks first: the concept is made from them, and can be made again."""
    concept = fit_concept(name, index.vectors_ND, marks, index.encoder_hash)
    save_annotations(get_annotations_path(index, name), index.rows, marks)
    concept.save(get_concept_path(index, name))
    return concept


def get_concept_path(index: Index, name: str) -> Path:
    return index.folder / CONCEPTS_FOLDER / f"{name}.json"


def get_annotations_path(index: Index, name: str) -> Path:
    return index.folder / CONCEPTS_FOLDER / f"{name}.csv"


def list_concepts(index: Index) -> list[str]:
    """List the names of an index's saved concepts, sorted.

    Args:
        index: an opened index.

    Returns:
        The names; none if there is no concept yet.

    >>> unreel.concepts(unreel.open_index(index))
    []
    """
    return sorted(path.stem for path in (index.folder / CONCEPTS_FOLDER).glob("*.json"))


def require_concept_name(name: str) -> None:
    """Raise InputError for a name that some file system does not take. Words may have a space between them."""
    if not re.fullmatch(r"\w[\w.-]*( [\w.-]+)*", name) or len(name.encode()) > MAX_NAME_BYTES:
        shown = format_path(name[:40]) + ("..." if len(name) > 40 else "")
        raise InputError(
            f"'{shown}' is not a name for a concept; use letters, digits, dashes, dots, underscores and single spaces "
            f"between words, at most {MAX_NAME_BYTES} bytes, and begin with a letter or digit"
        )


def require_probability(probability: float) -> None:
    if not 0 <= probability <= 1:
        raise InputError(f"a probability is between 0 and 1, got {probability:g}")
