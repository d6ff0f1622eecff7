"""What is written of an index to its home in a database: rows batch by batch, and the files that opening it needs."""

import contextlib
import dataclasses
import io
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unreel.errors import InputError
from unreel.indexing.homes.address import HomeAddress
from unreel.indexing.homes.home import PIECE_BYTES, HomeContent, Record, connect_home
from unreel.indexing.index.clip_index import Index
from unreel.indexing.index.row_table import RowTable
from unreel.indexing.store.file_names import (
    ENCODER_FOLDER,
    FILES_PARQUET,
    PART_WEIGHTS_JSON,
    SCALE_JSON,
    STORE_JSON,
    VERDICT_JSON,
)
from unreel.io.checksums import hash_bytes
from unreel.models.encoder.row_parts import RowParts, scale_parts
from unreel.models.encoder.view_weights import find_slider_ends, list_slider_ends

FORMAT_VERSION = 1
ROWS_PARQUET = "rows.parquet"
FILE_PREFIX = "file/"


def describe_content(index: Index) -> HomeContent:
    """The content of an index. Its id is new with each writing, so that readers see that rows were replaced."""
    files, hashes = _collect_files(index), dict[str, str]()
    readers: dict[str, Callable[[], bytes]] = {}
    for name, read in files.items():
        hashes[name] = hash_bytes(read())
        readers.setdefault(hashes[name], read)
    widths = {"": index.vectors_ND.shape[1]} | {end: sum(part.widths) for end, part in slider_ends(index.parts).items()}
    description = {
        "unreel_home": FORMAT_VERSION,
        "id": uuid.uuid4().hex,
        "rows": len(index.rows),
        "widths": widths,
        "encoder_hash": index.metadata.get("encoder_hash", ""),
        "fingerprint": index.ann_index.description.vectors_fingerprint,
        "files": hashes,
    }

    def iterate(batch_rows: int) -> Iterator[tuple[dict[str, list[Any]], dict[str, np.ndarray]]]:
        return iterate_batches(index, batch_rows)

    return HomeContent(len(index.rows), widths, iterate, description, readers)


def write_home(index: Index, address: HomeAddress, replace: bool) -> None:
    """Write an index to a database; with `replace` in place of the rows that are there. Raises UnreelError."""
    source = None if isinstance(index.vectors_ND, np.ndarray) else index.vectors_ND.home.address
    if source is not None and source.identity == address.identity:
        raise InputError(f"{address}: the index is read from this table", "choose another --table")
    with contextlib.closing(connect_home(address)) as home:
        home.write(describe_content(index), replace)


def iterate_batches(index: Index, batch_rows: int) -> Iterator[tuple[dict[str, list[Any]], dict[str, np.ndarray]]]:
    """The values of ROW_COLUMNS and the vectors by name of at most `batch_rows` rows at a time."""
    rows, ends = index.rows, slider_ends(index.parts)
    for first in range(0, len(rows), batch_rows):
        stop = min(first + batch_rows, len(rows))
        part = slice(first, stop)
        columns = {
            "row": list(range(first, stop)),
            "video": [rows.paths[n] for n in rows.path_N[part]],
            "start_s": rows.start_s[part].tolist(),
            "end_s": rows.end_s[part].tolist(),
            "label": [rows.labels[n] for n in rows.label_N[part]],
            "content_hash": [rows.content_hashes[n] for n in rows.content_N[part]],
        }
        vectors_nD = np.asarray(index.vectors_ND[part], np.float32)
        yield columns, {"": vectors_nD} | {name: end.cut_rows(vectors_nD) for name, end in ends.items()}


