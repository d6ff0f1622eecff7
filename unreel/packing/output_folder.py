"""The folder that a corpus is packed into: checks that it fits the plan, and its lock."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from unreel.errors import InputError
from unreel.io.file_lock import LOCK_FILE, try_lock
from unreel.io.text import parse_json
from unreel.packing.pack_plan import PackPlan
from unreel.video.sources.paths import PACK_FILE, WORK_FOLDER, is_remote

PLAN_FILE = "plan.json"
LOCK_TIMEOUT_S = 5.0  # to wait for the worker processes of a packer that was killed


def check_output(plan: PackPlan, out: Path) -> None:
    """Raise InputError when OUT can't take this corpus: it holds other files, another corpus, or other settings."""
    if is_remote(out):
        raise InputError(f"{out}: remote; pack into a local folder, then copy it there with the store's own tool")
    _check_outside_source(plan.source, out)
    if not out.exists() or _is_unused(out):
        return
    record = next((path for path in (out / PACK_FILE, out / WORK_FOLDER / PLAN_FILE) if path.is_file()), None)
    if record is None:
        raise InputError(f"{out} exists already and is not a packed corpus; nothing was changed. Choose another folder")
    try:
        content = parse_json(record.read_text(encoding="utf-8"))
        settings, source, fingerprint = content["settings"], content["source"], content["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{record}: can't be read ({error}); choose another folder") from error
    wanted = plan.to_json()
    if source != wanted["source"]:
        raise InputError(f"{out} holds the packed videos of {source}; choose another folder for {plan.source}")
    changed = [name for name, value in wanted["settings"].items() if settings.get(name) != value]
    if changed:
        values = ", ".join(f"{name.replace('_', '-')} {settings.get(name)}" for name in changed)
        raise InputError(f"{out} was packed with other settings ({values}); choose another folder, or give the same")
    if fingerprint != plan.fingerprint:
        raise InputError(f"{plan.source} has changed since it was packed into {out}; choose another folder")


def _check_outside_source(source: Path, out: Path) -> None:
    source_path, out_path = (Path(os.path.realpath(path)) for path in (source, out))
    if source.is_dir() and (out_path == source_path or source_path in out_path.parents):
        raise InputError(f"{out} lies in {source}, which packing must not change; choose a folder elsewhere")


def _is_unused(out: Path) -> bool:
    """Whether the folder is empty, or holds a work folder in which no packing has started."""
    return out.is_dir() and not set(os.listdir(out)) - {WORK_FOLDER} and not (out / WORK_FOLDER / PLAN_FILE).exists()


@contextlib.contextmanager
def lock_output(out: Path) -> Iterator[None]:
    """Hold the lock of OUT, so that one process packs into it. Raises InputError when another process holds it.

    Forked processes hold this kind of lock too. The workers of a killed packer may live on for a moment and write into
    OUT, so the next packer waits until they have ended.
    """
    (out / WORK_FOLDER).mkdir(parents=True, exist_ok=True)
    with (out / WORK_FOLDER / LOCK_FILE).open("w") as file:
        if not try_lock(file, inherited=True, timeout_s=LOCK_TIMEOUT_S):
            raise InputError(f"{out}: another unreel packs into it; wait for it or choose another folder")
        yield
