"""Data loaders over clips: batches for training, samples in order for evaluation; both survive files that crash."""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import TypeVar

import torch
from torch.utils.data import DataLoader

from unreel.errors import RunError
from unreel.io.limits import Limits, get_limits
from unreel.io.worker_process import allow_children, initialize_worker
from unreel.types import Clips
from unreel.video.loading.clip_dataset import ClipDataset, ClipSample
from unreel.video.loading.shared_memory import (
    SharedCollate,
    SharingFailure,
    explain_start_errors,
    require_room,
)
from unreel.video.loading.worker_watchdog import WorkerWatchdog
from unreel.video.sampling.batch_sampler import BatchOrder

T = TypeVar("T")
POLL_S = 5.0  # after so many seconds without a batch, look whether a loader process died or hangs
TORCH_TIMEOUT = "DataLoader timed out"  # how torch says that nothing came within POLL_S; asking again is all right
# A message of at most PIPE_BUF bytes is written at once; beside this it holds the handle of a tensor, some 600 bytes.
MAX_PIPED_BYTES = max(0, select.PIPE_BUF - 2048)


def build_training_loader(
    dataset: ClipDataset, batch_sampler: BatchOrder, workers: int, pin_memory: bool, prefetch_factor: int = 2
) -> Iterable[Clips]:
    """Batches of `Clips` in the order of the sampler; each worker prepares `prefetch_factor` of them ahead."""
    return DataLoader(
        dataset,
        batch_sampler=batch_sampler,
        num_workers=workers,
        collate_fn=SharedCollate(dataset.collate),
        worker_init_fn=_init_worker,
        pin_memory=pin_memory,
        timeout=POLL_S if workers else 0,
        prefetch_factor=prefetch_factor if workers else None,
    )


def build_resilient_loader(
    dataset: ClipDataset,
    batch_sampler: BatchOrder,
    workers: int,
    pin_memory: bool,
    prefetch_factor: int = 2,
    limits: Limits | None = None,
) -> Iterator[Clips]:
    """`build_training_loader`, but files that crash a loader process or exceed the limits are left out."""

    def make_loader(num_done: int) -> Iterable[Clips]:
        return build_training_loader(dataset, batch_sampler.skip_steps(num_done), workers, pin_memory, prefetch_factor)

    return _iterate_resilient(dataset, workers, limits or get_limits(), make_loader)


def build_sequential_loader(
    dataset: ClipDataset,
    workers: int,
    limits: Limits | None = None,
) -> Iterator[ClipSample]:
    """Every instance once, in order, as single samples, because videos may differ in their number of clips.

    A file that crashes a loader process or exceeds the limits becomes a sample with a failure. Use 0 workers only for
    tests and debugging: a crash then ends this process. Meanwhile torch leaves a core to each loader process here.
    """

    def make_loader(num_done: int) -> Iterable[ClipSample]:
        return DataLoader(
            dataset,
            sampler=[(0, i) for i in range(num_done, len(dataset))],
            batch_size=None,
            collate_fn=SharedCollate(make_tensors),
            num_workers=workers,
            worker_init_fn=_init_worker,
            timeout=POLL_S if workers else 0,
            prefetch_factor=4 if workers else None,
        )

    return _leave_cores(_iterate_resilient(dataset, workers, limits or get_limits(), make_loader), workers)


def _leave_cores(samples: Iterator[ClipSample], num_workers: int) -> Iterator[ClipSample]:
    with reserve_loader_cores(num_workers):
        yield from samples


