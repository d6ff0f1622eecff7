"""Instances in, batches of decoded clips out: one open file and one pass over it for all clips of an instance."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from unreel.errors import VideoError
from unreel.types import Clips, Instance
from unreel.video.clips import (
    ClipSpec,
    evenly_spread,
    every_frame,
    paired_clips,
    random_clip,
)
from unreel.video.file import index_frames, read
from unreel.video.frame_cache import FrameCache
from unreel.video.intervals import Interval
from unreel.video.order import Batches, generator
from unreel.video.processes import Limits, end_with
from unreel.video.watch import Watch

FILE_LIMIT_S = Limits().file_limit_s
T = TypeVar("T")


@dataclass
class Sample:
    """Decoded clips of one instance, uint8 (V, T, H, W, C) with the seconds of each, or why there are none.

    With several draws those of each stand side by side: V is draws x clips.
    """

    index: int
    epoch: int
    frames: np.ndarray | torch.Tensor | None
    spans_s: np.ndarray | torch.Tensor | None = None
    failed: tuple[str, str] | None = None


class Shown(NamedTuple):
    """What clips of an instance may show: `every` frame number at their rate, ascending, and the `distinct` ones.

    `times_s` are those of all frames of the file, `frame_s` is how long one stays on, 0 for a single frame.
    """

    times_s: np.ndarray
    frame_s: float
    every: np.ndarray
    distinct: np.ndarray


def read_clips(decode: Callable[[np.ndarray], np.ndarray], clips: Sequence[np.ndarray]) -> np.ndarray:
    """All clips (lists of frame numbers) of a file by one call of `decode`; uint8 (V, T, H, W, C)."""
    wanted, where = np.unique(np.concatenate(clips), return_inverse=True)
    frames = decode(wanted)
    return frames[where].reshape(len(clips), len(clips[0]), *frames.shape[1:])


def spans_s(shown: Shown, clips: Sequence[np.ndarray], lead_in: int) -> np.ndarray:
    """First and last second that each clip shows, float64 (V, 2); a looped clip spans the whole short video."""
    times_s = shown.times_s
    return np.array([(times_s[c[lead_in:].min()], times_s[c.max()] + shown.frame_s) for c in clips])


class InstanceClips(Dataset[Sample]):
    """Clips of instances. Items are (epoch, index).

    With a `seed`, `num_clips` starts are drawn from f(seed, epoch, index); without, they are evenly spread. Two of them
    are drawn as a pair where `interval` says so. `cache_mb` of frames, in all loader processes together, are decoded
    once and kept; that changes nothing but time. With `draws` above 1 an opened video gives so many rows of a batch,
    each drawn as if it were an instance of its own (repeated augmentation: Hoffer et al. 2020).
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        spec: ClipSpec,
        size: tuple[int, int],
        num_clips: int,
        seed: int | None = None,
        interval: Interval = Interval(),  # noqa: B008  # frozen
        cache_mb: int = 0,
        draws: int = 1,
    ) -> None:
        self.instances, self.spec, self.size, self.num_clips, self.seed = instances, spec, size, num_clips, seed
        self.interval, self.draws = interval, draws
        self.cache = FrameCache(cache_mb, size, len(instances))
        self.shown: dict[int, Shown] = {}
        self.watch: Watch | None = None
        self.refused: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.instances)

    def leave_out(self, bad: Mapping[str, str]) -> None:
        """Don't open these files (path: why) again: in this process, and in those that are forked from now on."""
        self.refused |= {n: bad[who.path] for n, who in enumerate(self.instances) if who.path in bad}

    def __getitem__(self, item: tuple[int, int]) -> Sample:
        epoch, index = item
        if index in self.refused:
            return Sample(index, epoch, None, failed=(self.instances[index].path, self.refused[index]))
        try:
            with self.watch.at(index) if self.watch else nullcontext():
                return self.drawn(epoch, index)
        except MemoryError:
            why = self.watch.limits.out_of_memory if self.watch else "reading it takes more memory than there is"
            return Sample(index, epoch, None, failed=(self.instances[index].path, f"damaged: {why}"))

    def drawn(self, epoch: int, index: int) -> Sample:
        """The frames of an instance's clips; a sample without when its file can't be read."""
        instance = self.instances[index]
        try:
            times_s = index_frames(instance.path).times_s
            shown = self.shows(index, times_s)
            clips = [c for draw in range(self.draws) for c in self.choose(shown, epoch, index, draw)]
            frames = read_clips(lambda wanted: self.decode(shown, index, wanted), clips)
        except VideoError as error:
            return Sample(index, epoch, None, failed=(error.path, f"{error.reason}: {error.detail}".rstrip(": ")))
        return Sample(index, epoch, frames, spans_s(shown, clips, self.spec.lead_in))

    def shows(self, index: int, times_s: np.ndarray) -> Shown:
        """The frames that clips of an instance may show; remembered of those that are kept decoded."""
        shown = self.shown.get(index)
        if shown is None or shown.times_s is not times_s:  # new, or the file has changed
            instance = self.instances[index]
            every = every_frame(times_s, self.spec, instance.start_s, instance.end_s)
            frame_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.0
            shown = Shown(times_s, frame_s, every, np.unique(every))
            if self.cache.keeps(index):
                self.shown[index] = shown
        return shown

    def decode(self, shown: Shown, index: int, wanted: np.ndarray) -> np.ndarray:
        """These frames (ascending) of an instance, uint8 (len(wanted), H, W, C), from memory where they are kept."""
        path = self.instances[index].path
        if not self.cache.budget_mb:
            return read(path, wanted, self.size)
        return self.cache.frames(index, wanted, shown.distinct, lambda numbers: read(path, numbers, self.size))

    def choose(self, shown: Shown, epoch: int, index: int, draw: int = 0) -> list[np.ndarray]:
        """The frame numbers of each clip of an instance, in one of its draws."""
        every = shown.every
        if self.seed is None:
            return evenly_spread(every, self.spec, self.num_clips)
        if self.num_clips == 2 and self.interval.kind != "independent":
            u = generator(self.seed, epoch, self.drawing(index, draw), "interval").random(3)
            return paired_clips(every, self.spec, self.interval, u)
        starts = generator(self.seed, epoch, self.drawing(index, draw), "start").random(self.num_clips)
        return [random_clip(every, self.spec, float(u)) for u in starts]

    def drawing(self, index: int, draw: int) -> int:
        """Whose chance a draw takes: the instance's own at first, then numbers that no instance has."""
        return index + draw * len(self.instances)

    def collate(self, samples: list[Sample]) -> Clips:
        """One batch, the draws of a video side by side; samples that failed are left out and named."""
        good = [s for s in samples if s.frames is not None]
        rows = [(s.index, draw) for s in good for draw in range(self.draws)]
        who = [self.instances[index] for index, _ in rows]
        frames = [part for s in good for part in torch.from_numpy(s.frames).split(self.num_clips)]
        return Clips(
            frames=torch.stack(frames) if frames else torch.zeros(0, self.num_clips, 0, 0, 0, 3, dtype=torch.uint8),
            index_B=torch.tensor([index for index, _ in rows], dtype=torch.int64),
            video_B=torch.tensor([i.video for i in who], dtype=torch.int64),
            start_s_B=torch.tensor([i.start_s for i in who], dtype=torch.float64),
            epoch=samples[0].epoch,
            failed=[s.failed for s in samples if s.failed is not None],
            draw_B=torch.tensor([self.drawing(*row) for row in rows], dtype=torch.int64),
        )


