"""Search in a million vectors made of real embeddings: seconds to build, memory, latency alone and for 20 at once.

    python benchmarks/nearest.py EMBEDDINGS.parquet [--rows 1000000] [--dim 512] [--people 20]

Rows are real embeddings drawn with repetition, turned into `dim` dimensions by an orthogonal matrix, plus noise whose
length is drawn from the real distances between neighbours (the nearest in another video), and made unit again. So
neighbours are as near to each other as in the real set, and no row is there twice. Queries are made the same way and
are not rows. Each of the people asks again as soon as they have an answer.
"""

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
import tyro

from unreel.indexing.index.ann_index import AnnIndex
from unreel.indexing.index.ivf import BuildOptions
from unreel.indexing.index.vectors import iterate_blocks, search_exact
from unreel.indexing.store.embeddings_file import read_embeddings
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
    """Views side by side in an embedding; each is turned by itself, so that the slider's ends can be asked."""
    seed: int = 0


def resident_mb() -> float:
    """Memory of this process that no file backs."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) / 1024


def turned(vectors_ND: np.ndarray, dim: int, views: int, rng: np.random.Generator) -> np.ndarray:
    """Each view turned into dim / views dimensions by orthonormal columns: all inner products stay as they are."""
    parts = np.split(vectors_ND, views, axis=1)
    width = dim // views
    turns = [np.linalg.qr(rng.standard_normal((width, part.shape[1])))[0] for part in parts]
    return np.concatenate([part @ turn.T for part, turn in zip(parts, turns, strict=True)], axis=1).astype(np.float32)


def neighbour_distances(found: Embeddings, rng: np.random.Generator) -> np.ndarray:
    """Distance to the nearest clip of another video, of up to 2000 drawn clips."""
    paths = np.asarray(found.paths)
    drawn = rng.choice(len(paths), min(2000, len(paths)), replace=False)
    score_QN = found.vectors[drawn] @ found.vectors.T
    score_QN[paths[drawn][:, None] == paths] = -1
    return np.sqrt(np.maximum(2 - 2 * score_QN.max(axis=1), 0))


def perturbed(
    real_ND: np.ndarray, distances: np.ndarray, count: int, views: int, rng: np.random.Generator
) -> np.ndarray:
    """Real rows drawn with repetition plus noise as long as a distance drawn too, views of equal length again."""
    made = np.empty((count, real_ND.shape[1]), np.float32)
    for start, block in iterate_blocks(made):
        noise = rng.standard_normal(block.shape, dtype=np.float32)
        noise *= (rng.choice(distances, len(block)) / np.linalg.norm(noise, axis=1))[:, None].astype(np.float32)
        rows = (real_ND[rng.integers(0, len(real_ND), len(block))] + noise).reshape(len(block), views, -1)
        rows /= np.linalg.norm(rows, axis=2, keepdims=True) * np.sqrt(views, dtype=np.float32)
        made[start : start + len(block)] = rows.reshape(len(block), -1)
    return made


def recall(vectors_ND: np.ndarray, query_QD: np.ndarray, nearest: AnnIndex, k: int) -> float:
    """Share of the k that exact search finds; queries are no rows, so nothing is found for free."""
    exact_QK, _ = search_exact(vectors_ND, query_QD, k)
    found_QK = np.concatenate([nearest.search(query[None], k)[1] for query in query_QD])
    return float(np.mean([len(set(e) & set(f)) / k for e, f in zip(exact_QK.tolist(), found_QK.tolist(), strict=True)]))


def latencies(ask: Callable[[int], object], count: int, people: int) -> np.ndarray:
    """Milliseconds of `count` questions by so many people at once; an error ends the benchmark."""

    def timed(n: int) -> float:
        began_s = time.perf_counter()
        ask(n)
        return 1000 * (time.perf_counter() - began_s)

    with ThreadPoolExecutor(people) as pool:
        return np.array(list(pool.map(timed, range(count))))


def main(args: Args) -> None:
    rng = np.random.default_rng(args.seed)
    found = read_embeddings(args.embeddings)
    distances = neighbour_distances(found, rng)
    real_ND = turned(found.vectors, args.dim, args.views, rng)
    vectors_ND = perturbed(real_ND, distances, args.rows, args.views, rng)
    query_QD = perturbed(real_ND, distances, args.queries, args.views, rng)
    print(
        f"{len(real_ND)} real embeddings of {found.vectors.shape[1]} numbers, neighbours "
        f"{np.median(distances):.3f} apart (median)"
    )
    before_mb, began_s = resident_mb(), time.perf_counter()
    nearest = AnnIndex.build(vectors_ND, BuildOptions(num_views=args.views, seed=args.seed))
    print(
        f"built in {time.perf_counter() - began_s:.0f} s, {faiss.omp_get_max_threads()} threads: {nearest.description}"
    )
    print(
        f"memory of the index {resident_mb() - before_mb:.0f} MB, of the vectors beside it {vectors_ND.nbytes >> 20} MB"
    )
    print(f"recall@{args.k} on {args.queries} unseen queries {recall(vectors_ND, query_QD, nearest, args.k):.3f}")
    tenth_N = rng.random(args.rows) < 0.1
    asks: dict[str, Callable[[int], object]] = {
        f"k={args.k}": lambda n: nearest.search(query_QD[n : n + 1], args.k),
        "k=1000, what a page of 20 hits asks for": lambda n: nearest.search(query_QD[n : n + 1], 1000),
        f"k={args.k}, a filter that leaves a tenth": lambda n: nearest.search(query_QD[n : n + 1], args.k, tenth_N),
    }
    print("\n| question | people at once | p50, ms | p95, ms | questions/s |\n|---|---|---|---|---|")
    for name, ask in asks.items():
        for people in (1, args.people):
            began_s = time.perf_counter()
            taken_ms = latencies(ask, args.queries, people)
            rate = args.queries / (time.perf_counter() - began_s)
            p50, p95 = np.percentile(taken_ms, (50, 95))
            print(f"| {name} | {people} | {p50:.1f} | {p95:.1f} | {rate:.0f} |")


if __name__ == "__main__":
    main(tyro.cli(Args))
