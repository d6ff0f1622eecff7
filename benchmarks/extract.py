"""Feature extraction beside its two halves, in alternation: decoding alone, the encoder alone, both as in use.

    python benchmarks/extract.py DATA [--backbone tiny] [--rounds 5]

DATA is a folder of videos. All three process the same clips with the same processes and threads. A ratio of 1 means
that the whole is as fast as its slower half alone.
"""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import tyro
from timing import measure_seconds

from unreel.corpus.discovery import find_videos
from unreel.evaluation.feature_extraction import build_encoder_extractor, extract_features
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Instance
from unreel.video.loading.clip_dataset import ClipDataset
from unreel.video.loading.loaders import build_sequential_loader, default_num_workers
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec


@dataclasses.dataclass
class Args:
    """What to time."""

    data: tyro.conf.Positional[Path]
    backbone: str = "tiny"
    size: int = 64
    num_frames: int = 8
    num_clips: int = 10
    videos: int = 120
    rounds: int = 5
    workers: int = 0
    """0 means as many as `unreel evaluate` takes."""
    threads: int = 0
    """0 means torch's own choice."""
    device: str = "cpu"


def decode(clips: ClipDataset, workers: int) -> list[np.ndarray]:
    """The clips of every video, decoded as the whole decodes them."""
    return [np.asarray(s.frames) for s in build_sequential_loader(clips, workers) if s.frames is not None]


def measure(args: Args) -> tuple[int, int, dict[str, list[float]]]:
    """Videos, loader processes, and seconds of every round of decoding, of the encoder and of both."""
    if args.threads:
        torch.set_num_threads(args.threads)
    workers = args.workers or default_num_workers()
    torch.manual_seed(0)
    views = ViewSpec(("rgb", "residual"), args.size)
    spec = EncoderSpec(
        args.backbone, "untrained", ClipSpec(args.num_frames, fps=12.5, stride_frames=0, lead_in=1), views
    )
    encoder = Encoder(spec).to(args.device).eval()
    instances = [
        Instance(str(v.path), n, 0.0, float("inf")) for n, v in enumerate(find_videos(args.data)[: args.videos])
    ]
    clips = ClipDataset(instances, spec.clip, spec.views.resize_hw, args.num_clips)
    frames = decode(clips, workers)
    source = build_encoder_extractor(encoder)
    parts: dict[str, Callable[[], object]] = {
        "decoding alone": lambda: decode(clips, workers),
        "encoder alone": lambda: [source(f, n) for n, f in enumerate(frames)],
        "both, as in use": lambda: extract_features(instances, spec, [source], args.num_clips, workers=workers),
    }
    times_s: dict[str, list[float]] = {name: [] for name in parts}
    for name, work in list(parts.items()) * args.rounds:
        times_s[name].append(measure_seconds(work, args.device))
    return len(frames), workers, times_s


def main(args: Args) -> None:
    print_report(args, *measure(args))


def print_report(args: Args, count: int, workers: int, times_s: Mapping[str, Sequence[float]]) -> None:
    where = f"{args.backbone}, {args.num_frames} x {args.size} x {args.size}, {args.num_clips} clips of {count} videos"
    print(
        f"{where}; {args.device}, {torch.get_num_threads()} threads, {workers} loader processes, {args.rounds} rounds\n"
    )
    print("| what | videos/s, median (lowest to highest) |\n|---|---|")
    for name, values in times_s.items():
        rates = sorted(count / value for value in values)
        print(f"| {name} | {statistics.median(rates):.1f} ({rates[0]:.1f} to {rates[-1]:.1f}) |")
    decoding, encoding, whole = times_s.values()
    ratios = sorted(max(d, e) / w for d, e, w in zip(decoding, encoding, whole, strict=True))
    print(f"| whole / slower half | {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |")


if __name__ == "__main__":
    main(tyro.cli(Args))
