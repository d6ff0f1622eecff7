"""Asking an index: examples in, hits with their seconds out; a few marks in, a concept out."""

import os
import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from unreel.errors import InputError
from unreel.indexing.annotations import save_annotations
from unreel.indexing.concept import Annotations, Concept, fit_concept
from unreel.indexing.index.clip_index import Index, load_query_encoder, open_index
from unreel.indexing.index.query_vector import combine_examples, make_slider_weights, weight_views
from unreel.indexing.index.row_table import Moment, RowFilter, RowTable, exclude_own_rows
from unreel.indexing.query_encoder import embed_examples
from unreel.indexing.results import Hit, HitOptions, search_by_vector
from unreel.models.encoder.encoder import Encoder
from unreel.video.sources.paths import absolute_path
from unreel.video.sources.source import open_source

CONCEPTS_FOLDER = "concepts"  # of an index
MAX_NAME_BYTES = 100  # of a concept's name: file systems end at 255, endings and the index's own files want some
SLIDER_END = {
    "rgb": 0,
    "residual": 1,
    "flow-u": 1,
    "flow-v": 1,
    "clip": 0,
    "series": 1,
}  # of the slider, for a view or head


@dataclass(frozen=True)
class SearchQuery:
    """Like these and unlike those: stretches of videos, and rows of the index that were marked.

    `motion` weighs appearance (0) against motion (1) where the encoder has views of both; `own` says what becomes of
    what the examples themselves show: "keep", leave out the "clip", or the whole "video".
    """

    positive_segments: tuple[Moment, ...] = ()
    negative_segments: tuple[Moment, ...] = ()
    positive_rows: tuple[int, ...] = ()
    negative_rows: tuple[int, ...] = ()
    motion_weight: float = 0.5
    own_video_policy: str = "clip"
    filter: RowFilter = field(default_factory=RowFilter)


def search(
    index: str | Path | Index, query: SearchQuery, options: HitOptions | None = None, encoder: Encoder | None = None
) -> list[Hit]:
    """The best hits of an index for a question, best first. Raises UnreelError."""
    index = index if isinstance(index, Index) else open_index(index)
    if not query.positive_segments and not query.positive_rows:
        raise InputError("nothing to search with; name a video, or mark a hit")
    if query.positive_segments or query.negative_segments:
        encoder = encoder or load_query_encoder(index)
    like_PD, unlike_MD = (
        collect_query_vectors(index, encoder, rows, stretches)
        for rows, stretches in (
            (query.positive_rows, query.positive_segments),
            (query.negative_rows, query.negative_segments),
        )
    )
    return search_vectors(index, query, like_PD, unlike_MD, options)


def search_vectors(
    index: Index,
    query: SearchQuery,
    positive_PD: np.ndarray,
    negative_MD: np.ndarray,
    options: HitOptions | None = None,
) -> list[Hit]:
    """`search` where the vectors of all examples and counter-examples, (P, D) and (M, D), are known."""
    query_QD = weight_views(
        combine_examples(positive_PD, negative_MD, len(index.views)), compute_view_weights(index, query.motion_weight)
    )
    allowed_N = query.filter.match_rows(index.rows) & exclude_own_rows(
        index.rows, list_query_segments(index, query), query.own_video_policy
    )
    return search_by_vector(
        index.ann_index, index.rows, query_QD[0], options or HitOptions(), allowed_N, index.get_vectors
    )


def collect_query_vectors(
    index: Index, encoder: Encoder | None, rows: tuple[int, ...], segments: tuple[Moment, ...]
) -> np.ndarray:
    """Vectors (P, D) of marked rows and of examples. Raises InputError for a row that the index does not have."""
    wrong = [row for row in rows if not 0 <= row < len(index.rows)]
    if wrong:
        raise InputError(f"row {wrong[0]} is not in the index, which has {len(index.rows)}; it was indexed anew since")
    found = [index.get_vectors(np.array(rows, np.int64))]
    if segments:
        assert encoder is not None
        found.append(embed_examples(encoder, segments))
    return np.concatenate(found)


def compute_view_weights(index: Index, motion_weight: float) -> np.ndarray:
    """A weight (V,) for each view of the index, by the slider; equal ones where all views are of one kind."""
    ends, weight_2 = [SLIDER_END[name] for name in index.views], make_slider_weights(motion_weight)
    if find_slider_ends(index) is None:
        return np.ones(len(ends))
    return np.array([weight_2[end] / ends.count(end) for end in ends])


def find_slider_ends(index: Index) -> tuple[str, str] | None:
    """What the slider goes from and to; None where all views of the index stand at one end."""
    if len({SLIDER_END[name] for name in index.views}) < 2:
        return None
    return ("the clip", "its series") if "series" in index.views else ("appearance", "motion")


def list_query_segments(index: Index, query: SearchQuery) -> list[Moment]:
    """The stretches that the examples show, as the index knows their files: by path, or else by what is in them."""
    rows = index.rows
    marked = [Moment(rows.get_path(r), float(rows.start_s[r]), float(rows.end_s[r])) for r in query.positive_rows]
    return [resolve_segment(rows, s) for s in query.positive_segments] + marked


def resolve_segment(rows: RowTable, segment: Moment) -> Moment:
    """An example by its whole path, with the hash of its content where the index does not have that path."""
    path = absolute_path(segment.path)
    if path in rows.number_by_path:
        return replace(segment, path=path)
    try:
        now = os.stat(path)
        return replace(segment, path=path, content_hash=hash_cached(path, now.st_size, now.st_mtime_ns))
    except OSError:
        return replace(segment, path=path)  # gone since its vector was made


@lru_cache(4096)
def hash_cached(path: str, _size: int, _mtime_ns: int) -> str:
    """The hash of a file's content, remembered as long as its size and time of change stay."""
    return open_source(path).hash_content()


def learn_concept(index: str | Path | Index, name: str, marks: Annotations) -> Concept:
    """A concept out of marked rows, kept in the index: concepts/NAME.json and .csv, its marks. Raises UnreelError."""
    index = index if isinstance(index, Index) else open_index(index)
    require_concept_name(name)
    concept = fit_concept(name, index.vectors_ND, marks, index.encoder_hash)
    concept.save(index.folder / CONCEPTS_FOLDER / f"{name}.json")
    save_annotations(index.folder / CONCEPTS_FOLDER / f"{name}.csv", index.rows, marks)
    return concept


def require_concept_name(name: str) -> None:
    """Raise InputError for what is no name of a file anywhere."""
    if not re.fullmatch(r"\w[\w.-]*", name) or len(name.encode()) > MAX_NAME_BYTES:
        shown = ascii(name[:40])[1:-1] + ("..." if len(name) > 40 else "")
        raise InputError(
            f"'{shown}' is no name for a concept; it begins with a letter or digit, goes on with these, dashes, dots "
            f"and underscores, and has {MAX_NAME_BYTES} bytes at most"
        )
