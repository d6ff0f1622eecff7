"""Data loaders over clips: batches for training, single samples for evaluation, and how both survive a bad file."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

import torch
from torch.utils.data import DataLoader

from unreel.io.limits import Limits, get_limits
from unreel.io.worker_process import exit_with_parent
from unreel.types import Clips
from unreel.video.loading.clip_dataset import ClipDataset, ClipSample
from unreel.video.loading.worker_watchdog import WorkerWatchdog
from unreel.video.sampling.batch_sampler import ResumableBatchSampler

T = TypeVar("T")


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
    limits: Limits | None = None,
) -> Iterator[Clips]:
    """`training_loader` that goes on without a file that a loader process died of, or did not end with in `limit_s`."""

    def after(done: int) -> Iterable[Clips]:
        return build_training_loader(dataset, batch_sampler.skip_steps(done), workers, pin_memory, prefetch_factor)

    return _iterate_resilient(dataset, workers, limits or get_limits(), after)


def build_sequential_loader(
    dataset: ClipDataset,
    workers: int,
    limits: Limits | None = None,
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

    return _iterate_resilient(dataset, workers, limits or get_limits(), after)


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


def _init_worker(_worker: int) -> None:
    """One thread each; Ctrl-C is the main process's to handle, and the end of a file's time ends the process."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    exit_with_parent(
        os.getppid()
    )  # torch's own watch would wait for ever to hand over what the killed parent never takes


def default_num_workers() -> int:
    """One loader process for each core but one, at most 8."""
    return max(1, min(8, (os.cpu_count() or 2) - 1))


def count_batches_in_memory(workers: int, prefetch_factor: int) -> int:
    """Batches in memory at one time: those that processes have ready or under way, and the one that is used."""
    return workers * prefetch_factor + 1
