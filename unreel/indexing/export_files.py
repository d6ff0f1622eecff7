"""An index as files that other programs read: for analysis, and for labelling tools. Row N is row N in all of them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from unreel.indexing.index.clip_index import Index
from unreel.indexing.index.vectors import iterate_blocks, write_npy
from unreel.indexing.store.embeddings_file import (
    COLUMNS,
    CONTENT_HASH,
    METADATA_KEY,
    list_parquet_files,
    read_table,
)
from unreel.io.atomic_write import atomic_folder, atomic_path, atomic_write_csv, disk_errors
from unreel.io.output_path import require_new_path

WRITE_ADVICE, NEW_PLACE_ADVICE = "free space or choose another place", "choose another place"
BATCH_ROWS = 4096  # rows handed over at a time


def iterate_batches(
    index: Index, max_rows: int | None = None
) -> Iterator[tuple[int, list[dict[str, Any]], np.ndarray]]:
    """First row, what is said of each row, and their vectors (n, D), so many rows at a time, else BATCH."""
    max_rows = max_rows or BATCH_ROWS
    for first in range(0, len(index.rows), max_rows):
        row_n = np.arange(first, min(first + max_rows, len(index.rows)))
        yield first, [describe_row(index, int(row)) for row in row_n], index.get_vectors(row_n)


def describe_row(index: Index, row: int) -> dict[str, Any]:
    rows = index.rows
    span_s = {"start_s": float(rows.start_s[row]), "end_s": float(rows.end_s[row])}
    return {"row": row, "video": rows.get_path(row), **span_s, "label": rows.labels[rows.label_N[row]]}


def to_parquet(index: Index, target: Path) -> None:
    """One file of columns path, start_s, end_s, label, embedding and content_hash, in the order of the rows."""
    path = require_new_path(target, NEW_PLACE_ADVICE)
    about = {METADATA_KEY: json.dumps({name: index.metadata[name] for name in ("encoder", "encoder_hash")}).encode()}
    writer = None
    with disk_errors(path, advice=WRITE_ADVICE):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, sync=False) as temporary:
            for part in list_parquet_files(index.folder):
                table = read_table(part, (*COLUMNS, CONTENT_HASH)).replace_schema_metadata(about)
                writer = writer or pq.ParquetWriter(temporary, table.schema, compression="zstd")
                writer.write_table(table)
            if writer is not None:
                writer.close()


def to_numpy(index: Index, target: Path) -> None:
    """A folder of vectors.npy, float32 (N, D), and rows.csv, which says whose row each is."""

    def fill(folder: Path) -> None:
        write_npy(folder / "vectors.npy", len(index.rows), (block for _, block in iterate_blocks(index.vectors_ND)))
        names = ["row", "video", "start_s", "end_s", "label"]
        atomic_write_csv(
            folder / "rows.csv", names, (list(who.values()) for _, said, _ in iterate_batches(index) for who in said)
        )

    write_folder(target, fill)


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """A new folder, filled aside and then renamed. Raises InputError where there is one, DiskError."""
    require_new_path(folder, NEW_PLACE_ADVICE)
    with disk_errors(folder, advice=WRITE_ADVICE), atomic_folder(folder) as temporary:
        fill(temporary)


def to_fiftyone(index: Index, target: Path) -> None:
    """A FiftyOneTemporalDetectionDataset: labels.json names each video and its clips; beside it vectors.npy, rows.csv.

    fiftyone.Dataset.from_dir(dataset_dir=PLACE, dataset_type=fiftyone.types.FiftyOneTemporalDetectionDataset) reads
    it; a clip's attribute `row` is its row in vectors.npy. A clip without a label is called "clip", for one must have
    a name there.
    """

    def fill(folder: Path) -> None:
        to_numpy(index, folder / "embeddings")
        labels: dict[str, list[dict[str, Any]]] = {path: [] for path in index.rows.paths}
        for _, said, _ in iterate_batches(index):
            for who in said:
                times_s, named = [who["start_s"], who["end_s"]], who["label"] or "clip"
                clip = {"label": named, "timestamps": times_s, "attributes": {"row": who["row"]}}
                labels[who["video"]].append(clip)
        classes = sorted({clip["label"] for clips in labels.values() for clip in clips})
        (folder / "labels.json").write_text(json.dumps({"classes": classes, "labels": labels}))
        (folder / "data").mkdir()  # empty: videos are named by absolute paths, but it is refused without

    write_folder(target, fill)


def to_lightly(index: Index, target: Path) -> None:
    """For LightlyStudio: a folder of embeddings.csv, a unit row per video, and events.json, an event per clip.

    embeddings.csv is Lightly's form: filenames, embedding_0, ..., labels (0, as it asks), the row being the mean of the
    video's clips. events.json is ActivityNet's form of results, by the stem of a file's name as LightlyStudio wants it,
    which takes no two videos of one stem. examples/lightlystudio.py loads both.
    """

    def fill(folder: Path) -> None:
        mean_PD = compute_video_means(index)
        rows = ([name, *(f"{x:.7g}" for x in mean_PD[n]), 0] for n, name in enumerate(index.rows.paths))
        names = ["filenames", *(f"embedding_{n}" for n in range(mean_PD.shape[1])), "labels"]
        atomic_write_csv(folder / "embeddings.csv", names, rows)
        events: dict[str, list[dict[str, Any]]] = {}
        for _, said, _ in iterate_batches(index):
            for who in said:
                event = {"label": who["label"] or "clip", "segment": [who["start_s"], who["end_s"]]}
                events.setdefault(Path(who["video"]).stem, []).append(event)
        (folder / "events.json").write_text(json.dumps({"results": events}))

    write_folder(target, fill)


def compute_video_means(index: Index) -> np.ndarray:
    """The mean of each video's rows, of length 1, (P, D)."""
    sum_PD = np.zeros((len(index.rows.paths), index.vectors_ND.shape[1]), np.float64)
    for first, block in iterate_blocks(index.vectors_ND):
        np.add.at(sum_PD, index.rows.path_N[first : first + len(block)], block)
    return sum_PD / np.maximum(np.linalg.norm(sum_PD, axis=1, keepdims=True), 1e-12)
