"""Rewriting a corpus once into pieces that are cheap to train from: what is asked, whether it can be, in what order.

OUT/.packing holds the plan and what is done so far; when all is done it goes, and pack.json makes OUT a packed corpus.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TextIO

from unreel.corpus.discovery import find_videos
from unreel.corpus.inspection import inspect
from unreel.corpus.manifest import Manifest, QuarantineEntry
from unreel.errors import DiskError, InputError
from unreel.io.atomic_write import atomic_write_bytes, remove_leftovers
from unreel.io.worker_pool import POLL_S, Limits
from unreel.packing.index_writer import write_index
from unreel.packing.jobs import write_shards
from unreel.packing.piece_encoder import PackSettings
from unreel.video.sources import packed_corpus
from unreel.video.sources.paths import PACK_FILE, WORK_FOLDER, is_packed_corpus, is_remote

PLAN_FILE = "plan.json"
PIECE_LIMITS = Limits(file_limit_s=1800.0)  # of one piece, which is coded until it is near enough
LOCK_TIMEOUT_S = 10 * POLL_S  # that a packer waits for the processes of one that was killed


@dataclass(frozen=True)
class PackResult:
    """What packing came to: pieces and originals, bytes before and after.

    `halved_colour` pieces are below the PSNR for what yuv420p alone costs, `unmet` at the best quality there is.
    """

    out: Path
    num_pieces: int
    num_videos: int
    bytes_before: int
    bytes_after: int
    num_shards: int
    num_limited_by_chroma: int
    num_below_psnr: int
    quarantine: tuple[QuarantineEntry, ...]
    is_new: bool = True


def pack(
    source: str | Path,
    out: str | Path,
    settings: PackSettings | None = None,
    root: str | Path | None = None,
    workers: int = 1,
    on_inspect: Callable[[int, int], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    limits: Limits = PIECE_LIMITS,
) -> PackResult:
    """Pack the videos of a folder or list into OUT, or go on with what was stopped; the originals stay as they are.

    A video, or piece of one, that ends the process that reads it or exceeds the limits is quarantined. Raises
    InputError when nothing can be packed or OUT holds something else, DiskError when it can't be written.
    """
    settings, out = settings or PackSettings(), Path(out)
    check_settings(settings, workers)
    asked = compute_fingerprint(Path(source), root)
    check_output(Path(source), out, settings, asked)
    if is_packed_corpus(out):
        shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)  # of one that was killed when all was done
        return replace(summarize_corpus(out), is_new=False)
    try:
        with lock_output(out):
            remove_leftovers(out)
            manifest = load_or_build_manifest(Path(source), out, settings, root, asked, on_inspect, limits)
            if not manifest.videos:
                raise InputError(f"{source}: no video there can be used; `unreel inspect` tells the reasons")
            write_shards(manifest, out, settings, workers, limits, on_progress)
            write_index(manifest, Path(source), out, settings, asked)
        shutil.rmtree(out / WORK_FOLDER)
    except OSError as error:
        raise DiskError(f"{out}: packing stopped ({error.strerror or error}); make room and run it again") from error
    return summarize_corpus(out)


def check_settings(settings: PackSettings, workers: int) -> None:
    """Raises InputError for what can't be."""
    if settings.short_side < 16 or settings.short_side % 2:
        raise InputError(f"--short-side must be even and at least 16, got {settings.short_side}")
    bounds = {"gop": (1, 600), "crf": (1, 51), "psnr_db": (0, 60), "segment_s": (1, 1e6), "shard_mb": (0.01, 1e6)}
    for name, (least, most) in bounds.items():
        if not least <= getattr(settings, name) <= most:
            option = name.replace("_", "-")
            raise InputError(f"--{option} must lie between {least:g} and {most:g}, got {getattr(settings, name):g}")
    if workers < 1:
        raise InputError(f"--workers must be at least 1, got {workers}")


