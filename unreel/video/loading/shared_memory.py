"""Memory that processes share for decoded clips, and what to say where a system has too little for it.

A container often has no more than 64 MB of /dev/shm, where torch puts what a loader process gives, by a thread whose
errors reach nobody. Here a loader process puts it into memory without a name (memfd), which only the machine's memory
limits, before it gives it away; what fails there is an answer.
"""

import contextlib
import dataclasses
import errno
import multiprocessing
import os
import resource
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch.utils.data import get_worker_info

from unreel.errors import RunError

T = TypeVar("T")
ADVICE = {errno.EMFILE: "raise `ulimit -n`", errno.ENFILE: "close other programs", errno.EFBIG: "raise `ulimit -f`"}
MORE_MEMORY = "lower --workers or --batch-size, or give the container more memory (docker run --shm-size 1g)"
LOCKS_OF_A_LOADER, LOCKS_OF_A_WORKER = 12, 4
FILES_OF_A_LOADER, FILES_OF_A_WORKER, USUAL_OPEN_FILES = 18, 4, 32  # fewer were too few when tried


@dataclasses.dataclass(frozen=True)
class SharingFailure:
    """What a loader process gives instead of clips that it could not share: a sentence for a person."""

    sentence: str


class SharedCollate:
    """A collate function whose result lies in shared memory where a loader process calls it."""

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self.collate = collate

    def __call__(self, samples: Any) -> Any:
        clips = self.collate(samples)
        if get_worker_info() is None:
            return clips
        try:
            return share_tensors(clips)
        except (OSError, RuntimeError) as error:
            return SharingFailure(f"decoded clips can't be shared between processes ({explain_error(error)}")


def share_tensors(clips: T) -> T:
    """A dataclass with all its tensors in shared memory. Raises OSError, or torch's RuntimeError."""
    values = {field.name: getattr(clips, field.name) for field in dataclasses.fields(clips)}  # type: ignore[arg-type]
    shared = {name: share_tensor(value) for name, value in values.items() if isinstance(value, torch.Tensor)}
    return dataclasses.replace(clips, **shared)  # type: ignore[type-var]


def share_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in memory that other processes can map; a tensor without elements as it is."""
    if not tensor.numel():
        return tensor
    try:
        handle = os.memfd_create("unreel")
    except (AttributeError, PermissionError, OSError) as error:
        if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
        return tensor.share_memory_()  # a system without such memory
    try:
        os.ftruncate(handle, tensor.nbytes)
        storage = torch.UntypedStorage._new_shared_fd_cpu(handle, tensor.nbytes)  # type: ignore[attr-defined]
    finally:
        os.close(handle)
    return torch.empty(0, dtype=torch.uint8).set_(storage).view(tensor.dtype).view(tensor.shape).copy_(tensor)


def explain_error(error: Exception) -> str:
    """The first line of an error, and after a parenthesis what to do."""
    reason = (getattr(error, "strerror", None) or str(error)).partition("\n")[0]
    return f"{reason}); {ADVICE.get(getattr(error, 'errno', 0) or 0, MORE_MEMORY)}"


@contextlib.contextmanager
def explain_start_errors() -> Iterator[None]:
    """In the block processes and their pipes are made. Raises RunError where the system has no room for them."""
    try:
        yield
    except OSError as error:
        raise RunError(f"loader processes can't be started ({explain_error(error)}") from error


def make_locks(count: int) -> list[Any]:
    """Locks for processes. Raises RunError where /dev/shm, in which the system keeps them, is full or missing."""
    try:
        return [multiprocessing.Lock() for _ in range(count)]
    except OSError as error:
        raise RunError(f"no locks can be made in /dev/shm ({explain_error(error)}") from error


def require_room(num_workers: int) -> None:
    """Make sure that there are locks and open files enough for a loader, which can't be cleaned up when it has half of
    them, and whose processes fail without an answer. Raises RunError.
    """
    if num_workers:
        make_locks(LOCKS_OF_A_LOADER + LOCKS_OF_A_WORKER * num_workers)
        require_open_files(count_open_files() + FILES_OF_A_LOADER + FILES_OF_A_WORKER * num_workers)


def require_open_files(count: int) -> None:
    """Raise this process's limit of open files to `count` where the system lets it. Raises RunError where not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        problem = f"`ulimit -n` is {hard}, and the loader processes need about {count} open files"
        raise RunError(f"{problem}; raise it, or lower --workers")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def count_open_files() -> int:
    """Files that this process has open; a usual number where the system does not say."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return USUAL_OPEN_FILES
