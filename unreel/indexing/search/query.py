"""A query of an index, and the search for its hits."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from unreel.corpus.file_changes import find_missing
from unreel.errors import InputError
from unreel.indexing.index.clip_index import Index
from unreel.indexing.index.query_vector import combine_examples, weight_parts
from unreel.indexing.index.row_filter import ExampleMoment, RowFilter, exclude_own_rows
from unreel.indexing.index.row_table import RowTable
from unreel.indexing.index.score_scale import ScoreScale
from unreel.indexing.search.query_encoder import ExampleVectors, embed_examples
from unreel.indexing.search.results import Hit, HitOptions, search_by_vector
from unreel.io.text import format_count, format_duration
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.row_parts import RowParts
from unreel.models.encoder.view_weights import find_slider_ends
from unreel.types import Moment
from unreel.video.sources.paths import absolute_path
from unreel.video.sources.source import open_source


@dataclass(frozen=True)
class SearchQuery:
    """Examples and counter-examples of a search: moments of videos, and rows of the index.

    Args:
        positive_moments: examples: moments of any video, in seconds, or pictures.
        negative_moments: counter-examples.
        positive_rows: examples, as numbers of rows of the index.
        negative_rows: counter-examples.
        motion_weight: weight of motion (1) against appearance (0), where rows have both; by default that of the index,
            and 0 where no example moves.
        own_video_mode: what of the examples' own videos is left out: nothing ("keep"), the same moment ("clip"), or all
            ("video").
        filter: conditions on the hits: path, label and seconds.

    >>> query = unreel.SearchQuery(positive_rows=(3,), own_video_mode="video")
    >>> len(unreel.search(index, query, unreel.HitOptions(num_hits=5)))
    5
    """

    positive_moments: Sequence[Moment] = ()
    negative_moments: Sequence[Moment] = ()
    positive_rows: Sequence[int] = ()
    negative_rows: Sequence[int] = ()
    motion_weight: float | None = None
    own_video_mode: str = "clip"
    filter: RowFilter = field(default_factory=RowFilter)


class SearchAnswer(NamedTuple):
    """Hits, best first, what there is to say of the examples, the paths of hits and of what is folded under them whose
    files are gone, and whether parts of an example were not compared."""

    hits: list[Hit]
    note: str = ""
    missing: frozenset[str] = frozenset()
    has_gaps: bool = False


def search_by_examples(
    index: Index, query: SearchQuery, options: HitOptions | None = None, encoder: Encoder | None = None
) -> SearchAnswer:
    """The best hits for a query, best first. Moments need the encoder of the index. Raises UnreelError."""
    positives = collect_examples(index, encoder, query.positive_rows, query.positive_moments)
    negatives = collect_examples(index, encoder, query.negative_rows, query.negative_moments)
    return search_by_vectors(index, query, positives, negatives, options)


def search_by_vectors(
    index: Index,
    query: SearchQuery,
    positives: Sequence[ExampleVectors],
    negatives: Sequence[ExampleVectors],
    options: HitOptions | None = None,
) -> SearchAnswer:
    """`search_by_examples` when the vectors of all examples and counter-examples are known."""
    motion_weight = choose_motion_weight(index, query, positives)
    combined = build_query_vectors(positives, negatives, index.parts)
    query_QD = weight_parts(combined.vectors_QD, motion_weight, index.parts)
    allowed_N = query.filter.match_rows(index.rows)
    allowed_N &= exclude_own_rows(index.rows, list_query_moments(index.rows, query), query.own_video_mode)
    options = options or HitOptions()
    hits = search_by_vector(
        index.ann_index, index.rows, query_QD, options, allowed_N, index.get_vectors, combined.moments
    )
    looks = count_looks(combined.moments)
    hits = [add_percentile(hit, index.scale, motion_weight, looks) for hit in hits]
    gaps = [example for example in (*positives, *negatives) if example.has_gaps]
    notes = [describe_still(example, motion_weight) for example in positives if example.is_still]
    paths = {shown.path for hit in hits for shown in (hit, *hit.duplicates)}
    note = " ".join([*notes, *map(describe_gaps, gaps)])
    return SearchAnswer(hits, note, frozenset(find_missing(paths)), bool(gaps))


def choose_motion_weight(index: Index, query: SearchQuery, positives: Sequence[ExampleVectors]) -> float:
    """The weight that the query asks for, else that of the index; of looks alone where no example moves."""
    if query.motion_weight is not None:
        return query.motion_weight
    has_looks = find_slider_ends(index.views) == ("appearance", "motion")
    return 0.0 if has_looks and all(example.is_still for example in positives) else index.parts.motion_weight


def describe_still(example: ExampleVectors, motion_weight: float) -> str:
    """What to say of an example in which nothing moves."""
    name = os.path.basename(example.moments[0].path)
    if motion_weight == 0:
        return f"{name}: nothing moves in it, so looks alone were compared."
    return f"{name}: nothing moves in it, and motion was compared, so the hits say little; give a moment of a video."


def add_percentile(hit: Hit, scale: ScoreScale | None, motion_weight: float, looks: float) -> Hit:
    """The hit and its duplicates with their percentiles, where the index has a scale.

    The scale is that of one clip. The best of several has a better chance, as if each took a look of its own.
    """
    if scale is None or not scale.likeness or hit.likeness is None:
        return hit
    duplicates = tuple(add_percentile(other, scale, motion_weight, looks) for other in hit.duplicates)
    share = scale.compute_percentile(hit.likeness, motion_weight) / 100
    return replace(hit, duplicates=duplicates, percentile=round(100 * share**looks, 1))


def count_looks(moments: Sequence[Moment]) -> float:
    """How many clips side by side cover as many seconds as these, which may overlap; 1 for a short example."""
    if not moments:
        return 1.0
    covered_s, clip_s = 0.0, moments[0].end_s - moments[0].start_s
    end_by_path: dict[str, float] = {}
    for moment in moments:
        end_s = end_by_path.get(moment.path, -math.inf)
        covered_s += moment.end_s - max(moment.start_s, end_s)
        end_by_path[moment.path] = moment.end_s
    return max(1.0, covered_s / clip_s) if clip_s > 0 else 1.0


class QueryVectors(NamedTuple):
    """Vectors float32 (Q, D) of a query, and the moment that each stands for; one vector stands for all examples."""

    vectors_QD: np.ndarray
    moments: tuple[Moment, ...] = ()


def build_query_vectors(
    positives: Sequence[ExampleVectors], negatives: Sequence[ExampleVectors], parts: RowParts
) -> QueryVectors:
    """One vector of all examples and counter-examples; where an example is long, one for each of its clips, in which
    the clip stands for it. Raises InputError."""
    means = [parts.set_lengths(example.mean_D) for example in positives]
    unlike_MD = np.stack([parts.set_lengths(example.mean_D) for example in negatives]) if negatives else None
    like = [  # the clip and its example, and the examples with the clip in place of its example
        (moment, [*means[:n], vector_D, *means[n + 1 :]])
        for n, example in enumerate(positives)
        if len(example.moments) > 1
        for moment, vector_D in zip(example.moments, parts.set_lengths(example.vectors_KD), strict=True)
    ]
    if not like:
        return QueryVectors(combine_examples(np.array(means), unlike_MD, parts))
    vectors = [combine_examples(np.stack(vectors), unlike_MD, parts) for _, vectors in like]
    return QueryVectors(np.concatenate(vectors), tuple(moment for moment, _ in like))


def describe_gaps(example: ExampleVectors) -> str:
    """What to say of an example that is longer than its clips together."""
    first, last, clip_s = example.moments[0], example.moments[-1], example.moments[0].end_s - example.moments[0].start_s
    return (
        f"{os.path.basename(first.path)}: of its {format_duration(last.end_s - first.start_s)}, {len(example.moments)} "
        f"clips of {format_duration(clip_s)} were compared; choose the part that you mean."
    )


def collect_examples(
    index: Index, encoder: Encoder | None, rows: Sequence[int], moments: Sequence[Moment]
) -> list[ExampleVectors]:
    """Vectors of moments and of rows. Raises InputError for a row that the index does not have."""
    unknown = [row for row in rows if not 0 <= row < len(index.rows)]
    if unknown:
        problem = f"row {unknown[0]} is not in the index, which has {format_count(len(index.rows), 'row')}"
        raise InputError(problem, "it has been indexed again since; search again")
    vectors_PD = index.get_vectors(np.array(rows, np.int64))
    stored_PD = index.parts.to_store(vectors_PD)
    examples = [ExampleVectors(v[None], (index.rows.get_moment(n),)) for n, v in zip(rows, stored_PD, strict=True)]
    if moments:
        assert encoder is not None
        examples += embed_examples(encoder, moments)
    return examples


def list_query_moments(rows: RowTable, query: SearchQuery) -> list[Moment]:
    """The moments of all examples, with the hash of a file whose path the index does not have."""
    return [resolve_moment(rows, m) for m in query.positive_moments] + [
        rows.get_moment(row) for row in query.positive_rows
    ]


def resolve_moment(rows: RowTable, moment: Moment) -> Moment:
    """A moment with its absolute path, and with the hash of its content where the index does not have that path."""
    path = absolute_path(moment.path)
    if path in rows.number_by_path:
        return Moment(path, moment.start_s, moment.end_s)
    try:
        status = os.stat(path)
        content_hash = _hash_cached(path, status.st_size, status.st_mtime_ns)
    except OSError:
        content_hash = ""  # the file has gone since its vector was made
    return ExampleMoment(path, moment.start_s, moment.end_s, content_hash)


@lru_cache(4096)
def _hash_cached(path: str, _size: int, _mtime_ns: int) -> str:
    """The hash of a file's content, computed again when its size or time of change differ."""
    return open_source(path).hash_content()
