"""Indexing beside its two halves, in alternation: decoding alone, the encoder alone, `unreel index` as in use.

    python benchmarks/index.py DATA [--backbone tiny] [--rounds 5]

DATA is a folder of videos. All three process the same sliding clips with the same processes and threads. The whole is
the command, into an empty folder: it hashes the files and writes the parts, the vectors and the FAISS index. A ratio of
1 means that the whole is as fast as its slower half alone, which needs two free cores. Processor time does not depend
on other work of the machine; the time of the whole over the sum of both halves shows what the command adds.
"""

import dataclasses
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import tyro
from timing import measure_seconds

from unreel.corpus.discovery import find_videos
from unreel.embedding import load_encoder
from unreel.indexing.index.build_index import refresh_index
from unreel.indexing.store.clip_sampling import SlidingWindow
from unreel.indexing.store.processes import join_processes
from unreel.indexing.store.update import StoreUpdateOptions, update_store
from unreel.models.encoder.checkpoint_files import save_encoder
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Instance
from unreel.video.decoding.packet_index import clear_caches
from unreel.video.loading.loaders import build_sequential_loader
from unreel.video.loading.sliding_clips import SlidingClipDataset
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec


@dataclasses.dataclass
class Args:
    """What to time."""

    data: tyro.conf.Positional[Path]
    backbone: str = "tiny"
    size: int = 64
    num_frames: int = 8
    videos: int = 200
    """Number of videos, evenly spread over DATA; none may have more clips than one chunk (64)."""
    rounds: int = 5
    device: str = "cpu"


def decode(instances: list[Instance], spec: EncoderSpec, workers: int) -> list[np.ndarray]:
    """All clips of every video, decoded as the whole decodes them, each file as if opened for the first time."""
    clear_caches()
    clips = SlidingClipDataset([(video, 0) for video in instances], spec.clip, spec.views.resize_hw, 0.0)
    return [np.asarray(s.frames) for s in build_sequential_loader(clips, workers) if s.frames is not None]


def build_index(run: Path, source: Path, out: Path) -> None:
    """Do what `unreel index` does, into an empty folder."""
    clear_caches()
    shutil.rmtree(out, ignore_errors=True)
    update_store(run, source, out, SlidingWindow(), StoreUpdateOptions())
    refresh_index(out, load_encoder(run))


def measure(args: Args) -> tuple[int, int, int, dict[str, list[tuple[float, float]]]]:
    """Videos, clips, loader processes; (wall, processor) seconds of every round of the halves and the whole."""
    torch.manual_seed(0)
    views, clip = ViewSpec(("rgb", "residual"), args.size), ClipSpec(args.num_frames, 12.5, 0, lead_in=1)
    encoder = Encoder(EncoderSpec(args.backbone, "untrained", clip, views)).to(args.device).eval()
    paths = [str(video.path.absolute()) for video in find_videos(args.data)]
    chosen = [paths[len(paths) * k // args.videos] for k in range(min(args.videos, len(paths)))]
    instances = [Instance(path, n, 0.0, float("inf")) for n, path in enumerate(chosen)]
    _, _, workers = join_processes(1)
    frames = decode(instances, encoder.spec, workers)
    with tempfile.TemporaryDirectory(prefix="unreel-index-") as folder:
        run, source, out = Path(folder) / "encoder", Path(folder) / "videos.txt", Path(folder) / "index"
        run.mkdir()
        save_encoder(encoder, run)
        source.write_text("".join(f"{path}\n" for path in chosen))
        parts: dict[str, Callable[[], object]] = {
            "decoding alone": lambda: decode(instances, encoder.spec, workers),
            "encoder alone": lambda: [encoder.extract_features(torch.as_tensor(f)) for f in frames],
            "unreel index": lambda: build_index(run, source, out),
        }
        times_s: dict[str, list[tuple[float, float]]] = {name: [] for name in parts}
        for name, work in list(parts.items()) * args.rounds:
            before_s = measure_processor_s()
            times_s[name].append((measure_seconds(work, args.device), measure_processor_s() - before_s))
    return len(instances), sum(map(len, frames)), workers, times_s


def main(args: Args) -> None:
    print_report(args, *measure(args))


def measure_processor_s() -> float:
    """Processor seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def print_report(
    args: Args, videos: int, clips: int, workers: int, times_s: dict[str, list[tuple[float, float]]]
) -> None:
    print(f"{args.backbone}, {args.num_frames} x {args.size} x {args.size}; {clips} sliding clips of {videos} videos;")
    print(f"{args.device}, {torch.get_num_threads()} threads, {workers} loader processes, {args.rounds} rounds\n")
    print("| what | clips/s, median (lowest to highest) | processor, ms a clip |\n|---|---|---|")
    for name, values in times_s.items():
        processor_ms = [1000 * processor / clips for _, processor in values]
        print(
            f"| {name} | {format_spread([clips / wall for wall, _ in values], 1)} | {format_spread(processor_ms, 1)} |"
        )
    walls, busy = ([[value[k] for value in values] for values in times_s.values()] for k in (0, 1))
    speed = [max(d, e) / w for d, e, w in zip(*walls, strict=True)]
    added = [w / (d + e) for d, e, w in zip(*busy, strict=True)]
    print(f"| whole / slower half; whole / both halves | {format_spread(speed, 2)} | {format_spread(added, 2)} |")


def format_spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main(tyro.cli(Args))