@dataclasses.dataclass(frozen=True)
class SliderEnd:
    """The parts of a row at one end of the slider, as a unit vector: their columns, widths, and weights at that end.

    An inner product with it is the score of the whole row there, so a search at an end can use the smaller vector.
    """

    column_d: np.ndarray
    widths: tuple[int, ...]
    row_weights: tuple[float, ...]
    end_weights: tuple[float, ...]

    def cut_rows(self, vectors_nD: np.ndarray) -> np.ndarray:
        """The vectors (n, d) of rows at this end."""
        return scale_parts(self._split(vectors_nD[:, self.column_d]), np.sqrt(self.end_weights))

    def cut_query(self, query_QD: np.ndarray) -> np.ndarray | None:
        """The queries (Q, d) for the vectors at this end; None where the other end counts too."""
        others = np.ones(query_QD.shape[1], bool)
        others[self.column_d] = False
        if query_QD[:, others].any():
            return None
        factor = np.sqrt(np.array(self.row_weights) / np.array(self.end_weights))
        split = self._split(query_QD[:, self.column_d])
        return np.concatenate([part * f for part, f in zip(split, factor, strict=True)], axis=1).astype(np.float32)

    def _split(self, vectors_nd: np.ndarray) -> list[np.ndarray]:
        return np.split(vectors_nd, np.cumsum(self.widths)[:-1].tolist(), axis=1)


def slider_ends(parts: RowParts) -> dict[str, SliderEnd]:
    """The two ends of the slider by name; none where all parts are of one kind."""
    names = find_slider_ends(parts.names)
    if names is None:
        return {}
    first_P = np.cumsum((0, *parts.widths))
    ends = {}
    for number, name in enumerate(names):
        at_end = [p for p, end in enumerate(list_slider_ends(parts.names)) if end == number]
        columns = np.concatenate([np.arange(first_P[p], first_P[p + 1]) for p in at_end])
        end_P = parts.weigh(float(number))
        widths, row_weights, end_weights = (
            tuple(values[p] for p in at_end) for values in (parts.widths, parts.weight_P.tolist(), end_P.tolist())
        )
        ends[name.split()[-1]] = SliderEnd(columns, widths, row_weights, end_weights)
    return ends


def _collect_files(index: Index) -> dict[str, Callable[[], bytes]]:
    """What opening an index needs beside its vectors, by name in its folder."""

    def dump(value: Any) -> Callable[[], bytes]:
        return lambda: (json.dumps(value) + "\n").encode()

    files: dict[str, Callable[[], bytes]] = {
        STORE_JSON: dump(index.metadata),
        PART_WEIGHTS_JSON: dump(dataclasses.asdict(index.parts)),
        ROWS_PARQUET: lambda: pack_rows(index.rows),
    }
    if index.scale is not None:
        files[SCALE_JSON] = dump(dataclasses.asdict(index.scale))
    encoder = index.folder / ENCODER_FOLDER
    paths = [index.folder / VERDICT_JSON, index.folder / FILES_PARQUET, *sorted(encoder.rglob("*"))]
    return files | {str(path.relative_to(index.folder)): path.read_bytes for path in paths if path.is_file()}


def pack_rows(rows: RowTable) -> bytes:
    """The rows as Parquet with the columns of a store's parts, without their vectors."""

    def name_column(number_N: np.ndarray, names: list[str]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(number_N.astype(np.int32)), pa.array(names, pa.string()))

    table = pa.table(
        {
            "path": name_column(rows.path_N, rows.paths).cast(pa.string()),
            "start_s": rows.start_s,
            "end_s": rows.end_s,
            "label": name_column(rows.label_N, rows.labels).cast(pa.string()),
            "content_hash": name_column(rows.content_N, rows.content_hashes).cast(pa.string()),
        }
    )
    data = io.BytesIO()
    pq.write_table(table, data, compression="zstd", use_dictionary=["path", "label", "content_hash"])
    return data.getvalue()


def make_file_records(hash_: str, data: bytes) -> list[Record]:
    """A file in pieces, each a record."""
    pieces = [data[n : n + PIECE_BYTES] for n in range(0, max(len(data), 1), PIECE_BYTES)]
    name = FILE_PREFIX + hash_
    return [Record(f"{name}/{n}", name, piece, n) for n, piece in enumerate(pieces)]


def join_pieces(records: list[Record]) -> bytes:
    """The bytes of a file from its records, in any order."""
    pieces = {record.number: record.data for record in records}
    return b"".join(pieces[n] for n in sorted(pieces))
