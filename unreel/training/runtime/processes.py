"""The processes of one run, from joining to leaving."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from unreel.io.file_lock import lock_folder
from unreel.settings import Settings
from unreel.training.runtime.distributed import ProcessGroup, join_process_group
from unreel.training.runtime.fabric import build_fabric
from unreel.training.runtime.heartbeat import report_failure_once
from unreel.training.runtime.launch import count_processes, require_divisible_batch
from unreel.training.runtime.signals import explain_interruption

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@contextlib.contextmanager
def run_processes(settings: Settings, run_folder: Path) -> Iterator[tuple["Fabric", ProcessGroup]]:
    """Fabric and the process group; what ends one process ends all, with one reason, Ctrl-C and SIGTERM too."""
    with explain_interruption(run_folder):
        fabric, group = join_processes(settings, run_folder)
        with report_failure_once(group.heartbeat):
            yield fabric, group


def join_processes(settings: Settings, run_folder: Path) -> tuple["Fabric", ProcessGroup]:
    """Fabric, and this process among those that were started with it. Raises InputError for an uneven batch."""
    require_divisible_batch(settings, count_processes(settings).world_size)
    fabric = build_fabric(settings)
    hint = f"go on with: unreel pretrain --resume {run_folder}"
    return fabric, join_process_group(fabric, settings.silence_limit_s, hint)


@contextlib.contextmanager
def lock_run(run_folder: Path, group: ProcessGroup) -> Iterator[None]:
    """One run at a time in a folder; of several processes rank 0 holds the lock."""
    with contextlib.ExitStack() as lock:
        group.on_rank_zero(lambda: lock.enter_context(lock_folder(run_folder)))
        yield
