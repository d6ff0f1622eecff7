"""Concepts of an index: their names, and an update from new marks."""

import re
from dataclasses import dataclass

import numpy as np

from unreel.errors import InputError
from unreel.indexing.concepts.annotations import (
    Annotations,
    MarkedMoments,
    find_marked_rows,
    find_rows_in_moments,
    list_mark_lines,
    merge_annotations,
)
from unreel.indexing.concepts.concept import Concept, fit_concept
from unreel.indexing.concepts.concept_files import get_concepts
from unreel.indexing.concepts.suggestions import suggest_rows
from unreel.indexing.index.clip_index import Index
from unreel.indexing.index.concept_book import MarkChange
from unreel.indexing.search.results import Hit, find_moments, row_to_hit
from unreel.io.text import format_path

MAX_NAME_BYTES = 100  # file systems allow 255, and endings need some


@dataclass(frozen=True)
class ConceptUpdate:
    """A concept after an update: the probability (N,) of every row, the best moments, and rows to mark next.

    `num_lost_marks` counts earlier marks of moments that the index no longer has; `num_new_clips` the clips that the
    new marks are of, since a moment marks each clip whose middle lies in it.
    """

    concept: Concept
    marks: Annotations
    score_N: np.ndarray
    moments: list[Hit]
    to_mark_next: list[Hit]
    num_lost_marks: int = 0
    num_new_clips: int = 0


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
    concept, marks, num_lost = _save_marks(index, name, new, discard_marks)
    score_N = concept.score_rows(index.vectors_ND)
    row_n = suggest_rows(concept, index.vectors_ND, marks, num_next)
    to_mark_next = [row_to_hit(index.rows, int(row), float(score_N[row])) for row in row_n]
    moments = find_moments(index.rows, score_N, min_probability)
    num_new = len(set(new.positives)) + len(set(new.negatives))
    return ConceptUpdate(concept, marks, score_N, moments, to_mark_next, num_lost, num_new)


def learn_concept(index: Index, name: str, marks: Annotations) -> Concept:
    """Train a concept on marked rows and save both in the index, in place of its earlier marks. Raises UnreelError."""
    require_concept_name(name)
    return _save_marks(index, name, marks, discard_marks=True)[0]


def _save_marks(index: Index, name: str, new: Annotations, discard_marks: bool) -> tuple[Concept, Annotations, int]:
    """The concept after new marks, all its marks, and how many earlier ones the index does not have any more.

    It is learned before anything is saved, so that marks that can't be learned from are refused; then the marks, from
    which the concept can be made again.
    """
    book, rows = get_concepts(index), index.rows
    with book.change(name):
        old, num_lost = find_marked_rows([] if discard_marks else book.read_marks(name), rows)
        marks = merge_annotations(old, new)
        concept = fit_concept(name, index.vectors_ND, marks, index.encoder_hash)
        change = MarkChange(list_mark_lines(rows, new), list_mark_lines(rows, marks), discard_marks)
        saved = book.save_marks(name, change)
        others, _ = find_marked_rows(saved, rows)
        if others != marks:  # another server has saved marks meanwhile
            marks, concept = others, fit_concept(name, index.vectors_ND, others, index.encoder_hash)
        book.save_concept(name, concept.to_json(), saved)
    return concept, marks, num_lost


def load_concept(index: Index, name: str) -> Concept:
    """A saved concept of an index, learned again from its marks where others have added some. Raises UnreelError."""
    require_concept_name(name)
    book = get_concepts(index)
    if (text := book.read_concept(name)) is None:
        marks = book.read_marks(name)
        concept = fit_concept(name, index.vectors_ND, find_marked_rows(marks, index.rows)[0], index.encoder_hash)
        book.save_concept(name, concept.to_json(), marks)
        return concept
    return Concept.from_json(text, book.locate(name), index.encoder_hash)


def load_marks(index: Index, name: str) -> tuple[Annotations, int]:
    """The marked rows of a saved concept, and the number of marked moments no longer indexed. Raises InputError."""
    return find_marked_rows(get_concepts(index).read_marks(name), index.rows)


def list_concepts(index: Index) -> list[str]:
    """List the names of an index's saved concepts, sorted.

    Args:
        index: an opened index.

    Returns:
        The names; none if there is no concept yet.

    >>> unreel.concepts(unreel.open_index(index))
    []
    """
    return get_concepts(index).list_names()


def require_concept(index: Index, name: str) -> None:
    """Raise InputError for a concept that the index does not have."""
    if name not in list_concepts(index):
        raise InputError(f"no concept '{name}' is saved in this index")


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