def compute_fingerprint(source: Path, root: str | Path | None) -> str:
    """Names, sizes and times of change of everything that is to be packed: other files, another text."""
    if is_remote(source) or is_packed_corpus(source):
        raise InputError(f"{source}: packed already, or from afar; give the folder or list of the videos themselves")
    digest = hashlib.blake2b(digest_size=16)
    for item in find_videos(source, Path(root) if root else None):
        with contextlib.suppress(OSError):
            status = os.stat(item.path)
            digest.update(f"{status.st_size} {status.st_mtime_ns} ".encode())
        digest.update(f"{os.path.abspath(item.path)}\t{item.label}\t{item.group}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def check_output(source: Path, out: Path, settings: PackSettings, source_fingerprint: str) -> None:
    """Raises InputError when OUT is no place for this corpus: other files, another corpus, other settings."""
    if is_remote(out):
        raise InputError(f"{out}: pack into a folder of this machine, then copy it there with the store's own tool")
    real = Path(os.path.realpath(out))
    if source.is_dir() and (real == Path(os.path.realpath(source)) or Path(os.path.realpath(source)) in real.parents):
        raise InputError(f"{out} lies in {source}, which stays as it is; choose a folder elsewhere")
    if not out.exists() or (
        out.is_dir() and not set(os.listdir(out)) - {WORK_FOLDER} and not (out / WORK_FOLDER / PLAN_FILE).exists()
    ):
        return
    place = next((p for p in (out / PACK_FILE, out / WORK_FOLDER / PLAN_FILE) if p.is_file()), None)
    if place is None:
        raise InputError(f"{out} exists already and is no packed corpus; nothing was changed. Choose another folder")
    try:
        held = json.loads(place.read_text(encoding="utf-8"))
        before, whose, files = held["settings"], held["source"], held["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{place}: can't be read ({error}); choose another folder") from error
    if whose != os.path.abspath(source):
        raise InputError(f"{out} holds what was packed of {whose}; choose another folder for {source}")
    other = [name for name, value in asdict(settings).items() if before.get(name) != value]
    if other:
        said = ", ".join(f"{name.replace('_', '-')} {before.get(name)}" for name in other)
        raise InputError(f"{out} was packed with other settings ({said}); choose another folder, or give the same")
    if files != source_fingerprint:
        raise InputError(f"{source} has changed since it was packed into {out}; choose another folder")


@contextlib.contextmanager
def lock_output(out: Path) -> Iterator[None]:
    """One process alone packs into OUT. Raises InputError when another does.

    The lock is of the kind that forked processes hold too: those of a packer that was killed live on for a moment,
    writing where the next one would read, so the next one waits until they are gone.
    """
    (out / WORK_FOLDER).mkdir(parents=True, exist_ok=True)
    with (out / WORK_FOLDER / "lock").open("w") as lock:
        deadline_s = time.monotonic() + LOCK_TIMEOUT_S
        while not _try_lock(lock):
            if time.monotonic() > deadline_s:
                raise InputError(f"{out}: another unreel packs into it; wait for it or choose another folder")
            time.sleep(0.1)
        yield


def _try_lock(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def load_or_build_manifest(
    source: Path,
    out: Path,
    settings: PackSettings,
    root: str | Path | None,
    source_fingerprint: str,
    on_inspect: Callable[[int, int], None] | None,
    limits: Limits,
) -> Manifest:
    """What is to be packed, found out once: packing that goes on takes it as it was."""
    if (out / WORK_FOLDER / PLAN_FILE).is_file():
        return Manifest.load(out / WORK_FOLDER)
    manifest = inspect(source, Path(root) if root else None, check="fast", on_progress=on_inspect, limits=limits)
    manifest.save(out / WORK_FOLDER)
    plan = {"settings": asdict(settings), "source": os.path.abspath(source), "files": source_fingerprint}
    atomic_write_bytes(out / WORK_FOLDER / PLAN_FILE, json.dumps(plan, indent=2).encode())
    return manifest


def summarize_corpus(out: Path) -> PackResult:
    """What a packed corpus says of its making."""
    corpus = packed_corpus.open_packed_corpus(out)
    wanted_db, shards = corpus.description["settings"]["psnr_db"], corpus.description["shards"]
    before = dict(zip(corpus.get_column("source"), corpus.get_column("source_bytes"), strict=True))
    reached = list(zip(corpus.get_column("psnr_db"), corpus.get_column("coding_psnr_db"), strict=True))
    return PackResult(
        out=out,
        num_pieces=len(corpus),
        num_videos=len(before),
        bytes_before=sum(before.values()),
        bytes_after=sum(os.path.getsize(out / name) for name in shards),
        num_shards=len(shards),
        num_limited_by_chroma=sum(whole < wanted_db <= coding for whole, coding in reached),
        num_below_psnr=sum(max(pair) < wanted_db for pair in reached),
        quarantine=Manifest.load(out).quarantine,
    )
