"""Hundreds of damaged videos through every command: how each ended, in what time and memory.

    python tests/fuzz.py --files 500 --out DIR

Exits with 1 when a file has neither been used nor quarantined with a reason, when reading one took more than 30 s or
1 GB, or when a command failed.
"""

import argparse
import csv
import os
import re
import resource
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from damaged import KINDS, SOURCES, make

from unreel.corpus import inspection
from unreel.corpus.lists import VideoEntry
from unreel.corpus.manifest import MANIFEST_FILE, QUARANTINE_FILE, Manifest
from unreel.io.limits import Limits, WorkerFailure
from unreel.io.worker_pool import map_jobs
from unreel.rows.video_rows import Video
from unreel.types import FileFailure
from unreel.video.decoding import decoder

SMALL = "--backbone tiny --size 32 --num-frames 8 --batch-size 8 --epochs 2 --device cpu --max-bad-share 1".split()
MAX_SECONDS, MAX_MB = 30, 1024
Reasons = dict[str, str]  # file name to "" for one that was used, else the reason


@dataclass(frozen=True)
class Reading:
    """What looking into one file and decoding it came to."""

    reason: str
    seconds: float
    memory_mb: float

    @property
    def is_bounded(self) -> bool:
        return self.seconds <= MAX_SECONDS and self.memory_mb <= MAX_MB


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--files", type=int, default=500, help="damaged files to make")
    asked.add_argument("--out", type=Path, required=True, help="folder to make")
    asked.add_argument("--seed", type=int, default=0, help="same seed, same bytes")
    asked.add_argument("--workers", type=int, default=2, help="processes")
    given = asked.parse_args()
    videos = given.out / "videos"
    kinds = {path.name: kind for path, kind in make(videos, given.files, given.seed, good=12)}
    suffixes = {Path(name).suffix for name in SOURCES}
    print(f"{len(SOURCES)} good videos with {len(suffixes)} suffixes: {', '.join(SOURCES)}")
    print(f"{len(kinds)} files, {given.files} of them damaged in {len(KINDS)} ways\n")
    readings = dict(zip(kinds, read_all([videos / name for name in kinds], given.workers), strict=True))
    print_table(kinds, readings)
    excessive = [name for name, reading in readings.items() if not reading.is_bounded]
    print("".join(f"took too much or ended its process: {name}\n" for name in excessive), end="", flush=True)
    failed = [name for name, *command in commands(given.out, given.workers) if not ran(name, *command, kinds)]
    return int(bool(excessive or failed))


def read_all(paths: Sequence[Path], workers: int) -> list[Reading]:
    """Each file looked into as `inspect` does, then decoded, in guarded processes."""
    found = []
    for path, answer in map_jobs(measured, paths, (), workers, Limits().scale_to_file):
        found.append(
            Reading(answer.detail, float("nan"), float("nan")) if isinstance(answer, WorkerFailure) else answer
        )
        if isinstance(answer, WorkerFailure):
            print(f"contained: {path.name}: {answer.detail}", flush=True)
    return found


def measured(path: Path) -> Reading:
    before, began_s = peak_mb(reset=True), time.monotonic()
    row = inspection._inspect_file(VideoEntry(path), 2, "auto", True)
    reason = row.reason if isinstance(row, FileFailure) else ""
    if isinstance(row, Video):
        decoder.read_frames(path, np.linspace(0, row.num_frames - 1, 8).astype(int), (64, 64))
    return Reading(reason, time.monotonic() - began_s, peak_mb() - before)


def peak_mb(reset: bool = False) -> float:
    """The most memory that this process had since it was last asked so (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


def print_table(kinds: dict[str, str], readings: dict[str, Reading]) -> None:
    """A row for each kind: how its files ended, the worst seconds and megabytes."""
    rows = defaultdict[str, list[Reading]](list)
    for name, kind in kinds.items():
        rows[kind].append(readings[name])
    print("| damage | files | usable | quarantined | worst s | worst MB |\n|---|---|---|---|---|---|")
    for kind, found in [*rows.items(), ("all", list(readings.values()))]:
        reasons = Counter(reading.reason for reading in found)
        usable = reasons.pop("", 0)
        said = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        worst = [np.nanmax([getattr(r, name) for r in found]) for name in ("seconds", "memory_mb")]
        print(f"| {kind} | {len(found)} | {usable} | {said} | {worst[0]:.2f} | {worst[1]:.0f} |")
    print(flush=True)


def commands(out: Path, workers: int) -> list[tuple[str, list[str], Path]]:
    """Name, command and where it leaves its word on each file."""
    videos, run = str(out / "videos"), str(out / "run")
    return [
        ("inspect", [videos, "--out", str(out / "manifest")], out / "manifest"),
        ("pack", [videos, str(out / "packed"), "--workers", str(workers), "--no-gain"], out / "packed"),
        ("pretrain", [videos, "--out", run, "--workers", str(workers), *SMALL], out / "run"),
        ("embed", [run, videos, "--out", str(out / "vectors.parquet")], out / "vectors.parquet"),
    ]


def ran(name: str, arguments: list[str], place: Path, kinds: dict[str, str]) -> bool:
    """Run a command and print a row about it; False where it failed or left a file without a word."""
    began_s = time.monotonic()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "1000"}
    command = [sys.executable, "-m", "unreel", name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    seconds, most_kb = time.monotonic() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    if done.returncode != 0:
        print(f"unreel {name} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return False
    found = embedded(place, done.stderr) if name == "embed" else listed(place)
    silent = [file_name for file_name in kinds if file_name not in found]
    spared = Counter(reason.split(" (")[0] for reason in found.values() if reason)
    contained = sum("ended the process" in reason or "did not end" in reason for reason in found.values())
    print(
        f"unreel {name}: {seconds:.0f} s, no process above {most_kb / 1024:.0f} MB so far; "
        f"{sum(not reason for reason in found.values())} files used, {sum(spared.values())} left out with a reason, "
        f"{len(silent)} without a word; {contained} crashes or hangs contained",
        flush=True,
    )
    for file_name in silent:
        print(f"  without a word: {file_name}")
    return not silent


def listed(folder: Path) -> Reasons:
    """What a manifest and a quarantine list say of each file; the latter wins."""
    if (folder / "shard-00000.tar").exists() or (folder / "pack.json").exists():
        used = {Path(video.recording).name: "" for video in inspection.inspect(folder).videos}
    else:
        used = {Path(video.path).name: "" for video in Manifest.load(folder).videos}
    assert (folder / MANIFEST_FILE).exists()
    with (folder / QUARANTINE_FILE).open(newline="", encoding="utf-8") as rows:
        return used | {Path(row["path"]).name: f"{row['reason']} ({row['detail']})" for row in csv.DictReader(rows)}


def embedded(path: Path, said: str) -> Reasons:
    """The rows of the embeddings, and the files that were named as left out."""
    used = {Path(str(p)).name: "" for p in pq.read_table(path).column("path").to_pylist()}
    out = re.findall(r"^left out (.*?/videos/[^/]*?\.\w+): (.*)$", said, re.MULTILINE)
    return used | {Path(p).name: reason for p, reason in out}


if __name__ == "__main__":
    sys.exit(main())
