"""Export an index for labelling tools: FiftyOne and LightlyStudio."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from unreel.indexing.export.described_rows import iterate_rows
from unreel.indexing.export.files import to_numpy, write_folder
from unreel.indexing.index.clip_index import Index
from unreel.indexing.index.vectors import iterate_blocks
from unreel.io.atomic_write import atomic_write_csv

DEFAULT_LABEL = "clip"  # of a clip without a label: both tools require one


def to_fiftyone(index: Index, target: Path) -> None:
    """A FiftyOneTemporalDetectionDataset: labels.json names each video and its clips; beside it vectors.npy, rows.csv.

    Read it by fiftyone.Dataset.from_dir(dataset_dir=PLACE,
    dataset_type=fiftyone.types.FiftyOneTemporalDetectionDataset). A clip's attribute `row` is its row in vectors.npy.
    """

    def fill(folder: Path) -> None:
        to_numpy(index, folder / "embeddings")
        labels: dict[str, list[dict[str, Any]]] = {path: [] for path in index.rows.paths}
        for row in iterate_rows(index):
            timestamps, label = [row["start_s"], row["end_s"]], row["label"] or DEFAULT_LABEL
            labels[row["video"]].append({"label": label, "timestamps": timestamps, "attributes": {"row": row["row"]}})
        classes = sorted({clip["label"] for clips in labels.values() for clip in clips})
        (folder / "labels.json").write_text(json.dumps({"classes": classes, "labels": labels}))
        (folder / "data").mkdir()  # FiftyOne requires it; it stays empty, since videos have absolute paths

    write_folder(target, fill)


def to_lightly(index: Index, target: Path) -> None:
    """For LightlyStudio: a folder of embeddings.csv, a unit vector per video, and events.json, an event per clip.

    embeddings.csv has Lightly's columns filenames, embedding_0, ..., labels (always 0); a vector is the mean of the
    video's clips. events.json has ActivityNet's result format, by the stem of each file name, so LightlyStudio takes no
    two videos with the same stem. examples/lightlystudio.py loads both.
    """

    def fill(folder: Path) -> None:
        mean_PD = compute_video_means(index)
        lines = ([path, *(f"{x:.7g}" for x in mean_PD[n]), 0] for n, path in enumerate(index.rows.paths))
        columns = ["filenames", *(f"embedding_{n}" for n in range(mean_PD.shape[1])), "labels"]
        atomic_write_csv(folder / "embeddings.csv", columns, lines)
        events: dict[str, list[dict[str, Any]]] = {}
        for row in iterate_rows(index):
            event = {"label": row["label"] or DEFAULT_LABEL, "segment": [row["start_s"], row["end_s"]]}
            events.setdefault(Path(row["video"]).stem, []).append(event)
        (folder / "events.json").write_text(json.dumps({"results": events}))

    write_folder(target, fill)


def compute_video_means(index: Index) -> np.ndarray:
    """The mean of each video's rows, scaled to length 1, (P, D)."""
    sum_PD = np.zeros((len(index.rows.paths), index.vectors_ND.shape[1]), np.float64)
    for first, block in iterate_blocks(index.vectors_ND):
        np.add.at(sum_PD, index.rows.path_N[first : first + len(block)], block)
    return sum_PD / np.maximum(np.linalg.norm(sum_PD, axis=1, keepdims=True), 1e-12)
