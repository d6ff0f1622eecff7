"""Bring a store up to date with a source, in one process or many: embed new contents, drop those that are gone."""

import contextlib
import dataclasses
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unreel.corpus.file_changes import FileChanges, compute_file_changes
from unreel.corpus.file_tracker import load_records, refresh_files, save_records
from unreel.errors import InputError
from unreel.indexing.embedding_provenance import note_update
from unreel.indexing.store.clip_sampling import ClipSampling
from unreel.indexing.store.embedding_store import FORMAT_VERSION, open_store, require_store_folder
from unreel.indexing.store.embeddings_file import list_parts
from unreel.indexing.store.encoder_hash import SameEncoder, describe_encoder
from unreel.indexing.store.file_names import FILES_PARQUET
from unreel.indexing.store.kept_chunks import remove_kept_chunks
from unreel.indexing.store.part_writer import PartWriter, embed_contents
from unreel.indexing.store.parts import Content, group_by_content, reconcile_parts
from unreel.indexing.store.processes import (
    ProgressBarFactory,
    choose_workers,
    join_processes,
    no_progress_bar,
    watch_parent_process,
)
from unreel.indexing.store.skipped_videos import is_permanent, read_skipped, write_skipped
from unreel.io.atomic_write import disk_errors
from unreel.io.file_lock import lock_folder
from unreel.rows.file_rows import FileBook
from unreel.training.runtime.distributed import leave_process_group
from unreel.training.runtime.heartbeat import report_failure_once
from unreel.types import FileFailure, ProgressCallback


@dataclass(frozen=True)
class StoreUpdateOptions:
    """How a store is filled, without effect on its rows. `devices` is the number of processes."""

    devices: int = 1
    allow_import: bool = False
    progress_bar: ProgressBarFactory = no_progress_bar


@dataclass(frozen=True)
class StoreSummary:
    """What a store holds after an update, `num_embedded` contents of it new, and what became of its files.

    `rank` is that of this process; `left_aside` counts by suffix what the source holds beside videos.
    """

    num_rows: int
    num_videos: int
    num_embedded: int
    left_out: list[FileFailure]
    changes: FileChanges = FileChanges()  # noqa: RUF009  # frozen
    rank: int = 0
    left_aside: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class UpdatePlan:
    """What rank 0 tells the other processes: the metadata of each part, an id for file names, what to embed."""

    metadata: dict[str, Any]
    update_id: str
    missing_contents: list[Content]
    unreadable_files: list[FileFailure]
    changes: FileChanges
    left_aside: Mapping[str, int]


def update_store(
    checkpoint: str | Path,
    source: str | Path,
    out: str | Path,
    clip_sampling: ClipSampling,
    options: StoreUpdateOptions | None = None,
) -> StoreSummary:
    """Bring the store `out` up to date with a source: a video, a folder, a list or a packed corpus.

    Only missing contents are embedded, the k-th of them by process k modulo their number, so that processes need not
    communicate; each writes parts under its own names. Another source adds to the store and removes nothing (see
    file_tracker.py). Raises UnreelError.
    """
    options, out = options or StoreUpdateOptions(), Path(out)
    require_store_folder(out)  # before processes are started
    encoder = clip_sampling.load_encoder(checkpoint, options.allow_import)
    group, device, num_workers = join_processes(options.devices)
    encoder.to(device)
    metadata = {"format": FORMAT_VERSION, "clips": clip_sampling.to_json()} | describe_encoder(encoder)
    progress_bar = options.progress_bar if group.is_rank_zero else watch_parent_process(os.getppid())
    recipe = SameEncoder(clip_sampling, str(checkpoint), options.allow_import, str(metadata["encoder_hash"]))
    with report_failure_once(group.heartbeat), contextlib.ExitStack() as stack:

        def prepare() -> UpdatePlan:
            stack.enter_context(lock_store(out))
            with progress_bar("looking at files") as advance:
                return plan_update(out, metadata, source, advance)

        plan = group.on_rank_zero(prepare)
        if plan.metadata != metadata:
            raise InputError(f"{checkpoint}: its best checkpoint has changed while processes started; run it again")
        share = plan.missing_contents[group.rank :: group.world_size]
        label = f"embedding, 1 of {group.world_size} shares" if group.world_size > 1 else "embedding"
        writer = PartWriter(out, f"{plan.update_id}-{group.rank:05d}", metadata)
        with progress_bar(label) as advance:
            embed_contents(writer, share, encoder, clip_sampling, choose_workers(recipe, num_workers), advance)
        group.all_gather(True)  # rank 0 waits for all
        summary = group.on_rank_zero(lambda: summarize_update(out, plan))
        group.on_rank_zero(lambda: note_changes(out, plan, checkpoint, source))
    leave_process_group(group)
    return dataclasses.replace(summary, rank=group.rank)