@contextlib.contextmanager
def reserve_loader_cores(num_workers: int) -> Iterator[None]:
    """In the block torch leaves a core to each loader process, but keeps half of all cores, at least one.

    Threads that wait for each other spin, so one thread without a core makes a network several times slower. Loader
    processes that are ahead do not, so where there are many, they need less than a core each. A number that was set
    since stays: an abandoned loop may end late.
    """
    num_threads, num_cores = torch.get_num_threads(), os.cpu_count() or 1
    num_left = max(1, min(num_threads, max(num_cores // 2, num_cores - num_workers)))
    torch.set_num_threads(num_left)
    try:
        yield
    finally:
        if torch.get_num_threads() == num_left:
            torch.set_num_threads(num_threads)


def make_tensors(sample: ClipSample) -> ClipSample:
    """Make tensors of the arrays: they travel in shared memory. A process that dies while it writes an array into the
    pipe would leave half a message, and the reader would wait for the other half. A few numbers are written whole or
    not at all, and each tensor costs a millisecond on both sides.
    """
    if sample.frames is None or sample.spans_s is None:
        return sample
    spans_s = sample.spans_s if sample.spans_s.nbytes <= MAX_PIPED_BYTES else torch.from_numpy(sample.spans_s)
    return replace(sample, frames=torch.from_numpy(sample.frames), spans_s=spans_s)


def _iterate_resilient(
    dataset: ClipDataset, workers: int, limits: Limits, make_loader: Callable[[int], Iterable[T]]
) -> Iterator[T]:
    """The items of `make_loader(0)`; after a crash the file is excluded, and a new loader goes on after the last item.

    Raises RunError when no file is at fault: a process was ended from outside, memory can't be shared, nothing comes.
    """
    num_done = 0
    allow_children()
    while True:
        with explain_start_errors():
            require_room(workers)
            dataset.watchdog = WorkerWatchdog(workers, dataset.instances, limits)
            loader = iter(make_loader(num_done))
        reset_sigchld_handler()
        try:
            for item in _wait_for_items(loader, dataset.watchdog):
                yield item
                num_done += 1
            return
        except (RuntimeError, OSError, EOFError) as error:  # which of them depends on when the process died
            failure = dataset.watchdog.find_failure(getattr(loader, "_workers", []))
            if failure is None and isinstance(error, EOFError):
                raise RunError(
                    "the connection to a loader process broke; raise `ulimit -n`, or lower --workers"
                ) from error
            if failure is None:
                raise
            del loader  # ends the other processes
        dataset.exclude_files([failure])


def _wait_for_items(loader: Iterator[T], watchdog: WorkerWatchdog) -> Iterator[T]:
    """The items of a loader. Raises RunError instead of waiting for ever."""
    while True:
        try:
            item = next(loader)
        except StopIteration:
            return
        except RuntimeError as error:
            if not str(error).startswith(TORCH_TIMEOUT):
                raise
            watchdog.note_silence(POLL_S, getattr(loader, "_workers", []))
            continue
        if isinstance(item, SharingFailure):
            raise RunError(item.sentence)
        watchdog.note_arrival()
        yield item


def reset_sigchld_handler() -> None:
    """Undo torch's signal handler, which raises the death of a loader process anywhere in the main thread, even inside
    a training step. Without it the death is noticed some seconds later, while waiting for a batch.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _init_worker(_worker: int) -> None:
    """Prepare a loader process: one thread, and the end of its parent ends it too.

    Torch's own check of the parent would wait forever to send a batch to a killed one.
    """
    torch.set_num_threads(1)
    initialize_worker(os.getppid())
    ignore_lost_reader()


def ignore_lost_reader() -> None:
    """Print no traceback from the thread that hands memory to the parent where the parent has stopped asking for it."""
    print_error = sys.excepthook

    def print_unless_lost(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, ConnectionError | EOFError):
            print_error(kind, error, trace)

    sys.excepthook = print_unless_lost


def default_num_workers() -> int:
    """One loader process for each core except one, at most 8."""
    return max(1, min(8, (os.cpu_count() or 2) - 1))


def count_batches_in_memory(workers: int, prefetch_factor: int) -> int:
    """Decoded batches in memory at one time: those that workers prepare or have ready, and the one in use."""
    return workers * prefetch_factor + 1
