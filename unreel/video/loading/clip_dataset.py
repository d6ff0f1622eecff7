"""Instances in, batches of decoded clips out: one open file and one pass over it for all clips of an instance."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from unreel.errors import VideoError
from unreel.io.limits import Limits
from unreel.io.worker_process import exit_with_parent
from unreel.seeding import make_generator
from unreel.types import Clips, FileFailure, Instance
from unreel.video.decoding.decoder import read_frames
from unreel.video.decoding.packet_index import index_frames
from unreel.video.loading.frame_cache import FrameCache
from unreel.video.loading.worker_watchdog import WorkerWatchdog
from unreel.video.sampling.batch_sampler import ResumableBatchSampler
from unreel.video.sampling.pair_sampling import IntervalDistribution
from unreel.video.sampling.timeline import (
    ClipSpec,
    list_candidate_frames,
    sample_clip_pair,
    sample_random_clip,
    sample_uniform_clips,
)

FILE_LIMIT_S = Limits().file_limit_s
T = TypeVar("T")


@dataclass
class ClipSample:
    """Decoded clips of one instance, uint8 (V, T, H, W, C) with the seconds of each, or why there are none.

    With several draws those of each stand side by side: V is draws x clips.
    """

    index: int
    epoch: int
    frames: np.ndarray | torch.Tensor | None
    spans_s: np.ndarray | torch.Tensor | None = None
    failure: FileFailure | None = None


class CandidateFrames(NamedTuple):
    """What clips of an instance may show: `every` frame number at their rate, ascending, and the `distinct` ones.

    `times_s` are those of all frames of the file, `frame_s` is how long one stays on, 0 for a single frame.
    """

    times_s: np.ndarray
    frame_s: float
    frame_numbers: np.ndarray
    unique_numbers: np.ndarray


def decode_clips(decode: Callable[[np.ndarray], np.ndarray], clips: Sequence[np.ndarray]) -> np.ndarray:
    """All clips (lists of frame numbers) of a file by one call of `decode`; uint8 (V, T, H, W, C)."""
    wanted, where = np.unique(np.concatenate(clips), return_inverse=True)
    frames = decode(wanted)
    return frames[where].reshape(len(clips), len(clips[0]), *frames.shape[1:])


def compute_spans(candidates: CandidateFrames, clips: Sequence[np.ndarray], lead_in: int) -> np.ndarray:
    """First and last second that each clip shows, float64 (V, 2); a looped clip spans the whole short video."""
    times_s = candidates.times_s
    return np.array([(times_s[c[lead_in:].min()], times_s[c.max()] + candidates.frame_s) for c in clips])


class ClipDataset(Dataset[ClipSample]):
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
        interval: IntervalDistribution = IntervalDistribution(),  # noqa: B008  # frozen
        cache_mb: int = 0,
        num_draws: int = 1,
    ) -> None:
        self.instances, self.spec, self.size, self.num_clips, self.seed = instances, spec, size, num_clips, seed
        self.interval, self.num_draws = interval, num_draws
        self.cache = FrameCache(cache_mb, size, len(instances))
        self.candidates: dict[int, CandidateFrames] = {}
        self.watchdog: WorkerWatchdog | None = None
        self.excluded_failures: dict[int, FileFailure] = {}

    def __len__(self) -> int:
        return len(self.instances)

    def exclude_files(self, failures: Iterable[FileFailure]) -> None:
        """Don't open these files again: in this process, and in those that are forked from now on."""
        by_path = {failure.path: failure for failure in failures}
        rows = enumerate(self.instances)
        self.excluded_failures |= {n: by_path[row.path] for n, row in rows if row.path in by_path}

    def __getitem__(self, item: tuple[int, int]) -> ClipSample:
        epoch, index = item
        if index in self.excluded_failures:
            return ClipSample(index, epoch, None, failure=self.excluded_failures[index])
        try:
            with self.watchdog.track(index) if self.watchdog else nullcontext():
                return self.load_sample(epoch, index)
        except MemoryError:
            limits = self.watchdog.limits if self.watchdog else None
            detail = limits.build_memory_failure().detail if limits else "reading it takes more memory than there is"
            return ClipSample(index, epoch, None, failure=FileFailure(self.instances[index].path, "damaged", detail))

    def load_sample(self, epoch: int, index: int) -> ClipSample:
        """The frames of an instance's clips; a sample without when its file can't be read."""
        instance = self.instances[index]
        try:
            times_s = index_frames(instance.path).times_s
            shown = self.get_candidates(index, times_s)
            clips = [c for draw in range(self.num_draws) for c in self.sample_clips(shown, epoch, index, draw)]
            frames = decode_clips(lambda wanted: self.decode_frames(shown, index, wanted), clips)
        except VideoError as error:
            return ClipSample(index, epoch, None, failure=FileFailure.from_error(error))
        return ClipSample(index, epoch, frames, compute_spans(shown, clips, self.spec.lead_in))

    def get_candidates(self, index: int, times_s: np.ndarray) -> CandidateFrames:
        """The frames that clips of an instance may show; remembered of those that are kept decoded."""
        shown = self.candidates.get(index)
        if shown is None or shown.times_s is not times_s:  # new, or the file has changed
            instance = self.instances[index]
            every = list_candidate_frames(times_s, self.spec, instance.start_s, instance.end_s)
            frame_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.0
            shown = CandidateFrames(times_s, frame_s, every, np.unique(every))
            if self.cache.is_cached(index):
                self.candidates[index] = shown
        return shown

    def decode_frames(self, candidates: CandidateFrames, index: int, frame_numbers: np.ndarray) -> np.ndarray:
        """These frames (ascending) of an instance, uint8 (len(wanted), H, W, C), from memory where they are kept."""
        path = self.instances[index].path
        if not self.cache.budget_mb:
            return read_frames(path, frame_numbers, self.size)
        return self.cache.get_frames(
            index, frame_numbers, candidates.unique_numbers, lambda numbers: read_frames(path, numbers, self.size)
        )

    def sample_clips(self, candidates: CandidateFrames, epoch: int, index: int, draw: int = 0) -> list[np.ndarray]:
        """The frame numbers of each clip of an instance, in one of its draws."""
        every = candidates.frame_numbers
        if self.seed is None:
            return sample_uniform_clips(every, self.spec, self.num_clips)
        if self.num_clips == 2 and self.interval.kind != "independent":
            u = make_generator(self.seed, epoch, self.get_rng_index(index, draw), "interval").random(3)
            return sample_clip_pair(every, self.spec, self.interval, u)
        starts = make_generator(self.seed, epoch, self.get_rng_index(index, draw), "start").random(self.num_clips)
        return [sample_random_clip(every, self.spec, float(u)) for u in starts]

    def get_rng_index(self, index: int, draw: int) -> int:
        """Whose chance a draw takes: the instance's own at first, then numbers that no instance has."""
        return index + draw * len(self.instances)

    def collate(self, samples: list[ClipSample]) -> Clips:
        """One batch, the draws of a video side by side; samples that failed are left out and named."""
        good = [s for s in samples if s.frames is not None]
        rows = [(s.index, draw) for s in good for draw in range(self.num_draws)]
        who = [self.instances[index] for index, _ in rows]
        frames = [part for s in good for part in torch.from_numpy(s.frames).split(self.num_clips)]
        return Clips(
            frames=torch.stack(frames) if frames else torch.zeros(0, self.num_clips, 0, 0, 0, 3, dtype=torch.uint8),
            index_B=torch.tensor([index for index, _ in rows], dtype=torch.int64),
            video_B=torch.tensor([i.video for i in who], dtype=torch.int64),
            start_s_B=torch.tensor([i.start_s for i in who], dtype=torch.float64),
            epoch=samples[0].epoch,
            failures=[s.failure for s in samples if s.failure is not None],
            draw_B=torch.tensor([self.get_rng_index(*row) for row in rows], dtype=torch.int64),
        )


