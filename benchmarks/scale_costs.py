"""What a stage costs on this machine, for scale.py: processor time of a video and of a clip, searches of some sizes.

    python benchmarks/scale_costs.py FOLDER --costs docs/scale.json [--videos 200] [--rows 100000 300000 1000000]

It takes some ten minutes. Costs of a stage are processor time of the whole command with all its processes, on so many
videos of FOLDER and on five times as many: the slope is the cost of one, without the start. Searches are timed on
artificial rows (nearest.py), one person, nothing else running.
"""

import dataclasses
import datetime
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from nearest import make_rows, measure_neighbour_distances, rotate_views

from unreel.corpus.discovery import find_videos
from unreel.indexing.homes.open_home import open_index
from unreel.indexing.index.approximate.ann_index import AnnIndex
from unreel.indexing.index.approximate.ivf import BuildOptions
from unreel.indexing.store.embeddings_file import read_embeddings
from unreel.io.atomic_write import atomic_write_text
from unreel.models.encoder.row_parts import RowParts

TIMES, QUESTIONS = 5, 60


@dataclasses.dataclass(frozen=True)
class Args:
    """What to measure with."""

    folder: tyro.conf.Positional[Path]
    """Videos, at least as many as are measured."""
    costs: Path
    """Where the figures go."""
    videos: int = 200
    """How many are measured."""
    rows: tuple[int, ...] = (100_000, 300_000, 1_000_000)
    """Rows of the artificial indexes."""
    dim: int = 512


def measure_command(words: Sequence[str]) -> float:
    """Seconds of processor time of a command and its children, with one thread for each network. Raises on failure."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "unreel", *words], check=True, env=environment, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_stages(folder: Path, num_videos: int) -> dict[str, float]:
    """Processor time of a video and of a clip: what five times as many take more."""
    few = max(1, num_videos // TIMES)
    videos = [entry.path for entry in find_videos(folder)][: few * TIMES]
    if len(videos) < few * TIMES:
        raise SystemExit(f"{folder} has {len(videos)} videos; the measurement takes {few * TIMES} (--videos)")
    with tempfile.TemporaryDirectory() as scratch:
        folders = {count: Path(scratch) / f"videos{count}" for count in (few, few * TIMES)}
        for count, target in folders.items():
            target.mkdir()
            for number, video in enumerate(videos[:count]):
                (target / f"{number:04d}{Path(video).suffix}").symlink_to(Path(video).resolve())
        spent = {
            stage: [measure_command([*words, str(path), "--out", f"{path}-{stage}"]) for path in folders.values()]
            for stage, words in (("inspect", ["inspect"]), ("index", ["index", "base"]))
        }
        clips = [len(open_index(f"{path}-index").vectors_ND) for path in folders.values()]
    return {
        "videos": len(videos),
        "clips_per_video": clips[1] / len(videos),
        "inspect_s_per_video": (spent["inspect"][1] - spent["inspect"][0]) / (len(videos) - few),
        "embed_s_per_clip": (spent["index"][1] - spent["index"][0]) / (clips[1] - clips[0]),
        "start_s": spent["index"][0] - clips[0] * (spent["index"][1] - spent["index"][0]) / (clips[1] - clips[0]),
    }


def measure_question_ms(ask: Callable[[np.ndarray], object], query_QD: np.ndarray) -> float:
    """The median over questions, after a first one."""
    ask(query_QD[:1])
    times = []
    for number in range(len(query_QD)):
        began_s = time.perf_counter()
        ask(query_QD[number : number + 1])
        times.append(1000 * (time.perf_counter() - began_s))
    return float(np.median(times))


def measure_search(real_ND: np.ndarray, distances: np.ndarray, rows: int, on_disk: bool = False) -> dict[str, float]:
    """Building and asking the local index of so many rows, with codes of 8 bits or those that stay on disk, and
    comparing all rows instead."""
    rng = np.random.default_rng(0)
    vectors_ND = make_rows(real_ND, distances, rows, 2, rng)
    query_QD = make_rows(real_ND, distances, QUESTIONS, 2, rng)
    parts = RowParts.make_equal(["view0", "view1"], [vectors_ND.shape[1] // 2] * 2)
    before_s = time.process_time()
    nearest = AnnIndex.build(vectors_ND, BuildOptions(parts=parts, on_disk_from=0 if on_disk else rows + 1))
    build_s = time.process_time() - before_s
    with tempfile.NamedTemporaryFile(suffix=".faiss") as file:
        nearest.save(Path(file.name))
        index_bytes = os.path.getsize(file.name)
    return {
        "rows": rows,
        "build_s_per_row": build_s / rows,
        "index_bytes_per_row": index_bytes / rows,
        "nearest_ms": measure_question_ms(lambda q: nearest.search(q, 10), query_QD),
        "all_rows_ms": measure_question_ms(lambda q: vectors_ND @ q[0], query_QD),
    }


def main(args: Args) -> None:
    """Write all unit costs as JSON."""
    costs: dict[str, Any] = {"cores": os.cpu_count()}
    costs |= {"date": datetime.date.today().isoformat(), "footage": args.folder.resolve().name, "dim": args.dim}
    costs |= measure_stages(args.folder, args.videos)
    print(json.dumps(costs), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        measure_command(["embed", "base", str(args.folder), "--per", "clip", "--out", f"{scratch}/rows.parquet"])
        embeddings = read_embeddings(Path(scratch) / "rows.parquet")
    rng = np.random.default_rng(0)
    # One view of base as two of half the numbers each would halve what is real: it is mapped to both instead.
    doubled = dataclasses.replace(embeddings, vectors=np.tile(embeddings.vectors / math.sqrt(2), 2).astype(np.float32))
    distances = measure_neighbour_distances(doubled, rng)
    real_ND = rotate_views(doubled.vectors, args.dim, 2, rng)
    costs["search"] = []
    for rows in args.rows:
        costs["search"].append(measure_search(real_ND, distances, rows))
        print(json.dumps(costs["search"][-1]), flush=True)
    costs["search_on_disk"] = measure_search(real_ND, distances, args.rows[-1], on_disk=True)
    atomic_write_text(args.costs, json.dumps(costs, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
