"""Search in a million vectors made of real embeddings: seconds to build, memory, latency alone and for 20 at once.

    python benchmarks/nearest.py EMBEDDINGS.parquet [--rows 1000000] [--dim 512] [--people 20] [--folder FOLDER]

Rows are real embeddings drawn with repetition and mapped to `dim` dimensions by an orthogonal matrix. Noise is added as
long as a random one of the real distances between neighbours (in another video), and rows are normalised. So neighbours
are as near to each other as in the real set, and no row occurs twice. Queries are made in the same way and are not
rows. Each person asks the next question as soon as the answer is there.

With a folder the rows lie in FOLDER/vectors.npy (2 kB each; those of an earlier call are taken) and the index beside
them, and both are read as memory maps, as `unreel serve` reads them; questions are also asked with nothing of either
file in memory.
"""

import dataclasses
import mmap
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
import tyro

from unreel.indexing.index.approximate.ann_index import AnnIndex
from unreel.indexing.index.approximate.ivf import BuildOptions
from unreel.indexing.index.vectors import BLOCK_ROWS, search_exact, write_npy
from unreel.indexing.store.embeddings_file import read_embeddings
from unreel.indexing.store.file_names import ANN_INDEX_FILE, VECTORS_NPY
from unreel.io.atomic_write import atomic_path
from unreel.models.encoder.row_parts import RowParts
from unreel.types import Embeddings


@dataclasses.dataclass
class Args:
    """What to build and ask."""

    embeddings: tyro.conf.Positional[Path]
    rows: int = 1_000_000
    dim: int = 512
    queries: int = 400
    people: int = 20
    k: int = 10
    views: int = 2
    """Views side by side in an embedding; each has a matrix of its own, so that views can be weighed."""
    seed: int = 0
    folder: Path | None = None
    on_disk_from: int = BuildOptions.on_disk_from
    """Rows from which on codes stay on disk."""


