"""Asking an index: examples in, hits with their seconds out; a few marks in, a concept out."""

import os
import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from unreel.errors import InputError
from unreel.models.encoder import Encoder
from unreel.search.concept import Concept, Marks, learn
from unreel.search.example import example_vectors
from unreel.search.hits import Hit, HitOptions, find
from unreel.search.index import Index, open_index, query_encoder
from unreel.search.marks import save_marks
from unreel.search.query import examples, slider, weigh
from unreel.search.rows import Filter, Rows, Stretch, not_own
from unreel.video.addresses import is_piece
from unreel.video.packed import content_hash

CONCEPTS = "concepts"  # of an index
MOST_BYTES = 100  # of a concept's name: file systems end at 255, endings and the index's own files want some
END = {"rgb": 0, "residual": 1, "flow-u": 1, "flow-v": 1, "clip": 0, "series": 1}  # of the slider, for a view or head


@dataclass(frozen=True)
class Question:
    """Like these and unlike those: stretches of videos, and rows of the index that were marked.

    `motion` weighs appearance (0) against motion (1) where the encoder has views of both; `own` says what becomes of
    what the examples themselves show: "keep", leave out the "clip", or the whole "video".
    """

    like: tuple[Stretch, ...] = ()
    unlike: tuple[Stretch, ...] = ()
    like_rows: tuple[int, ...] = ()
    unlike_rows: tuple[int, ...] = ()
    motion: float = 0.5
    own: str = "clip"
    filter: Filter = field(default_factory=Filter)


def search(
    index: str | Path | Index, question: Question, options: HitOptions | None = None, encoder: Encoder | None = None
) -> list[Hit]:
    """The best hits of an index for a question, best first. Raises UnreelError."""
    index = index if isinstance(index, Index) else open_index(index)
    if not question.like and not question.like_rows:
        raise InputError("nothing to search with; name a video, or mark a hit")
    if question.like or question.unlike:
        encoder = encoder or query_encoder(index)
    like_PD, unlike_MD = (
        rows_and_examples(index, encoder, rows, stretches)
        for rows, stretches in ((question.like_rows, question.like), (question.unlike_rows, question.unlike))
    )
    return answer(index, question, like_PD, unlike_MD, options)


def answer(
    index: Index, question: Question, like_PD: np.ndarray, unlike_MD: np.ndarray, options: HitOptions | None = None
) -> list[Hit]:
    """`search` where the vectors of all examples and counter-examples, (P, D) and (M, D), are known."""
    query_QD = weigh(examples(like_PD, unlike_MD, len(index.views)), view_weights(index, question.motion))
    allowed_N = question.filter.allowed(index.rows) & not_own(index.rows, shown_by(index, question), question.own)
    return find(index.nearest, index.rows, query_QD[0], options or HitOptions(), allowed_N, index.vectors)


def rows_and_examples(
    index: Index, encoder: Encoder | None, rows: tuple[int, ...], stretches: tuple[Stretch, ...]
) -> np.ndarray:
    """Vectors (P, D) of marked rows and of examples. Raises InputError for a row that the index does not have."""
    wrong = [row for row in rows if not 0 <= row < len(index.rows)]
    if wrong:
        raise InputError(f"row {wrong[0]} is not in the index, which has {len(index.rows)}; it was indexed anew since")
    found = [index.vectors(np.array(rows, np.int64))]
    if stretches:
        assert encoder is not None
        found.append(example_vectors(encoder, stretches))
    return np.concatenate(found)


def view_weights(index: Index, motion: float) -> np.ndarray:
    """A weight (V,) for each view of the index, by the slider; equal ones where all views are of one kind."""
    ends, weight_2 = [END[name] for name in index.views], slider(motion)
    if slider_ends(index) is None:
        return np.ones(len(ends))
    return np.array([weight_2[end] / ends.count(end) for end in ends])


def slider_ends(index: Index) -> tuple[str, str] | None:
    """What the slider goes from and to; None where all views of the index stand at one end."""
    if len({END[name] for name in index.views}) < 2:
        return None
    return ("the clip", "its series") if "series" in index.views else ("appearance", "motion")


def shown_by(index: Index, question: Question) -> list[Stretch]:
    """The stretches that the examples show, as the index knows their files: by path, or else by what is in them."""
    rows = index.rows
    marked = [Stretch(rows.path(r), float(rows.start_s[r]), float(rows.end_s[r])) for r in question.like_rows]
    return [known_as(rows, s) for s in question.like] + marked


def known_as(rows: Rows, example: Stretch) -> Stretch:
    """An example by its whole path, with the hash of its content where the index does not have that path."""
    path = example.path if is_piece(example.path) else str(Path(example.path).absolute())
    if path in rows.path_number:
        return replace(example, path=path)
    try:
        now = os.stat(path)
        return replace(example, path=path, content=hash_of(path, now.st_size, now.st_mtime_ns))
    except OSError:
        return replace(example, path=path)  # gone since its vector was made


@lru_cache(4096)
def hash_of(path: str, _size: int, _mtime_ns: int) -> str:
    """The hash of a file's content, remembered as long as its size and time of change stay."""
    return content_hash(path)


def make_concept(index: str | Path | Index, name: str, marks: Marks) -> Concept:
    """A concept out of marked rows, kept in the index: concepts/NAME.json and .csv, its marks. Raises UnreelError."""
    index = index if isinstance(index, Index) else open_index(index)
    require_name(name)
    concept = learn(name, index.vectors_ND, marks, index.encoder_hash)
    concept.save(index.folder / CONCEPTS / f"{name}.json")
    save_marks(index.folder / CONCEPTS / f"{name}.csv", index.rows, marks)
    return concept


def require_name(name: str) -> None:
    """Raise InputError for what is no name of a file anywhere."""
    if not re.fullmatch(r"\w[\w.-]*", name) or len(name.encode()) > MOST_BYTES:
        shown = ascii(name[:40])[1:-1] + ("..." if len(name) > 40 else "")
        raise InputError(
            f"'{shown}' is no name for a concept; it begins with a letter or digit, goes on with these, dashes, dots "
            f"and underscores, and has {MOST_BYTES} bytes at most"
        )
