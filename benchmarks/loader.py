"""Our loader against plain PyAV decoding of the very same windows in the same number of processes, in alternation.

    python benchmarks/loader.py DATA [--processes 1 2] [--num-frames 16] [--size 112] [--rounds 5]

DATA is a folder of videos. Plain decoding seeks to the key frame before a window by its time, decodes up to its end on
one thread, scales the frames of the window and throws them away: no index, no check, no batch, nothing sent between
processes. Ours delivers batches to the training process and keeps nothing decoded. Where plain decoding returns other
pixels than ours, which happens where a container's times mislead it, the table says how often.
"""

import dataclasses
import multiprocessing
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import torch
import tyro

from unreel.corpus.discovery import find_videos
from unreel.types import Instance
from unreel.video.decoding.packet_index import index_frames
from unreel.video.loading.clip_dataset import ClipDataset
from unreel.video.loading.loaders import build_training_loader
from unreel.video.sampling.batch_sampler import ResumableBatchSampler
from unreel.video.sampling.clip_spec import ClipSpec


@dataclasses.dataclass
class Args:
    """What to time."""

    data: tyro.conf.Positional[Path]
    processes: tuple[int, ...] = (1, 2)
    num_frames: int = 16
    stride_frames: int = 1
    size: int = 112
    num_clips: int = 1
    batch_size: int = 8
    videos: int = 200
    rounds: int = 5


class Window(NamedTuple):
    """Frames of one file: the seconds of the first one, and which of those that follow are wanted."""

    path: str
    start_s: float
    wanted: tuple[int, ...]


def windows(clips: ClipDataset, epoch: int, index: int) -> list[Window]:
    """The windows that our loader draws for an instance."""
    instance = clips.instances[index]
    times_s = index_frames(instance.path).times_s
    chosen = clips.sample_clips(times_s, instance, epoch, index)
    return [Window(instance.path, float(times_s[c[0]]), tuple((c - c[0]).tolist())) for c in chosen if c[-1] >= c[0]]


def plain(window: Window, size: tuple[int, int]) -> np.ndarray:
    """The window's frames, as one writes it in ten lines; uint8 (T, H, W, C)."""
    frames: list[np.ndarray] = []
    with av.open(window.path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        container.seek(int(window.start_s / stream.time_base), stream=stream)
        number = 0
        for frame in container.decode(stream):
            if frame.time is None or frame.time < window.start_s - 1e-3:
                continue
            if number in window.wanted:
                frames.append(frame.reformat(size[1], size[0], "rgb24", interpolation="BILINEAR").to_ndarray())
            number += 1
            if number > window.wanted[-1]:
                break
    return np.stack(frames) if frames else np.zeros((0, *size, 3), np.uint8)


def decode_all(share: list[Window], size: tuple[int, int]) -> None:
    torch.set_num_threads(1)
    for window in share:
        plain(window, size)


def plain_s(work: list[Window], size: tuple[int, int], processes: int) -> float:
    """Seconds from before the processes start to after the last has ended."""
    began_s = time.perf_counter()
    shares = [work[k::processes] for k in range(processes)]
    running = [multiprocessing.Process(target=decode_all, args=(share, size)) for share in shares]
    for process in running:
        process.start()
    for process in running:
        process.join()
    return time.perf_counter() - began_s


def loader_s(clips: ClipDataset, batch_size: int, epoch: int, processes: int) -> float:
    """Seconds of our loader for one pass, its processes' start and end included."""
    per_epoch = len(clips) // batch_size
    began_s = time.perf_counter()
    order = ResumableBatchSampler(len(clips), batch_size, 0, epoch * per_epoch, (epoch + 1) * per_epoch)
    for _ in build_training_loader(clips, order, processes, pin_memory=False):
        pass
    return time.perf_counter() - began_s


def differing(clips: ClipDataset, size: tuple[int, int], count: int = 8) -> str:
    """How many of some windows plain decoding gets wrong."""
    wrong = looked = 0
    for index in range(min(count, len(clips))):
        ours = clips[(0, index)].frames
        for window, mine in zip(windows(clips, 0, index), ours if ours is not None else [], strict=False):
            looked += 1
            wrong += not np.array_equal(plain(window, size), mine)
    return f"{wrong} of {looked} windows differ"


def main(args: Args) -> None:
    found = [Instance(str(v.path), n, 0.0, float("inf")) for n, v in enumerate(find_videos(args.data)[: args.videos])]
    found = found[: len(found) // args.batch_size * args.batch_size]
    size = round(args.size * 8 / 7), round(args.size * 8 / 7 * 4 / 3)
    clips = ClipDataset(found, ClipSpec(args.num_frames, stride_frames=args.stride_frames), size, args.num_clips, 0)
    work = {epoch: [w for i in range(len(found)) for w in windows(clips, epoch, i)] for epoch in range(args.rounds)}
    what = f"{len(found)} videos of {args.data.name}, {args.num_clips} clips of {args.num_frames} frames to {size}"
    print(f"{what}; {args.rounds} rounds; {differing(clips, size)} in plain decoding\n")
    print("| processes | plain PyAV, clips/s | our loader, clips/s | ours / plain, median (lowest to highest) |")
    print("|---|---|---|---|")
    for processes in args.processes:
        taken = [
            (plain_s(work[epoch], size, processes), loader_s(clips, args.batch_size, epoch, processes))
            for epoch in range(args.rounds)
        ]
        count = len(work[0])
        rates = [statistics.median(count / s for s in column) for column in zip(*taken, strict=True)]
        ratios = sorted(p / o for p, o in taken)
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"| {processes} | {rates[0]:.1f} | {rates[1]:.1f} | {spread} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