def note_changes(out: Path, plan: UpdatePlan, checkpoint: str | Path, source: str | Path) -> None:
    """Add an update that changed something to the store's provenance.json. Raises DiskError."""
    if plan.missing_contents or plan.changes != FileChanges():
        hashes = [record.content_hash for record in load_records(out / FILES_PARQUET).values()]
        note_update(out, checkpoint, source, hashes, plan.metadata["clips"])


@contextlib.contextmanager
def lock_store(out: Path) -> Iterator[None]:
    """Make the folder of a store if needed, and let no other command write there meanwhile."""
    require_store_folder(out)
    with disk_errors(out, "the folder can't be made", "choose another place"):
        out.mkdir(parents=True, exist_ok=True)
    with lock_folder(out, "writes"):
        yield


def plan_update(out: Path, metadata: dict[str, Any], source: str | Path, on_progress: ProgressCallback) -> UpdatePlan:
    """Open the store, look at the files, drop rows of files that are gone, and list the contents to embed."""
    open_store(out, metadata)
    path = out / FILES_PARQUET
    records = load_records(path) if path.exists() or list_parts(out) else FileBook()
    before = records.copy()
    left_aside: Counter[str] = Counter()
    unreadable = refresh_files(records, source, lambda files: save_records(files, path), on_progress, left_aside)
    contents = group_by_content(records)
    embedded = reconcile_parts(out, contents)
    failures = {hash_: failure for hash_, failure in read_skipped(out).items() if is_permanent(failure)}
    write_left_out_files(out, contents, failures, unreadable)
    missing = [content for hash_, content in contents.items() if hash_ not in embedded and hash_ not in failures]
    return UpdatePlan(
        metadata, make_update_id(), missing, unreadable, compute_file_changes(before, records), left_aside
    )


def make_update_id() -> str:
    """A name for the parts of an update: those of a later update sort after it, also within a second."""
    seconds, microseconds = divmod(time.time_ns() // 1000, 10**6)
    moment = time.strftime("%Y%m%d-%H%M%S", time.localtime(seconds))
    return f"{moment}{microseconds:06d}-{uuid.uuid4().hex[:6]}"


def write_left_out_files(
    out: Path, contents: dict[str, Content], failures: dict[str, FileFailure], unreadable_files: list[FileFailure]
) -> list[FileFailure]:
    """Write left_out.csv; returns its files."""
    known = [(hash_, failure) for hash_, failure in failures.items() if hash_ in contents]
    rows = [
        (hash_, dataclasses.replace(failure, path=path))
        for hash_, failure in known
        for path, _ in contents[hash_].files
    ]
    rows += [("", failure) for failure in unreadable_files]
    write_skipped(out, rows)
    return [failure for _, failure in rows]


def summarize_update(out: Path, plan: UpdatePlan) -> StoreSummary:
    """Count the rows after all processes have written. Raises InputError when there are none."""
    contents = group_by_content(load_records(out / FILES_PARQUET))
    num_rows = reconcile_parts(out, contents)
    failures = {hash_: failure for hash_, failure in read_skipped(out).items() if hash_ not in num_rows}
    left_out = write_left_out_files(out, contents, failures, plan.unreadable_files)
    if not num_rows:
        raise InputError(f"{out}: no video could be embedded; the first: {left_out[0].path}: {left_out[0]}")
    num_embedded = sum(content.content_hash in num_rows for content in plan.missing_contents)
    num_videos = sum(len(contents[hash_].files) for hash_ in num_rows)
    remove_kept_chunks(out)
    counts = (sum(num_rows.values()), num_videos, num_embedded)
    return StoreSummary(*counts, left_out, plan.changes, left_aside=plan.left_aside)