def read_memory_mb() -> float:
    """Memory of this process without mapped files, in MB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) / 1024


def rotate_views(vectors_ND: np.ndarray, dim: int, views: int, rng: np.random.Generator) -> np.ndarray:
    """Each view in dim / views dimensions by orthonormal columns, which keep all inner products; (N, dim)."""
    parts = np.split(vectors_ND, views, axis=1)
    width = dim // views
    rotations = [np.linalg.qr(rng.standard_normal((width, part.shape[1])))[0] for part in parts]
    rotated = [part @ rotation.T for part, rotation in zip(parts, rotations, strict=True)]
    return np.concatenate(rotated, axis=1).astype(np.float32)


def measure_neighbour_distances(embeddings: Embeddings, rng: np.random.Generator) -> np.ndarray:
    """Distances from up to 2000 random clips to the nearest clip of another video."""
    paths = np.asarray(embeddings.paths)
    drawn = rng.choice(len(paths), min(2000, len(paths)), replace=False)
    score_QN = embeddings.vectors[drawn] @ embeddings.vectors.T
    score_QN[paths[drawn][:, None] == paths] = -1
    return np.sqrt(np.maximum(2 - 2 * score_QN.max(axis=1), 0))


def make_rows(
    real_ND: np.ndarray, distances: np.ndarray, count: int, views: int, rng: np.random.Generator
) -> np.ndarray:
    """Real rows drawn with repetition, plus noise as long as a random one of `distances`; views of equal length."""
    return np.concatenate(list(make_blocks(real_ND, distances, count, views, rng)))


def make_blocks(
    real_ND: np.ndarray, distances: np.ndarray, count: int, views: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """The rows of `make_rows`, some at a time."""
    for start in range(0, count, BLOCK_ROWS):
        shape = (min(BLOCK_ROWS, count - start), real_ND.shape[1])
        noise = rng.standard_normal(shape, dtype=np.float32)
        noise *= (rng.choice(distances, len(noise)) / np.linalg.norm(noise, axis=1))[:, None].astype(np.float32)
        rows = (real_ND[rng.integers(0, len(real_ND), len(noise))] + noise).reshape(len(noise), views, -1)
        rows /= np.linalg.norm(rows, axis=2, keepdims=True) * np.sqrt(views, dtype=np.float32)
        yield rows.reshape(shape)


def write_rows(path: Path, count: int, blocks: Iterator[np.ndarray]) -> np.ndarray:
    """A memory map of rows in a file, which is written unless it is there."""
    if not path.exists():
        with atomic_path(path) as temporary:
            write_npy(temporary, count, blocks)
    vectors_ND: np.ndarray = np.load(path, mmap_mode="r")
    if len(vectors_ND) != count:
        raise SystemExit(f"{path}: {len(vectors_ND)} rows, not {count}; remove it")
    return vectors_ND


def move_to_disk(nearest: AnnIndex, folder: Path, vectors_ND: np.ndarray) -> AnnIndex:
    """The same index, read from its file."""
    path = folder / ANN_INDEX_FILE
    nearest.save(path)
    began_s = time.perf_counter()
    moved = AnnIndex.load(path, nearest.description.vectors_fingerprint)
    moved.use_vectors(vectors_ND)
    print(f"file of the index {path.stat().st_size >> 20} MB, opened in {time.perf_counter() - began_s:.1f} s")
    return moved


def forget_files(folder: Path, vectors_ND: np.ndarray) -> None:
    """Leave nothing of the rows and of the index in memory."""
    vectors_ND._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
    for name in (VECTORS_NPY, ANN_INDEX_FILE):
        with (folder / name).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure_recall(vectors_ND: np.ndarray, query_QD: np.ndarray, nearest: AnnIndex, k: int) -> float:
    """Share of the k neighbours of exact search that are found. Queries are no rows, so none finds itself."""
    exact_QK, _ = search_exact(vectors_ND, query_QD, k)
    found_QK = np.concatenate([nearest.search(query[None], k)[1] for query in query_QD])
    return float(np.mean([len(set(e) & set(f)) / k for e, f in zip(exact_QK.tolist(), found_QK.tolist(), strict=True)]))


def measure_latencies(ask: Callable[[int], object], count: int, people: int) -> np.ndarray:
    """Milliseconds of each of `count` questions by `people` at once; an error ends the benchmark."""

    def time_question(n: int) -> float:
        began_s = time.perf_counter()
        ask(n)
        return 1000 * (time.perf_counter() - began_s)

    with ThreadPoolExecutor(people) as pool:
        return np.array(list(pool.map(time_question, range(count))))


def main(args: Args) -> None:
    rng = np.random.default_rng(args.seed)
    embeddings = read_embeddings(args.embeddings)
    distances = measure_neighbour_distances(embeddings, rng)
    real_ND = rotate_views(embeddings.vectors, args.dim, args.views, rng)
    blocks = make_blocks(real_ND, distances, args.rows, args.views, np.random.default_rng((args.seed, 1)))
    if args.folder:
        args.folder.mkdir(parents=True, exist_ok=True)
        vectors_ND = write_rows(args.folder / VECTORS_NPY, args.rows, blocks)
    else:
        vectors_ND = np.concatenate(list(blocks))
    query_QD = make_rows(real_ND, distances, args.queries, args.views, np.random.default_rng((args.seed, 2)))
    print(
        f"{len(real_ND)} real embeddings of {embeddings.vectors.shape[1]} numbers, neighbours "
        f"{np.median(distances):.3f} apart (median)"
    )
    parts = RowParts.make_equal([f"view{n}" for n in range(args.views)], [args.dim // args.views] * args.views)
    before_mb, began_s = read_memory_mb(), time.perf_counter()
    options = BuildOptions(parts=parts, seed=args.seed, on_disk_from=args.on_disk_from)
    nearest = AnnIndex.build(vectors_ND, options)
    print(
        f"built in {time.perf_counter() - began_s:.0f} s, {faiss.omp_get_max_threads()} threads: {nearest.description}"
    )
    print(f"memory of the index as it is built {read_memory_mb() - before_mb:.0f} MB")
    if args.folder:
        nearest = move_to_disk(nearest, args.folder, vectors_ND)
        print(f"memory of the index as it is searched {read_memory_mb() - before_mb:.0f} MB")
        forget_files(args.folder, vectors_ND)
        cold_ms = measure_latencies(lambda n: nearest.search(query_QD[n : n + 1], args.k), args.queries, 1)
        print("nothing in memory: p50 {:.1f} ms, p95 {:.1f} ms".format(*np.percentile(cold_ms, (50, 95))))
    else:
        print(f"of the vectors beside it {vectors_ND.nbytes >> 20} MB")
    print(
        f"recall@{args.k} on {args.queries} unseen queries {measure_recall(vectors_ND, query_QD, nearest, args.k):.3f}"
    )
    tenth_N = rng.random(args.rows) < 0.1
    questions: dict[str, Callable[[int], object]] = {
        f"k={args.k}": lambda n: nearest.search(query_QD[n : n + 1], args.k),
        "k=1000, what a page of 20 hits asks for": lambda n: nearest.search(query_QD[n : n + 1], 1000),
        f"k={args.k}, a filter that leaves a tenth": lambda n: nearest.search(query_QD[n : n + 1], args.k, tenth_N),
    }
    print("\n| question | people at once | p50, ms | p95, ms | questions/s |\n|---|---|---|---|---|")
    for name, ask in questions.items():
        for people in (1, args.people):
            began_s = time.perf_counter()
            latencies_ms = measure_latencies(ask, args.queries, people)
            rate = args.queries / (time.perf_counter() - began_s)
            p50, p95 = np.percentile(latencies_ms, (50, 95))
            print(f"| {name} | {people} | {p50:.1f} | {p95:.1f} | {rate:.0f} |")


if __name__ == "__main__":
    main(tyro.cli(Args))
