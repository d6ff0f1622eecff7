"""Every row of docs/performance.md and docs/results.md that needs a GPU, in at most 12 minutes on one H100 or H200.

    python benchmarks/gpu.py JHMDB --json docs/gpu.json --docs docs/performance.md docs/results.md
    python benchmarks/gpu.py VIDEOS --json OUT.json --tiny --device cpu      # the same ways with tiny shapes, for a try

JHMDB is a folder of labelled videos with train.txt and test.txt. Each row is measured in a process of its own with a
limit of time, so that one that fails, hangs, crashes or runs out of memory says why and the others go on. After each
row the JSON file is whole. The same command goes on where it stopped: rows with figures stay, failed ones are measured
again, so two calls of 9 and 4 minutes do the work of one of 13. `--docs` puts the tables between their marks in these
pages; `--show` only does that, also where there is no GPU. What is measured is in gpu_rows.py, in this order.
"""

import contextlib
import dataclasses
import datetime
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

# Before torch is imported: to look for a GPU through its driver would make it useless in forked processes.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

import torch
import tyro
from gpu_rows import ROWS, Row, Setup, describe_machine
from gpu_tables import TABLES, Outcome, format_cells, format_table, replace_part
from gpu_tables import describe_machine as describe

from unreel.errors import InputError, UnreelError, unknown_name_error
from unreel.io.atomic_write import atomic_write_text
from unreel.io.text import format_duration, format_json, parse_json

LEAST_S = 8  # a row is not begun with less time left: starting CUDA alone takes some seconds
COMMAND = "python benchmarks/gpu.py JHMDB --json docs/gpu.json --docs docs/performance.md docs/results.md"


@dataclasses.dataclass(frozen=True)
class Args:
    """What to measure and where to write it."""

    videos: tyro.conf.Positional[Path | None] = None
    """Labelled videos with train.txt and test.txt."""
    json: Path = Path("gpu.json")
    """File of the figures; an existing one is continued."""
    minutes: float = 12
    """Minutes in all."""
    only: tuple[str, ...] = ()
    """Tables, or rows as TABLE/ROW (names as in the file), to measure; all by default."""
    docs: tuple[Path, ...] = ()
    """Markdown files that get the tables between their marks."""
    show: bool = False
    """Measure nothing, write the tables of what is there."""
    tiny: bool = False
    """The smallest shapes and fewest rounds, for a try without a GPU; the figures mean nothing."""
    device: Literal["cuda", "cpu"] = "cuda"
    """Where the networks run."""


# One row in a process of its own.


def run_row(row: Row, setup: Setup, limit_s: float) -> dict[str, Any]:
    """The outcome of a row: {"figures": ...} or {"failed": why}, and "seconds". What it started ends with it."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="unreel-gpu-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "work").mkdir()
        own = dataclasses.replace(setup, folder=folder / "work")
        process: Any = multiprocessing.get_context(setup.start_method).Process(
            target=_measure, args=(row.measure, own, folder)
        )
        process.start()
        try:
            process.join(limit_s)
            is_late = process.is_alive()
        finally:
            _end_group(process.pid)
            process.join()
        outcome = _read_outcome(folder, f"took longer than {format_duration(limit_s)}" if is_late else "", process)
    return outcome | {"seconds": round(time.monotonic() - began_s, 1)}


def _measure(measure: Callable[[Setup], Any], setup: Setup, folder: Path) -> None:
    """What the process of a row does: it leads a group of its own, and what it says goes to a file."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    log = os.open(folder / "log.txt", os.O_CREAT | os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(log, stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", closefd=False) for stream in (1, 2))
    try:
        outcome = {"figures": measure(setup)}
    except BaseException as error:
        traceback.print_exc()
        outcome = {"failed": explain(error)}
    atomic_write_text(folder / "outcome.json", json.dumps(outcome))
    os._exit(0)  # without the ends of CUDA, loaders and caches, any of which could hang


def explain(error: BaseException) -> str:
    """Why a row failed, in one line.

    >>> explain(MemoryError()), explain(ValueError("no such network"))
    ('out of memory', 'ValueError: no such network')
    """
    line = str(error).strip().partition("\n")[0][:200]
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return f"out of memory: {line}" if line else "out of memory"
    return line if isinstance(error, UnreelError) else f"{type(error).__name__}: {line}"


def _end_group(pid: int | None) -> None:
    """End the process of a row and all that it started."""
    assert pid is not None
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _read_outcome(folder: Path, late: str, process: Any) -> dict[str, Any]:
    """What the row wrote; else how its process ended and the last line that it said."""
    if (folder / "outcome.json").exists():
        return parse_json((folder / "outcome.json").read_bytes())
    code = process.exitcode
    ended = late or (f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}")
    log = folder / "log.txt"
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return {"failed": ended + (f"; it said: {lines[-1][:200]}" if lines else "")}


# All rows.


def select_rows(rows: Sequence[Row], only: Sequence[str]) -> list[Row]:
    """The rows of these tables and names, or all. Raises InputError for an unknown one."""
    known = {row.table for row in rows} | {row.key for row in rows}
    for name in only:
        if name not in known:
            raise unknown_name_error("row", name, known)
    return [row for row in rows if not only or row.table in only or row.key in only]


