"""How start-up grows with the corpus: reading a manifest, its instances, the files of an index, and the sampler.

    python benchmarks/growth.py [--sizes 1000 100000 1000000 10000000] [--samplers 1000 100000 10000000]

A simulated manifest (no videos, only plausible paths, sizes and times) is written and then read in a new process for
each size; memory is the largest growth of that process. The sampler needs no manifest and is timed alone: the order of
an epoch, the first batch, and 1,000 batches in the middle of an epoch, as after a resume.
"""

import dataclasses
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from unreel.corpus.file_tracker import load_records, save_records
from unreel.corpus.held_out import split_held_out
from unreel.corpus.inspection import count_files
from unreel.corpus.manifest import Manifest
from unreel.corpus.segments import build_instances
from unreel.indexing.store.file_names import FILES_PARQUET
from unreel.rows.file_rows import FileBook, FileRecord
from unreel.rows.video_rows import Video, VideoRows
from unreel.video.sampling.batch_sampler import ResumableBatchSampler

BATCH, NUM_ASKED = 64, 1000


@dataclasses.dataclass
class Args:
    """How large."""

    sizes: tuple[int, ...] = (1000, 100_000, 1_000_000, 10_000_000)
    """Videos of the manifest."""
    samplers: tuple[int, ...] = (1000, 100_000, 10_000_000)
    """Instances of the sampler."""


def build_manifest(num_videos: int) -> Manifest:
    """Videos of 10 s in folders of 1,000."""
    return Manifest("/corpus", VideoRows.from_videos(list_videos(num_videos)))


def list_videos(num_videos: int) -> Iterator[Video]:
    return (
        Video(
            path=f"/corpus/{n // 1000:06d}/clip-{n:08d}.mp4",
            codec="h264",
            width=320,
            height=240,
            fps=25.0,
            num_frames=250,
            duration_s=10.0,
            rotation=0,
            variable_fps=False,
            size_bytes=400_000 + n,
            content_hash=f"{n:032x}",
        )
        for n in range(num_videos)
    )


def write_manifest(num_videos: int, folder: str) -> dict[str, float]:
    build_manifest(num_videos).save(Path(folder))
    return {}


def read_manifest(num_videos: int, folder: str) -> dict[str, float]:
    began_s = time.perf_counter()
    manifest = Manifest.load(Path(folder))
    loaded_s = time.perf_counter()
    instances = build_instances(manifest)
    training, _ = split_held_out(instances, 0.1, 0)
    assert len(instances) == count_files(manifest) == num_videos
    prepared_s = time.perf_counter()
    for number in np.random.default_rng(0).integers(len(training), size=NUM_ASKED).tolist():
        assert training[number].path
    asked_us = 1e6 * (time.perf_counter() - prepared_s) / NUM_ASKED
    return {"manifest, s": loaded_s - began_s, "instances, s": prepared_s - loaded_s, "an instance, us": asked_us}


def write_files(num_files: int, folder: str) -> dict[str, float]:
    records = (
        FileRecord(video.path, "/corpus", "", video.size_bytes, 1, video.content_hash)
        for video in list_videos(num_files)
    )
    save_records(FileBook.from_records(records), Path(folder, FILES_PARQUET))
    return {}


def read_files(num_files: int, folder: str) -> dict[str, float]:
    began_s = time.perf_counter()
    book = load_records(Path(folder, FILES_PARQUET))
    assert "/corpus/none.mp4" not in book
    loaded_s = time.perf_counter()
    for number in np.random.default_rng(0).integers(num_files, size=NUM_ASKED).tolist():
        assert book[f"/corpus/{number // 1000:06d}/clip-{number:08d}.mp4"].size_bytes == 400_000 + number
    return {"files, s": loaded_s - began_s, "a file, us": 1e6 * (time.perf_counter() - loaded_s) / NUM_ASKED}


def sample_batches(num_instances: int, _: str) -> dict[str, float]:
    began_s = time.perf_counter()
    next(iter(ResumableBatchSampler(num_instances, BATCH, 0, 0, 1)))
    first_s = time.perf_counter()
    middle = num_instances // BATCH // 2
    batches = sum(1 for _ in ResumableBatchSampler(num_instances, BATCH, 0, middle, middle + 1000))
    assert batches == 1000
    return {"first batch, s": first_s - began_s, "1,000 batches later, s": time.perf_counter() - first_s}


def run_in_process(work: Callable[[int, str], dict[str, float]], size: int, folder: str) -> dict[str, float]:
    """The figures of `work` in a process of its own, with the MB by which that process grew at most."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return dict(pool.apply(measure_memory, (work, size, folder)))


def measure_memory(work: Callable[[int, str], dict[str, float]], size: int, folder: str) -> dict[str, Any]:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = work(size, folder)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    return figures | {"memory, MB": grown_mb, "bytes each": grown_mb * 2**20 / size}


def print_rows(title: str, rows: list[tuple[int, dict[str, float]]]) -> None:
    names = list(rows[0][1])
    print(f"| {title} | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    for size, figures in rows:
        print(f"| {size:,} | " + " | ".join(f"{figures[name]:.3g}" for name in names) + " |")
    print(flush=True)


def main(args: Args) -> None:
    for title, write, read in (
        ("videos of the manifest", write_manifest, read_manifest),
        ("files of an index", write_files, read_files),
    ):
        rows = []
        for size in args.sizes:
            with tempfile.TemporaryDirectory() as folder:
                run_in_process(write, size, folder)
                rows.append((size, run_in_process(read, size, folder)))
        print_rows(title, rows)
    print_rows("instances of the sampler", [(size, run_in_process(sample_batches, size, "")) for size in args.samplers])


if __name__ == "__main__":
    main(tyro.cli(Args))
