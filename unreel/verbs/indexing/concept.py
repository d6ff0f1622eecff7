"""Learn a concept from a few marks."""

from pathlib import Path

from unreel.indexing.concepts.annotations import MarkedMoments
from unreel.indexing.concepts.concept_update import ConceptUpdate, update_concept
from unreel.indexing.homes.open_home import open_index
from unreel.indexing.index.clip_index import Index

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
    """Add marks to a concept of an index, or replace the earlier ones, and rank all rows by it.

    The concept is saved in INDEX/concepts/NAME.json, its marks in NAME.csv.

    Args:
        index: folder or address of an index, or an opened one.
        name: name of the concept: letters, digits, dashes, dots, underscores, and single spaces between words.
        yes: rows and moments that show the concept.
        no: rows and moments that do not.
        discard_marks: forget the earlier marks.
        min_probability: least probability (0 to 1) of a row in a moment.
        num_next: number of rows to suggest for marking next.

    Returns:
        The concept, the probability (N,) of every row, the best moments, and rows to mark next.

    Raises:
        InputError: the index, the name or a mark can't be used.
        DiskError: the index can't be written.

    >>> yes, no = unreel.MarkedMoments(rows=(0, 1)), unreel.MarkedMoments(rows=(60,))
    >>> update = unreel.concept(index, "jump", yes, no)
    >>> update.score_N.shape == (len(unreel.open_index(index).rows),)
    True
    >>> (index / "concepts/jump.json").exists()
    True
    """
    index = index if isinstance(index, Index) else open_index(index)
    return update_concept(index, name, yes, no, discard_marks, min_probability, num_next)
