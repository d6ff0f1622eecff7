"""Memory that processes share for decoded clips, and what to say where a system has too little for it.

A container often has no more than 64 MB of /dev/shm, where torch puts what a loader process gives, by a thread whose
errors reach nobody. Here a loader process puts it into memory without a name (memfd), which only the machine's memory
limits, before it gives it away; what fails there is an answer.
"""

import contextlib
import dataclasses
import errno
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch.utils.data import get_worker_info

from unreel.errors import RunError

T = TypeVar("T")
ADVICE = {errno.EMFILE: "raise `ulimit -n`", errno.ENFILE: "close other programs", errno.EFBIG: "raise `ulimit -f`"}
MORE_MEMORY = "lower --workers or --batch-size, or give the container more memory (docker run --shm-size 1g)"


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
def explain_shared_memory_errors() -> Iterator[None]:
    """In the block locks, pipes and processes are made. Raises RunError where the system has no room for them."""
    try:
        yield
    except OSError as error:
        raise RunError(f"loader processes can't be started ({explain_error(error)}") from error
