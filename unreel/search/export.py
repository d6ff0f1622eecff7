"""An index in the forms that other programs read: files for analysis and labelling tools, tables of vector databases.

A row of the index is row N everywhere. What a form can't hold is left out, never changed.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unreel.errors import DiskError, InputError
from unreel.search.embeddings import COLUMNS, HASH, KEY, files, read_table
from unreel.search.index import Index
from unreel.search.sorting import write_csv
from unreel.search.vectors import blocks

BATCH = 4096  # rows handed over at a time


def batches(index: Index) -> Iterator[tuple[int, list[dict[str, Any]], np.ndarray]]:
    """First row, what is said of each row, and their vectors (n, D), BATCH rows at a time."""
    for first in range(0, len(index.rows), BATCH):
        row_n = np.arange(first, min(first + BATCH, len(index.rows)))
        yield first, [described(index, int(row)) for row in row_n], index.vectors(row_n)


def described(index: Index, row: int) -> dict[str, Any]:
    rows = index.rows
    span_s = {"start_s": float(rows.start_s[row]), "end_s": float(rows.end_s[row])}
    return {"row": row, "video": rows.path(row), **span_s, "label": rows.labels[rows.label_N[row]]}


def new_place(place: Path) -> Path:
    """A file or folder that must not be there yet. Raises InputError."""
    if place.exists():
        raise InputError(f"{place} exists already; nothing was changed. Choose another place")
    return place


def to_parquet(index: Index, place: str) -> None:
    """One file of columns path, start_s, end_s, label, embedding and content_hash, in the order of the rows."""
    path = new_place(Path(place))
    aside = path.with_name(f".{path.name}.part")
    about = {KEY: json.dumps({name: index.about[name] for name in ("encoder", "encoder_hash")}).encode()}
    writer = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for part in files(index.folder):
            table = read_table(part, (*COLUMNS, HASH)).replace_schema_metadata(about)
            writer = writer or pq.ParquetWriter(aside, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise DiskError(f"{path}: can't be written ({error}); free space or choose another place") from error


def to_numpy(index: Index, place: str) -> None:
    """A folder of vectors.npy, float32 (N, D), and rows.csv, which says whose row each is."""

    def fill(folder: Path) -> None:
        out_ND = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, index.vectors_ND.shape)
        for first, block in blocks(index.vectors_ND):
            out_ND[first : first + len(block)] = block
        out_ND.flush()
        names = ["row", "video", "start_s", "end_s", "label"]
        write_csv(folder / "rows.csv", names, (who.values() for _, said, _ in batches(index) for who in said))

    whole_folder(Path(place), fill)


def whole_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """A new folder, filled aside and then renamed. Raises InputError where there is one, DiskError."""
    new_place(folder)
    aside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        fill(aside)
        aside.rename(folder)
    except OSError as error:
        raise DiskError(f"{folder}: can't be written ({error}); free space or choose another place") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def to_fiftyone(index: Index, place: str) -> None:
    """A FiftyOneTemporalDetectionDataset: labels.json names each video and its clips; beside it vectors.npy, rows.csv.

    fiftyone.Dataset.from_dir(dataset_dir=PLACE, dataset_type=fiftyone.types.FiftyOneTemporalDetectionDataset) reads
    it; a clip's attribute `row` is its row in vectors.npy. A clip without a label is called "clip", for one must have
    a name there.
    """

    def fill(folder: Path) -> None:
        to_numpy(index, str(folder / "embeddings"))
        labels: dict[str, list[dict[str, Any]]] = {path: [] for path in index.rows.paths}
        for _, said, _ in batches(index):
            for who in said:
                times_s, named = [who["start_s"], who["end_s"]], who["label"] or "clip"
                clip = {"label": named, "timestamps": times_s, "attributes": {"row": who["row"]}}
                labels[who["video"]].append(clip)
        classes = sorted({clip["label"] for clips in labels.values() for clip in clips})
        (folder / "labels.json").write_text(json.dumps({"classes": classes, "labels": labels}))

    whole_folder(Path(place), fill)


def to_lightly(index: Index, place: str) -> None:
    """Lightly's CSV of embeddings: filenames, embedding_0, ..., labels; a unit row per video, the mean of its clips.

    `labels` is 0 as that format asks. Names are paths as the index has them.
    """
    path = new_place(Path(place))
    count, dim = len(index.rows.paths), index.vectors_ND.shape[1]
    sum_PD = np.zeros((count, dim), np.float64)
    for first, block in blocks(index.vectors_ND):
        np.add.at(sum_PD, index.rows.path_N[first : first + len(block)], block)
    mean_PD = sum_PD / np.maximum(np.linalg.norm(sum_PD, axis=1, keepdims=True), 1e-12)
    rows = ([name, *(f"{x:.7g}" for x in mean_PD[n]), 0] for n, name in enumerate(index.rows.paths))
    write_csv(path, ["filenames", *(f"embedding_{n}" for n in range(dim)), "labels"], rows)


def to_lancedb(index: Index, place: str, table: str = "unreel") -> None:
    """A LanceDB table in the folder or address `place`: row, video, start_s, end_s, label, vector."""
    lancedb = needed("lancedb", "lancedb")
    schema = pa.schema(
        [("row", pa.int64()), ("video", pa.string()), ("start_s", pa.float64()), ("end_s", pa.float64())]
        + [("label", pa.string()), ("vector", pa.list_(pa.float32(), index.vectors_ND.shape[1]))]
    )

    def filled() -> Iterator[pa.RecordBatch]:
        for _, said, vectors_nD in batches(index):
            columns = [pa.array([who[name] for who in said], schema.field(name).type) for name in said[0]]
            flat = pa.array(np.ascontiguousarray(vectors_nD).ravel())
            vector = pa.FixedSizeListArray.from_arrays(flat, vectors_nD.shape[1])
            yield pa.RecordBatch.from_arrays([*columns, vector], schema=schema)

    database = lancedb.connect(place)
    if table in database.table_names():
        raise InputError(f"{place}: a table '{table}' is there already; nothing was changed. Choose another --table")
    database.create_table(table, data=filled(), schema=schema)


def to_qdrant(index: Index, place: str, table: str = "unreel") -> None:
    """A Qdrant collection on the server at http(s)://..., or in a folder (its local mode); point N is row N."""
    qdrant = needed("qdrant_client", "qdrant-client")
    remote = place.startswith(("http://", "https://"))
    client = qdrant.QdrantClient(url=place) if remote else qdrant.QdrantClient(path=place)
    models = qdrant.models
    try:
        if client.collection_exists(table):
            raise InputError(
                f"{place}: a collection '{table}' is there already; nothing was changed. Choose another --table"
            )
        params = models.VectorParams(size=index.vectors_ND.shape[1], distance=models.Distance.DOT)
        client.create_collection(table, vectors_config=params)
        for first, said, vectors_nD in batches(index):
            ids = list(range(first, first + len(said)))
            client.upsert(table, models.Batch(ids=ids, vectors=vectors_nD.tolist(), payloads=said))
    finally:
        client.close()


def to_pgvector(index: Index, place: str, table: str = "unreel") -> None:
    """A table of a PostgreSQL server with pgvector: row, video, start_s, end_s, label, embedding; all rows or none."""
    psycopg = needed("psycopg", "psycopg[binary]")
    from psycopg import sql

    name = sql.Identifier(table)
    dim = sql.SQL(str(index.vectors_ND.shape[1]))
    with psycopg.connect(place) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        if cursor.execute("SELECT to_regclass(%s)", (table,)).fetchone()[0] is not None:
            raise InputError(f"a table '{table}' is there already; nothing was changed. Choose another --table")
        columns = "row bigint PRIMARY KEY, video text, start_s float8, end_s float8, label text, embedding vector"
        cursor.execute(sql.SQL("CREATE TABLE {} (" + columns + "({}))").format(name, dim))
        with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(name)) as copy:
            for _, said, vectors_nD in batches(index):
                for who, vector_D in zip(said, vectors_nD, strict=True):
                    copy.write_row((*who.values(), "[" + ",".join(f"{x:.8g}" for x in vector_D) + "]"))


def needed(module: str, package: str) -> Any:
    """An optional library. Raises InputError that says what to install."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"this needs {package}, which is not installed ({error}): pip install '{package}'") from error