def measure_rows(rows: Sequence[Row], setup: Setup, args: Args, found: dict[str, Any]) -> None:
    """Measure what has no figures yet until the time is over; `found` and the file have every row as it ends."""
    end_s, outcomes = time.monotonic() + 60 * args.minutes, found["rows"]
    for number, row in enumerate(rows, start=1):
        left_s = end_s - time.monotonic()
        if "figures" in outcomes.get(row.key, {}):
            continue
        if left_s < LEAST_S and not args.tiny:
            outcomes.setdefault(row.key, {"failed": f"no time was left; `--only '{row.key}'` measures it"})
            continue
        outcomes[row.key] = run_row(row, setup, max(0.1, min(row.limit_s, left_s)))
        atomic_write_text(args.json, format_json(found) + "\n")
        said = outcomes[row.key].get("failed", "measured")
        took = f"{outcomes[row.key]['seconds']:.0f} s, {format_duration(max(0, end_s - time.monotonic()))} left"
        print(f"[{number}/{len(rows)}] {row.key}: {said} ({took})", flush=True)
    atomic_write_text(args.json, format_json(found) + "\n")


def read_found(path: Path) -> dict[str, Any]:
    """What the file has; nothing where it is not there yet. Raises InputError for another file."""
    if not path.exists():
        return {"machine": {}, "rows": {}}
    try:
        found = parse_json(path.read_bytes())
        return {"machine": dict(found["machine"]), "rows": dict(found["rows"])}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a file of figures by gpu.py ({error!r}); choose another --json") from None


def join_machine(found: dict[str, Any], machine: dict[str, Any], path: Path) -> None:
    """Note on what machine the figures are measured. Raises InputError where there are some of another one."""
    same = ("name", "gpus", "torch", "videos", "tiny")
    earlier = found["machine"]
    if earlier and any(earlier.get(name) != machine[name] for name in same):
        raise InputError(f"{path} has figures of another machine, version or set of videos; choose another --json")
    found["machine"] = machine | {"date": earlier.get("date", machine["date"])}


def examine_machine(setup: Setup) -> tuple[Setup, dict[str, Any]]:
    """How processes are to begin here, and the machine. Raises InputError where there is no GPU to measure."""
    row, outcome = Row("machine", "", describe_machine), {}
    for start_method in ("fork", "spawn"):
        setup = dataclasses.replace(setup, start_method=start_method)
        outcome = run_row(row, setup, 120)
        if "failed" not in outcome:
            break
    if "failed" in outcome:
        raise InputError(f"the machine could not be asked for its GPUs: {outcome['failed']}")
    machine: dict[str, Any] = outcome["figures"]
    if setup.device == "cuda" and not machine["gpus"]:
        raise InputError(
            "there is no GPU here, so rows stay as they are; on a machine with one, run it again. `--show` writes the "
            "tables of what is measured, `--tiny --device cpu` tries all rows with tiny shapes"
        )
    about = {"videos": setup.videos.resolve().name, "date": str(datetime.date.today()), "tiny": setup.tiny}
    return setup, machine | about


# What is shown.


def format_all(found: dict[str, Any]) -> str:
    """One table of all rows: what was measured, its figures, and how long it took."""
    lines = [describe(found["machine"]), "", "| row | figures | seconds |", "|---|---|---|"]
    for row in ROWS:
        outcome: Outcome | None = found["rows"].get(row.key)
        table = TABLES[row.table]
        cells = format_cells(table, outcome)
        heads = [f"{head} " for head, _ in table.columns.values()] if outcome and "figures" in outcome else [""] * 9
        figures = "; ".join(head + cell for head, cell in zip(heads, cells, strict=False) if cell)
        lines.append(f"| {row.table}: {row.name} | {figures} | {outcome.get('seconds', '') if outcome else ''} |")
    return "\n".join(lines)


def write_docs(pages: Sequence[Path], found: dict[str, Any]) -> None:
    """Fill the marked parts of the pages. Raises InputError for figures of tiny shapes, and a page without marks."""
    if found["machine"].get("tiny"):
        raise InputError("these figures are of tiny shapes (--tiny); measure without it before --docs")
    for page in pages:
        text = before = page.read_text(encoding="utf-8")
        if "<!-- gpu: " not in text:
            raise InputError(f"{page} has no marks as <!-- gpu: networks -->; put them where the tables belong")
        for name, table in TABLES.items():
            rows = [(row.key, row.name) for row in ROWS if row.table == name]
            parts = [f"    {COMMAND}", table.sentence, describe(found["machine"])]
            parts.append(format_table(name, rows, found["rows"]))
            text = replace_part(text, name, "\n\n".join(filter(None, parts)))
        if text != before:
            atomic_write_text(page, text)


def main(args: Args) -> int:
    """Measure, print, write. Returns 1 where a row has no figures."""
    found, rows = read_found(args.json), select_rows(ROWS, args.only)
    reason = ""
    if not args.show:
        if args.videos is None or not args.videos.is_dir():
            raise InputError(f"name a folder of labelled videos to measure with, got {args.videos}")
        try:
            setup, machine = examine_machine(Setup(args.videos, args.videos, args.device, args.tiny))
            join_machine(found, machine, args.json)
            measure_rows(rows, setup, args, found)
        except InputError as error:
            reason = str(error)
    if args.docs:
        write_docs(args.docs, found)
    print(format_all(found))
    if reason:
        raise InputError(reason)
    return int(not args.show and any("figures" not in found["rows"].get(row.key, {}) for row in rows))


def stop(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    try:
        raise SystemExit(main(tyro.cli(Args)))
    except UnreelError as error:
        raise SystemExit(f"gpu.py: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("stopped; the same command goes on") from None
