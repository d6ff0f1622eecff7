"""What a database offers as the home of an index: rows with vectors, and records.

    TABLE            a row for each clip: its number, video, start_s, end_s, label, content_hash and vector; where the
                     index has a slider, also the vectors at its two ends, by name
    TABLE_records    everything else as bytes under names: the description of the index (INDEX_RECORD), the files that
                     it needs (file/HASH, in pieces), and what people mark (concept/NAME); records are added and
                     deleted, never changed, so that nothing is lost where several servers write

`open_home.py` makes an `Index` of a home, so search, concepts, clusters and the page know nothing of databases.
"""

import abc
import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from unreel.errors import InputError
from unreel.indexing.homes.address import HOME_KINDS, HomeAddress, hide_secrets, import_optional

INDEX_RECORD, FILLING_RECORD, APPROXIMATE_RECORD = "index", "filling", "approximate"
PIECE_BYTES = 2 * 2**20  # of a file in a record; a Qdrant server takes at most 32 MB in one call
ROW_COLUMNS = ("row", "video", "start_s", "end_s", "label", "content_hash")
MAX_RANGES = 200  # ranges of rows in one question; more are too long a condition for most databases


class HomeDownError(InputError):
    """A database that does not answer, or not in time. Nothing was changed; the same may work later."""


class HomeChangedError(InputError):
    """An index that was replaced in its database since it was opened, or is being replaced."""


@dataclass(frozen=True)
class Record:
    """Bytes under a name. `id` tells it from all others, so a record that is sent twice is there once; `number` is that
    of a piece."""

    id: str
    name: str
    data: bytes
    number: int = 0


@dataclass(frozen=True)
class RowQuestion:
    """The nearest rows of queries (Q, D) that are wanted: how many, in which ranges of rows (R, 2) from first to last
    + 1 (None: all), and by which vector ("" for the whole row). The database compares all rows, or with `candidates` so
    many that its own approximate index finds; then it may answer with fewer than `k`.
    """

    query_QD: np.ndarray
    k: int
    ranges_R2: np.ndarray | None = None
    vector: str = ""
    candidates: int = 0


@dataclass(frozen=True)
class HomeContent:
    """What is written to a home: rows batch by batch, widths of the vectors by name ("" for the whole row), the
    description, and files by hash.

    A batch is the values of ROW_COLUMNS (n,) and the vectors (n, width) by name.
    """

    num_rows: int
    widths: dict[str, int]
    iterate_batches: Callable[[int], Iterator[tuple[dict[str, list[Any]], dict[str, np.ndarray]]]]
    description: dict[str, Any]
    read_files: dict[str, Callable[[], bytes]] = field(default_factory=dict)


class Home(abc.ABC):
    """An index in a database. Any number of threads may use one.

    `address` says where; errors are InputErrors of one sentence, `HomeDownError` where the database does not answer.
    """

    batch_rows: ClassVar[int] = 4096
    max_ranges: ClassVar[int] = MAX_RANGES

    def __init__(self, address: HomeAddress) -> None:
        self.address, self.table, self.records_table = address, address.table, f"{address.table}_records"
        self.index_id = ""  # of the index that was opened here; all reading is of this one

    @abc.abstractmethod
    def read_records(self, name: str) -> list[Record]:
        """The records of a name, in the order of their arrival; none where there is no table yet."""

    @abc.abstractmethod
    def list_names(self, prefix: str) -> list[str]:
        """The names of records that begin with a prefix, sorted."""

    @abc.abstractmethod
    def add_records(self, records: Sequence[Record]) -> None:
        """Add records, all or none; those whose id is there already are not added again."""

    @abc.abstractmethod
    def delete_records(self, ids: Sequence[str] = (), names: Sequence[str] = ()) -> None:
        """Delete records by their ids, and all of some names."""

    @abc.abstractmethod
    def count_rows(self) -> int:
        """The number of rows in the table; 0 where there is none."""

    @abc.abstractmethod
    def find_nearest(self, question: RowQuestion) -> list[tuple[np.ndarray, np.ndarray]]:
        """Scores float32 (K,) and rows int64 (K,) for each query, best first."""

    @abc.abstractmethod
    def read_vectors(self, row_n: np.ndarray) -> np.ndarray:
        """Vectors float32 (n, D) of rows, in this order."""

    @abc.abstractmethod
    def read_block(self, first: int, stop: int) -> np.ndarray:
        """Vectors float32 (n, D) of the rows from `first` to `stop` - 1."""

    @abc.abstractmethod
    def write(self, content: HomeContent, replace: bool) -> None:
        """Make the tables, or with `replace` put these rows in place of those of a table that was made here."""

    def open_index(self, description: dict[str, Any]) -> None:
        """Read from now on the index of this description. Raises HomeChangedError later, where it was replaced."""
        self.index_id = str(description["id"])

    @abc.abstractmethod
    def make_approximate(self, widths: dict[str, int]) -> list[str]:
        """Make the database's own approximate index of these vectors of the opened index; returns the names of those
        that have one. Raises HomeChangedError where the index is being replaced."""

    @abc.abstractmethod
    def close(self) -> None:
        """End the connections."""

    def change_error(self) -> HomeChangedError:
        """What to raise where the index is another than the one that was opened."""
        return HomeChangedError(
            f"{self.address}: the index was replaced since it was opened, or is being replaced",
            "open it again, or load the page again",
        )

    def fail(self, problem: str, advice: str = "") -> InputError:
        """An error that names this home."""
        return InputError(f"{self.address}: {hide_secrets(problem)}", advice)

    @contextlib.contextmanager
    def translate_errors(self, *failures: type[Exception], hint: str = "") -> Iterator[None]:
        """Raise HomeDownError, of one line and without secrets, in place of a database's errors."""
        try:
            yield
        except InputError:
            raise
        except failures as error:
            reason = " ".join(hide_secrets(str(error)).split())[:300] or type(error).__name__
            advice = hint or "is the address right, and does it answer?"
            raise HomeDownError(f"{self.address}: the database failed ({reason})", advice) from error

    def require_replaceable(self, replace: bool, has_our_columns: bool) -> None:
        """Raise InputError for an existing table, unless it may be replaced and has our columns."""
        if not replace:
            raise self.fail(f"a table '{self.table}' is there already; nothing was changed", "choose another --table")
        if not has_our_columns:
            raise self.fail(
                f"the table '{self.table}' has other columns than unreel's for this index, or vectors of another "
                "width; nothing was changed",
                "choose another --table",
            )


def connect_home(address: HomeAddress) -> Home:
    """The home at an address. Raises InputError when its library is missing, or it does not answer."""
    kind = HOME_KINDS[address.kind]
    import_optional(kind.module, kind.package)
    file, _, name = kind.home_class.partition(":")
    home: Home = getattr(importlib.import_module(f"{__package__}.{file}"), name)(address)
    return home


def require_same_encoder(home: Home, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise InputError where a table has rows of another encoder than those that are to replace them."""
    old, new = str(before.get("encoder_hash", "")), str(now.get("encoder_hash", ""))
    if old and new and old != new:
        raise home.fail(
            f"the table '{home.table}' holds rows of another encoder ({old[:12]}, this one is {new[:12]}); nothing was "
            "changed",
            "choose another --table",
        )
