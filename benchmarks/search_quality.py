"""Precision of a search: the share of the first ten hits that show what the example shows, on labelled videos.

    python benchmarks/search_quality.py ENCODER DATA [DATA ...]

DATA has train.txt, which is indexed, and test.txt, each whole video of which is an example, as `unreel search INDEX
VIDEO` would take it. A hit is a moment of a training video; it is right if the label is that of the example. ENCODER is
a run, a checkpoint or `base`. The second table says what the percentile of a hit is worth (`closer than`).
"""

import dataclasses
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import tyro

import unreel
from unreel.evaluation.labelled_videos import load_labelled_videos
from unreel.indexing.index.clip_index import load_query_encoder
from unreel.video.sources.paths import absolute_path


@dataclasses.dataclass
class Args:
    """What to search with, and in what."""

    encoder: tyro.conf.Positional[Path]
    data: tyro.conf.Positional[tuple[Path, ...]]
    count: int = 10
    appearance: str = ""
    """An image model beside the encoder, as of `unreel index --appearance`."""
    threads: int = 1


BANDS = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 100.1)  # of percentiles


def measure_precision(args: Args, data: Path, folder: Path) -> tuple[str, str]:
    """A row of each table."""
    out = folder / data.resolve().name
    unreel.index(args.encoder, data / "train.txt", out, appearance=args.appearance)
    index = unreel.open_index(out)
    query_encoder = load_query_encoder(out, index.metadata)
    videos = load_labelled_videos(data)
    label_by_path = {absolute_path(video.path): video.label for video in videos.train}
    right_QK, percentile_QK = [], []
    for video in videos.test:
        query = unreel.SearchQuery((unreel.Moment(video.path),))
        hits = unreel.search(index, query, unreel.HitOptions(args.count), query_encoder)
        right_QK.append([label_by_path[hit.path] == video.label for hit in hits])
        percentile_QK.append([hit.percentile for hit in hits])
    right, percentile = 100 * np.array(right_QK), np.array(percentile_QK, dtype=np.float64)
    cells = [f"{out.name}", f"{len(right)}", f"{right[:, 0].mean():.1f}", f"{right.mean():.1f}"]
    return format_row(cells), format_row([out.name, *list_bands(right, percentile)])


def list_bands(right: np.ndarray, percentile: np.ndarray) -> list[str]:
    """The share of right hits in each band of percentiles, with their number."""
    cells = []
    for low, high in pairwise(BANDS):
        chosen = right[(percentile >= low) & (percentile < high)]
        cells.append(f"{chosen.mean():.1f} ({len(chosen)})" if len(chosen) else "none")
    return cells


def format_row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(args: Args) -> None:
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure_precision(args, data, Path(folder)) for data in args.data]
    bands = [f"closer than {low:.0f} to {min(high, 100):.0f} %" for low, high in pairwise(BANDS)]
    for header, lines in zip(
        (["set", "examples", "P@1", f"P@{args.count}"], ["set, % right (hits)", *bands]),
        zip(*rows, strict=True),
        strict=True,
    ):
        print("\n".join([format_row(header), format_row(["---"] * len(header)), *lines, ""]))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