def default_num_workers() -> int:
    """One loader process for each core but one, at most 8."""
    return max(1, min(8, (os.cpu_count() or 2) - 1))


def _init_worker(_worker: int) -> None:
    """One thread each; Ctrl-C is the main process's to handle, and the end of a file's time ends the process."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    exit_with_parent(
        os.getppid()
    )  # torch's own watch would wait for ever to hand over what the killed parent never takes


def count_batches_in_memory(workers: int, prefetch_factor: int) -> int:
    """Batches in memory at one time: those that processes have ready or under way, and the one that is used."""
    return workers * prefetch_factor + 1


def build_training_loader(
    dataset: ClipDataset, batch_sampler: ResumableBatchSampler, workers: int, pin_memory: bool, prefetch_factor: int = 2
) -> Iterable[Clips]:
    """Batches of `Clips` in the order of `batches`, whatever the number of workers; `most_batches` at a time."""
    return DataLoader(
        dataset,
        batch_sampler=batch_sampler,
        num_workers=workers,
        collate_fn=dataset.collate,
        worker_init_fn=_init_worker,
        pin_memory=pin_memory,
        prefetch_factor=prefetch_factor if workers else None,
    )


def build_resilient_loader(
    dataset: ClipDataset,
    batch_sampler: ResumableBatchSampler,
    workers: int,
    pin_memory: bool,
    prefetch_factor: int = 2,
    file_limit_s: float = FILE_LIMIT_S,
) -> Iterator[Clips]:
    """`training_loader` that goes on without a file that a loader process died of, or did not end with in `limit_s`."""

    def after(done: int) -> Iterable[Clips]:
        return build_training_loader(dataset, batch_sampler.skip_steps(done), workers, pin_memory, prefetch_factor)

    return _iterate_resilient(dataset, workers, Limits(file_limit_s), after)


def build_sequential_loader(
    dataset: ClipDataset,
    workers: int,
    limits: Limits = Limits(),  # noqa: B008  # frozen
) -> Iterator[ClipSample]:
    """Every instance once, in order, one `Sample` at a time (videos differ in nothing but their clips).

    A file that a process died of, or did not end with within the limits, is a sample without frames. 0 workers are for
    tests and debugging: what crashes this process can't be survived.
    """

    def after(done: int) -> Iterable[ClipSample]:
        return DataLoader(
            dataset,
            sampler=[(0, i) for i in range(done, len(dataset))],
            batch_size=None,
            collate_fn=move_to_shared_memory,  # type: ignore[arg-type]  # of one sample, as there are no batches
            num_workers=workers,
            worker_init_fn=_init_worker,
            prefetch_factor=4 if workers else None,
        )

    return _iterate_resilient(dataset, workers, limits, after)


def move_to_shared_memory(sample: ClipSample) -> ClipSample:
    """Arrays as tensors, which travel outside the pipe: a process that dies may leave half a message in it, and the
    reader would wait for the other half.
    """
    if sample.frames is None or sample.spans_s is None:
        return sample
    return replace(sample, frames=torch.from_numpy(sample.frames), spans_s=torch.from_numpy(sample.spans_s))


def _iterate_resilient(
    dataset: ClipDataset, workers: int, limits: Limits, make_loader: Callable[[int], Iterable[T]]
) -> Iterator[T]:
    """What `after(0)` gives, item by item; a file that ends a process is refused, and `after` asked for what is left.

    Raises RunError when a process was ended from outside, which is no file's fault.
    """
    done = 0
    while True:
        dataset.watchdog = WorkerWatchdog(workers, dataset.instances, limits)
        running = iter(make_loader(done))
        reset_sigchld_handler()
        try:
            for item in running:
                yield item
                done += 1
            return
        except (RuntimeError, OSError, EOFError):  # what is said of a process that died depends on when it did
            failure = dataset.watchdog.find_failure(getattr(running, "_workers", []))
            if failure is None:
                raise
            del running  # ends the other processes
        dataset.exclude_files([failure])


def reset_sigchld_handler() -> None:
    """Torch would raise the death of a loader process wherever the main thread is, in the middle of a step too.

    Without that it is found while waiting for a batch, some seconds later.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