def default_workers() -> int:
    """One loader process for each core but one, at most 8."""
    return max(1, min(8, (os.cpu_count() or 2) - 1))


def _quiet_worker(_worker: int) -> None:
    """One thread each; Ctrl-C is the main process's to handle, and the end of a file's time ends the process."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    end_with(os.getppid())  # torch's own watch would wait for ever to hand over what the killed parent never takes


def most_batches(workers: int, ahead: int) -> int:
    """Batches in memory at one time: those that processes have ready or under way, and the one that is used."""
    return workers * ahead + 1


def training_loader(
    clips: InstanceClips, batches: Batches, workers: int, pin_memory: bool, ahead: int = 2
) -> Iterable[Clips]:
    """Batches of `Clips` in the order of `batches`, whatever the number of workers; `most_batches` at a time."""
    return DataLoader(
        clips,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=clips.collate,
        worker_init_fn=_quiet_worker,
        pin_memory=pin_memory,
        prefetch_factor=ahead if workers else None,
    )


def surviving_loader(
    clips: InstanceClips,
    batches: Batches,
    workers: int,
    pin_memory: bool,
    ahead: int = 2,
    limit_s: float = FILE_LIMIT_S,
) -> Iterator[Clips]:
    """`training_loader` that goes on without a file that a loader process died of, or did not end with in `limit_s`."""

    def after(done: int) -> Iterable[Clips]:
        return training_loader(clips, batches.later(done), workers, pin_memory, ahead)

    return _surviving(clips, workers, Limits(limit_s), after)


def sequential_loader(
    clips: InstanceClips,
    workers: int,
    limits: Limits = Limits(),  # noqa: B008  # frozen
) -> Iterator[Sample]:
    """Every instance once, in order, one `Sample` at a time (videos differ in nothing but their clips).

    A file that a process died of, or did not end with within the limits, is a sample without frames. 0 workers are for
    tests and debugging: what crashes this process can't be survived.
    """

    def after(done: int) -> Iterable[Sample]:
        return DataLoader(
            clips,
            sampler=[(0, i) for i in range(done, len(clips))],
            batch_size=None,
            collate_fn=in_shared_memory,  # type: ignore[arg-type]  # of one sample, as there are no batches
            num_workers=workers,
            worker_init_fn=_quiet_worker,
            prefetch_factor=4 if workers else None,
        )

    return _surviving(clips, workers, limits, after)


def in_shared_memory(sample: Sample) -> Sample:
    """Arrays as tensors, which travel outside the pipe: a process that dies may leave half a message in it, and the
    reader would wait for the other half.
    """
    if sample.frames is None or sample.spans_s is None:
        return sample
    return replace(sample, frames=torch.from_numpy(sample.frames), spans_s=torch.from_numpy(sample.spans_s))


def _surviving(clips: InstanceClips, workers: int, limits: Limits, after: Callable[[int], Iterable[T]]) -> Iterator[T]:
    """What `after(0)` gives, item by item; a file that ends a process is refused, and `after` asked for what is left.

    Raises RunError when a process was ended from outside, which is no file's fault.
    """
    done = 0
    while True:
        clips.watch = Watch(workers, clips.instances, limits)
        running = iter(after(done))
        deaths_are_found_here()
        try:
            for item in running:
                yield item
                done += 1
            return
        except (RuntimeError, OSError, EOFError):  # what is said of a process that died depends on when it did
            culprit = clips.watch.culprit(getattr(running, "_workers", []))
            if culprit is None:
                raise
            del running  # ends the other processes
        clips.leave_out({clips.instances[culprit[0]].path: culprit[1]})


def deaths_are_found_here() -> None:
    """Torch would raise the death of a loader process wherever the main thread is, in the middle of a step too.

    Without that it is found while waiting for a batch, some seconds later.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
