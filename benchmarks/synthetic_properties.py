"""What each property of the synthetic clips adds: trains on all of them, on all but one, and on none. A Markdown table.

    python benchmarks/synthetic_properties.py OUT --sets JHMDB WEIZMANN --steps 1000 --seeds 0

The encoders have seen no real video. They are compared within the training list of each set, whose recordings are split
several times into queries and gallery as in readout.py (pooled features, mean of 10 clips). OUT/ROW-seedS is a run; the
same command goes on after a kill.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
import tyro
from readout import measure

import unreel
from unreel.evaluation.feature_extraction import build_encoder_extractor, extract_features
from unreel.evaluation.labelled_videos import load_labelled_videos
from unreel.video.synthetic.drawn_video import ALL, NO
from unreel.video.synthetic.properties import SyntheticProperties

PROPERTIES = [field.name for field in fields(SyntheticProperties)]
ROWS = {
    "all": ALL,
    **{f"all but {name}": NO + name for name in PROPERTIES},
    "none": ",".join(NO + name for name in PROPERTIES),
}
LAYER, CENTRING = "pooled", "none"


@dataclass(frozen=True)
class Args:
    """Where the runs go, and what to compare their encoders on."""

    out: tyro.conf.Positional[Path]
    sets: tuple[Path, ...]
    """Labelled sets with train.txt."""
    steps: int = 1000
    seeds: tuple[int, ...] = (0,)
    splits: int = 5
    num_clips: int = 10


def train(run: Path, address: str, steps: int, seed: int) -> None:
    """As the base encoder is trained (its card has the command), but shorter; goes on with a run that was begun."""
    if run.exists():
        unreel.resume(run, quiet=True)
        return
    unreel.pretrain(
        f"synthetic://{address}", out=run, method="motion", augment="crop", init="none", steps=steps, seed=seed,
        threads=1, workers=0, device="cpu", quiet=True,
    )  # fmt: skip


def score(run: Path, data: Path, args: Args) -> np.ndarray:
    """R@1 and mAP (2,): means over the splits of the training list."""
    encoder = unreel.load_encoder(run)
    extractor = build_encoder_extractor(encoder, layers=(LAYER,))
    videos = load_labelled_videos(data).train
    features = extract_features(videos, encoder.spec, [extractor], args.num_clips, workers=1)
    scores = measure(features, args.splits, (LAYER,))
    (readout,) = [key for key in scores if key[1:] == (LAYER, CENTRING)]
    return scores[readout].mean(axis=0)


def format_cell(scores: list[np.ndarray]) -> str:
    """R@1 / mAP: the mean over seeds, with the standard deviation of R@1 where there are several."""
    r1, mean_precision = np.mean(scores, axis=0)
    spread = f" ± {np.std([score[0] for score in scores], ddof=1):.1f}" if len(scores) > 1 else ""
    return f"{r1:.1f}{spread} / {mean_precision:.1f}"


def main(args: Args) -> None:
    torch.set_num_threads(1)
    print(f"| properties | {' | '.join(f'{data.resolve().name}, R@1 / mAP' for data in args.sets)} |")
    print("|---" * (1 + len(args.sets)) + "|")
    for name, address in ROWS.items():
        cells: dict[Path, list[np.ndarray]] = {data: [] for data in args.sets}
        for seed in args.seeds:
            run = args.out / f"{name.replace(' ', '-')}-seed{seed}"
            train(run, address, args.steps, seed)
            for data in args.sets:
                cells[data].append(score(run, data, args))
        print(f"| {name} | {' | '.join(map(format_cell, cells.values()))} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
