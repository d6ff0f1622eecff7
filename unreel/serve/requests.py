"""The JSON requests of the page, with their limits."""

import glob
import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from unreel.indexing.index.row_filter import RowFilter
from unreel.indexing.search.results import HitOptions

PAGE_VERSION = 2  # of what the page and the server say to each other; api_client.js has the same
MAX_ROWS = 200_000
MAX_LISTED = 200  # hits, videos or labels in one answer
DUPLICATE_THRESHOLD = 0.98  # cosine above which hits are near-duplicates
NO_FOLDING = 2.0  # a cosine that no two rows have
RowNumber = Annotated[int, Field(ge=0, lt=2**31)]
RowNumbers = list[RowNumber]


class IndexRequest(BaseModel):
    """A request about the index that the page has loaded; in JSON its id is `of`."""

    model_config = ConfigDict(allow_inf_nan=False, extra="forbid")
    index_id: str = Field(alias="of")


class MomentRequest(BaseModel):
    """A moment of an upload, or of a video of the index by its number."""

    model_config = ConfigDict(allow_inf_nan=False, extra="forbid")
    query: str | None = Field(None, max_length=64)
    video: int | None = None
    start_s: float = 0.0
    end_s: float


class FilteredRequest(IndexRequest):
    """`path` is a part of the path, without patterns; `fold` folds near-duplicates."""

    labels: list[str] = Field([], max_length=1000)
    path: str = Field("", max_length=1000)
    after_s: float = 0.0
    before_s: float | None = None
    fold: bool = False
    count: int = Field(24, ge=1, le=MAX_LISTED)

    def make_filter(self) -> RowFilter:
        patterns = (f"*{glob.escape(self.path)}*",) if self.path else ()
        before_s = math.inf if self.before_s is None else self.before_s
        return RowFilter(patterns, tuple(self.labels), self.after_s, before_s)

    def make_hit_options(self) -> HitOptions:
        return HitOptions(self.count, duplicate_threshold=DUPLICATE_THRESHOLD if self.fold else NO_FOLDING)


class VideosRequest(FilteredRequest):
    """The videos of which the filters leave a moment, `count` of them from the `first` on."""

    first: int = Field(0, ge=0, lt=2**31)


class LabelsRequest(IndexRequest):
    """The labels that contain a text, `count` of them from the `first` on; or those of `numbers`."""

    text: str = Field("", max_length=1000)
    numbers: RowNumbers | None = Field(None, max_length=MAX_LISTED)
    first: int = Field(0, ge=0, lt=2**31)
    count: int = Field(24, ge=1, le=MAX_LISTED)


class SearchRequest(FilteredRequest):
    """Moments like this one and these rows, unlike those."""

    moment: MomentRequest | None = None
    like: RowNumbers = Field([], max_length=1000)
    unlike: RowNumbers = Field([], max_length=1000)
    motion: float | None = None
    own: Literal["keep", "clip", "video"] = "clip"


class RankRequest(FilteredRequest):
    """All moments ranked by a concept: of these marks, or a saved one."""

    yes: RowNumbers = Field([], max_length=10_000)
    no: RowNumbers = Field([], max_length=10_000)
    concept: str = Field("", max_length=200)


class SaveConceptRequest(IndexRequest):
    """Marks to add to a concept, or with `forget` to replace its marks."""

    name: str = Field(max_length=100)
    yes: RowNumbers = Field(max_length=10_000)
    no: RowNumbers = Field([], max_length=10_000)
    forget: bool = False


class SelectionRequest(IndexRequest):
    """Rows, with the scores that the page has."""

    rows: RowNumbers = Field(max_length=MAX_ROWS)
    scores: dict[RowNumber, float] = Field({}, max_length=1000)
