"""Learn a concept from a few marks."""

from pathlib import Path

from unreel.indexing.concepts.annotations import MarkedMoments
from unreel.indexing.concepts.concept_update import ConceptUpdate, update_concept
from unreel.indexing.index.clip_index import Index, open_index

NO_MARKS = MarkedMoments()


def concept(
    index: str | Path | Index,
    name: str,
    yes: MarkedMoments,
    no: MarkedMoments = NO_MARKS,
    discard_marks: bool = False,
    min_probability: float = 0.5,
    num_next: int = 10,
) -> ConceptUpdate:
    """Add marks to a concept of an index, or replace the earlier ones, and rank all rows by it. Raises UnreelError.

    The concept is saved in INDEX/concepts/NAME.json, its marks in NAME.csv.

    >>> update = concept(index, "jump", yes=MarkedMoments(rows=(0, 1)), no=MarkedMoments(rows=(60,)))
    >>> (index / "concepts/jump.json").exists()
    True
    """
    index = index if isinstance(index, Index) else open_index(index)
    return update_concept(index, name, yes, no, discard_marks, min_probability, num_next)
