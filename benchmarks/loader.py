"""Our loader against plain PyAV decoding of the same windows in as many processes, in alternation.

    python benchmarks/loader.py DATA [--processes 1 2] [--num-frames 16] [--size 112] [--rounds 5]

DATA is a folder of videos. Plain decoding seeks by time to the key frame before a window, decodes to the end of the
window on one thread, scales the frames and throws them away: no index, no check, no batch, no communication between
processes. Our loader delivers batches to the training process and caches no frames. The heading says how often plain
decoding returns other pixels than ours, as it does where the times of a container are misleading.
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
    """Frames of one file: the second of the first one, and the numbers of the wanted ones, counted from it."""

    path: str
    start_s: float
    wanted: tuple[int, ...]


def list_windows(clips: ClipDataset, epoch: int, index: int) -> list[Window]:
    """The windows that our loader draws for an instance."""
    instance = clips.instances[index]
    times_s = index_frames(instance.path).times_s
    chosen = clips.sample_clips(clips.get_candidates(index, times_s), epoch, index)
    return [Window(instance.path, float(times_s[c[0]]), tuple((c - c[0]).tolist())) for c in chosen if c[-1] >= c[0]]


def decode_plain(window: Window, size: tuple[int, int]) -> np.ndarray:
    """The frames of a window, decoded by the obvious ten lines; uint8 (T, H, W, C)."""
    frames: list[np.ndarray] = []
    with av.open(window.path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        assert stream.time_base is not None
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
        decode_plain(window, size)


def time_plain(work: list[Window], size: tuple[int, int], processes: int) -> float:
    """Seconds from before the processes start to after the last has ended."""
    began_s = time.perf_counter()
    shares = [work[k::processes] for k in range(processes)]
    running = [multiprocessing.Process(target=decode_all, args=(share, size)) for share in shares]
    for process in running:
        process.start()
    for process in running:
        process.join()
    return time.perf_counter() - began_s


def time_loader(clips: ClipDataset, batch_size: int, epoch: int, processes: int) -> float:
    """Seconds of our loader for one pass, its processes' start and end included."""
    per_epoch = len(clips) // batch_size
    began_s = time.perf_counter()
    order = ResumableBatchSampler(len(clips), batch_size, 0, epoch * per_epoch, (epoch + 1) * per_epoch)
    for _ in build_training_loader(clips, order, processes, pin_memory=False):
        pass
    return time.perf_counter() - began_s


def compare_pixels(clips: ClipDataset, size: tuple[int, int], count: int = 8) -> str:
    """A sentence on how many of the first windows plain decoding gets wrong."""
    num_wrong = num_windows = 0
    for index in range(min(count, len(clips))):
        decoded = clips[(0, index)].frames
        for window, frames in zip(list_windows(clips, 0, index), decoded if decoded is not None else [], strict=False):
            num_windows += 1
            num_wrong += not np.array_equal(decode_plain(window, size), frames)
    return f"{num_wrong} of {num_windows} windows differ"


def main(args: Args) -> None:
    instances = [
        Instance(str(v.path), n, 0.0, float("inf")) for n, v in enumerate(find_videos(args.data)[: args.videos])
    ]
    instances = instances[: len(instances) // args.batch_size * args.batch_size]
    size = round(args.size * 8 / 7), round(args.size * 8 / 7 * 4 / 3)
    clips = ClipDataset(instances, ClipSpec(args.num_frames, stride_frames=args.stride_frames), size, args.num_clips, 0)
    work = {
        epoch: [w for i in range(len(instances)) for w in list_windows(clips, epoch, i)] for epoch in range(args.rounds)
    }
    setting = (
        f"{len(instances)} videos of {args.data.name}, {args.num_clips} clips of {args.num_frames} frames to {size}"
    )
    print(f"{setting}; {args.rounds} rounds; {compare_pixels(clips, size)} in plain decoding\n")
    print("| processes | plain PyAV, clips/s | our loader, clips/s | ours / plain, median (lowest to highest) |")
    print("|---|---|---|---|")
    for processes in args.processes:
        times_s = [
            (time_plain(work[epoch], size, processes), time_loader(clips, args.batch_size, epoch, processes))
            for epoch in range(args.rounds)
        ]
        count = len(work[0])
        rates = [statistics.median(count / s for s in column) for column in zip(*times_s, strict=True)]
        ratios = sorted(p / o for p, o in times_s)
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"| {processes} | {rates[0]:.1f} | {rates[1]:.1f} | {spread} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
