"""Filling a store of embeddings, in one process or many: what is missing is embedded, what has gone leaves."""

import contextlib
import dataclasses
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unreel.corpus.file_tracker import load_records, refresh_files, save_records
from unreel.errors import DiskError, InputError, PeerStoppedError
from unreel.indexing.store import embedding_store
from unreel.indexing.store.clip_sampling import ClipSampling
from unreel.indexing.store.embedding_store import Content
from unreel.indexing.store.embeddings_file import describe_encoder
from unreel.indexing.store.part_writer import PartWriter, embed_contents
from unreel.io.file_lock import lock_folder
from unreel.settings import RuntimeSettings
from unreel.training.runtime.auto_settings import choose_device
from unreel.training.runtime.distributed import (
    SINGLE_PROCESS,
    ProcessGroup,
    join_process_group,
    leave_process_group,
)
from unreel.training.runtime.fabric import build_fabric
from unreel.training.runtime.heartbeat import report_failure_once
from unreel.training.runtime.launch import count_processes, is_launched
from unreel.types import FileFailure

ProgressCallback = Callable[[int, int], None]


def no_progress_bar(_label: str) -> AbstractContextManager[ProgressCallback]:
    return nullcontext(lambda _done, _total: None)


@dataclass(frozen=True)
class StoreUpdateOptions:
    """How a store is filled, which its rows do not depend on: in how many processes, and who is told of it."""

    devices: int = 1
    allow_import: bool = False
    progress_bar: Callable[[str], AbstractContextManager[ProgressCallback]] = no_progress_bar


@dataclass(frozen=True)
class StoreSummary:
    """What a store holds now; `embedded` contents are new in it. `rank` is 0 in the process that speaks."""

    num_rows: int
    num_videos: int
    num_embedded: int
    left_out: list[FileFailure]
    rank: int = 0


@dataclass(frozen=True)
class UpdatePlan:
    """What the first process tells the others: what every part says of itself, a name for this run, what is missing."""

    metadata: dict[str, Any]
    update_id: str
    missing_contents: list[Content]
    unreadable_files: list[FileFailure]


def update_store(
    checkpoint: str | Path,
    source: str | Path,
    out: str | Path,
    clip_sampling: ClipSampling,
    options: StoreUpdateOptions | None = None,
) -> StoreSummary:
    """Bring the store `out` up to date with a source: a video, a folder, a list or a packed corpus.

    Only contents that are missing are embedded, the k-th of them by process k modulo their number. That needs no
    talking, and each writes parts under names of its own. Another source adds to the store and takes nothing from it,
    see known_files.py. Raises UnreelError.
    """
    options, out = options or StoreUpdateOptions(), Path(out)
    embedding_store.require_store_folder(out)  # before processes are started
    encoder = clip_sampling.load_encoder(checkpoint, options.allow_import)
    team, device, workers = join_processes(options.devices)
    encoder.to(device)
    about = {"format": embedding_store.FORMAT_VERSION, "clips": clip_sampling.to_json()} | describe_encoder(encoder)
    bar = options.progress_bar if team.is_rank_zero else watch_parent_process(os.getppid())
    with report_failure_once(team.heartbeat), contextlib.ExitStack() as held:

        def prepare() -> UpdatePlan:
            held.enter_context(lock_store(out))
            with bar("looking at files") as advance:
                return plan_update(out, about, source, advance)

        made = team.on_rank_zero(prepare)
        if made.metadata != about:
            raise InputError(
                f"{checkpoint}: its best checkpoint has changed while processes were started; run it again"
            )
        share = made.missing_contents[team.rank :: team.world_size]
        with bar(f"embedding, 1 of {team.world_size} shares" if team.world_size > 1 else "embedding") as advance:
            part = PartWriter(out, f"{made.update_id}-{team.rank:05d}", about)
            with reserve_loader_cores(workers, device):
                embed_contents(part, share, encoder, clip_sampling, workers, advance)
        team.all_gather(True)  # the first one goes on when all are done
        stored = team.on_rank_zero(lambda: summarize_update(out, made))
    leave_process_group(team)
    return dataclasses.replace(stored, rank=team.rank)


