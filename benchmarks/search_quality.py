"""Precision of a search: the share of the first ten hits that show what the example shows, on labelled videos.

    python benchmarks/search_quality.py ENCODER DATA [DATA ...]

DATA has train.txt, which is indexed, and test.txt, each whole video of which is an example, as `unreel search INDEX
VIDEO` would take it. A hit is a moment of a training video; it is right if the label is that of the example. ENCODER is
a run, a checkpoint or `base`.
"""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import torch
import tyro

import unreel
from unreel.evaluation.labelled_videos import load_labelled_videos


@dataclasses.dataclass
class Args:
    """What to search with, and in what."""

    encoder: tyro.conf.Positional[Path]
    data: tyro.conf.Positional[tuple[Path, ...]]
    count: int = 10
    threads: int = 1


def measure_precision(encoder: Path, data: Path, count: int, folder: Path) -> str:
    """A row of the table."""
    out = folder / data.resolve().name
    unreel.index(encoder, data / "train.txt", out)
    index, query_encoder = unreel.open_index(out), unreel.load_encoder(encoder)
    videos = load_labelled_videos(data)
    label_by_path = {video.path: video.label for video in videos.train}
    right_QK = []
    for video in videos.test:
        query = unreel.SearchQuery((unreel.Moment(video.path),))
        hits = unreel.search(index, query, unreel.HitOptions(count), query_encoder)
        right_QK.append([label_by_path[hit.path] == video.label for hit in hits])
    share_K = 100 * np.array(right_QK).mean(axis=0)
    return f"| {out.name} | {len(right_QK)} | {share_K[0]:.1f} | {share_K.mean():.1f} |"


def main(args: Args) -> None:
    torch.set_num_threads(args.threads)
    print(f"| set | examples | P@1 | P@{args.count} |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for data in args.data:
            print(measure_precision(args.encoder, data, args.count, Path(folder)), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
