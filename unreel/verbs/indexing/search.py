"""Search an index for moments like the examples."""

from pathlib import Path

from unreel.errors import InputError
from unreel.indexing.homes.open_home import open_index
from unreel.indexing.index.clip_index import Index, load_query_encoder
from unreel.indexing.search.query import SearchAnswer, SearchQuery, search_by_examples
from unreel.indexing.search.results import HitOptions, Hits
from unreel.models.encoder.encoder import Encoder


def search(
    index: str | Path | Index, query: SearchQuery, options: HitOptions | None = None, encoder: Encoder | None = None
) -> Hits:
    """Find the best hits of an index for a query, best first.

    Args:
        index: folder or address of an index, or an opened one.
        query: examples and counter-examples, and conditions on the hits.
        options: number of hits (default 20), and how clips become hits.
        encoder: the encoder of the index, if it is loaded already.

    Returns:
        Moments in seconds with their score and rows, best first; a list with `to_pandas()`.

    Raises:
        InputError: the index, an example or an option can't be used.
        NeedsImportError: the encoder of the index is code outside unreel, and `encoder` is not given.

    >>> video = str(sorted(videos.glob("*/*.mp4"))[0])
    >>> hits = unreel.search(index, unreel.SearchQuery((unreel.Moment(video, 0.0, 0.4),)))
    >>> len(hits), hits[0].start_s >= 0
    (20, True)
    """
    return Hits(answer_query(index, query, options, encoder).hits)


def answer_query(
    index: str | Path | Index, query: SearchQuery, options: HitOptions | None = None, encoder: Encoder | None = None
) -> SearchAnswer:
    """`search` with what there is to say of the examples."""
    index = index if isinstance(index, Index) else open_index(index)
    if not query.positive_moments and not query.positive_rows:
        raise InputError("nothing to search with; name a video, or mark a hit")
    if encoder is None and (query.positive_moments or query.negative_moments):
        encoder = load_query_encoder(index.folder, index.metadata)
    return search_by_examples(index, query, options, encoder)