def join_processes(devices: int) -> tuple[ProcessGroup, torch.device, int]:
    """This process among those started with it, its device, and how many loader processes it may have."""
    device = choose_device("auto")
    threads = max(1, torch.get_num_threads() // (1 if is_launched() else devices))
    settings = RuntimeSettings(device=device, devices=devices, threads=threads, precision="32-true")
    here, nodes = count_processes(settings)
    workers = max(1, min(8, (os.cpu_count() or 2) // here - 1))
    if here * nodes == 1:
        return SINGLE_PROCESS, torch.device(device), workers
    fabric = build_fabric(settings)
    return join_process_group(fabric, settings.silence_limit_s, "the same command goes on"), fabric.device, workers


@contextlib.contextmanager
def reserve_loader_cores(num_workers: int, device: torch.device) -> Iterator[None]:
    """On a CPU torch leaves a core to each loader process meanwhile: its threads spin while one of them has none."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(max(1, min(before, (os.cpu_count() or 1) - num_workers)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def lock_store(out: Path) -> Iterator[None]:
    """The folder of a store, made if it is new, while no other command writes there."""
    embedding_store.require_store_folder(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(f"{out}: the folder can't be made ({error.strerror})") from error
    with lock_folder(out, "writes"):
        yield


def plan_update(out: Path, metadata: dict[str, Any], source: str | Path, on_progress: ProgressCallback) -> UpdatePlan:
    """Open the store, look at the files, let go of what has gone, and see what is missing."""
    embedding_store.open_store(out, metadata)
    path = out / embedding_store.FILES_PARQUET
    known = load_records(path) if path.exists() or embedding_store.list_parts(out) else {}
    unread = refresh_files(known, source, lambda files: save_records(files, path), on_progress)
    wanted = embedding_store.group_by_content(known)
    there = embedding_store.reconcile_parts(out, wanted)
    bad = {h: why for h, why in embedding_store.read_skipped(out).items() if embedding_store.is_permanent(why)}
    write_left_out_files(out, wanted, bad, unread)
    missing = [content for hash_, content in wanted.items() if hash_ not in there and hash_ not in bad]
    return UpdatePlan(metadata, f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}", missing, unread)


def write_left_out_files(
    out: Path, contents: dict[str, Content], failures: dict[str, FileFailure], unreadable_files: list[FileFailure]
) -> list[FileFailure]:
    """Write left_out.csv; returns the files in it."""
    known = [(h, failure) for h, failure in failures.items() if h in contents]
    rows = [(h, dataclasses.replace(failure, path=path)) for h, failure in known for path, _ in contents[h].files]
    rows += [("", failure) for failure in unreadable_files]
    embedding_store.write_skipped(out, rows)
    return [failure for _, failure in rows]


def summarize_update(out: Path, plan: UpdatePlan) -> StoreSummary:
    """Count what is there, after all have written. Raises InputError when nothing is."""
    wanted = embedding_store.group_by_content(load_records(out / embedding_store.FILES_PARQUET))
    there = embedding_store.reconcile_parts(out, wanted)
    bad = {h: why for h, why in embedding_store.read_skipped(out).items() if h not in there}
    left_out = write_left_out_files(out, wanted, bad, plan.unreadable_files)
    if not there:
        raise InputError(f"{out}: no video could be embedded; the first: {left_out[0].path}: {left_out[0]}")
    embedded = sum(content.content_hash in there for content in plan.missing_contents)
    return StoreSummary(sum(there.values()), sum(len(wanted[h].files) for h in there), embedded, left_out)


def watch_parent_process(parent_pid: int) -> Callable[[str], AbstractContextManager[ProgressCallback]]:
    """The bar of a process that shows none. It ends once the one that started it has: a kill leaves nobody behind."""

    def advance(_done: int, _total: int) -> None:
        if os.getppid() != parent_pid:
            raise PeerStoppedError

    return lambda _what: nullcontext(advance)
