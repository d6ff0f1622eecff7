"""Latency and errors of a running `unreel serve` over an index of artificial rows, for one person and for many.

    python benchmarks/serve.py INDEX FAKE [--rows 100000] [--clips 50] [--people 20] [--pause-s 0]

FAKE becomes an index of rows that are made from those of INDEX as in `nearest.py`, 50 clips for each video, none of
which exists; it is kept for the next run. Each person asks for 24 hits like a random row, at a random place of the
slider, and asks again after a pause. The whole request is timed, as a browser on this machine waits for it.
"""

import contextlib
import dataclasses
import http.client
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from nearest import make_rows, measure_neighbour_distances, rotate_views

from unreel.corpus.file_tracker import FileRecord, save_records
from unreel.embedding import load_encoder
from unreel.indexing.index.build_index import refresh_index
from unreel.indexing.store.embeddings_file import read_embeddings, write_embeddings
from unreel.indexing.store.encoder_hash import describe_encoder
from unreel.indexing.store.file_names import ENCODER_FOLDER, FILES_PARQUET, PARTS_FOLDER, STORE_JSON
from unreel.types import Embeddings

PART = 100_000


@dataclasses.dataclass
class Args:
    """What to make, and how many people ask."""

    index: tyro.conf.Positional[Path]
    fake: tyro.conf.Positional[Path]
    rows: int = 100_000
    clips: int = 50
    """Of each video."""
    dim: int = 512
    people: int = 20
    questions: int = 50
    """Of each person."""
    pause_s: float = 0.0
    seed: int = 0


def make_index(args: Args) -> None:
    """Write an index of artificial rows, with the encoder of the real one."""
    rng = np.random.default_rng(args.seed)
    embeddings, encoder = read_embeddings(args.index), load_encoder(args.index / ENCODER_FOLDER)
    views = len(dict.fromkeys(encoder.spec.views.names))
    distances = measure_neighbour_distances(embeddings, rng)
    real_ND = rotate_views(embeddings.vectors, args.dim, views, rng)
    (args.fake / PARTS_FOLDER).mkdir(parents=True)
    shutil.copy(args.index / STORE_JSON, args.fake / STORE_JSON)
    shutil.copytree(args.index / ENCODER_FOLDER, args.fake / ENCODER_FOLDER)
    for part, first in enumerate(range(0, args.rows, PART)):
        number_N = np.arange(first, min(first + PART, args.rows))
        paths = [f"/made/{n:07d}.mp4" for n in number_N // args.clips]
        vectors_ND = make_rows(real_ND, distances, len(number_N), views, rng)
        start_s = (number_N % args.clips) * 0.32
        rows = Embeddings(vectors_ND, paths, start_s, start_s + 0.64, ["made"] * len(paths), paths)
        write_embeddings(rows, args.fake / PARTS_FOLDER / f"{part:05d}.parquet", describe_encoder(encoder))
    files = [f"/made/{n:07d}.mp4" for n in range(-(-args.rows // args.clips))]
    save_records({path: FileRecord(path, "/made", "made", 1, 1, path) for path in files}, args.fake / FILES_PARQUET)
    began_s = time.perf_counter()
    print(f"{refresh_index(args.fake, encoder)}; built in {time.perf_counter() - began_s:.0f} s")


class Person(threading.Thread):
    """Asks over one connection; keeps the milliseconds of each answer, and the errors."""

    def __init__(self, args: Args, address: str, index_id: str, number: int) -> None:
        super().__init__()
        self.args, self.index_id, self.rng = args, index_id, np.random.default_rng((args.seed, number))
        self.connection = http.client.HTTPConnection(address, timeout=120)
        self.latencies_ms: list[float] = []
        self.errors: list[str] = []

    def run(self) -> None:
        for _ in range(self.args.questions):
            query = {"of": self.index_id, "like": [int(self.rng.integers(self.args.rows))], "motion": self.rng.random()}
            began_s = time.perf_counter()
            self.connection.request("POST", "/api/search", json.dumps(query), {"Content-Type": "application/json"})
            answer = self.connection.getresponse()
            text = answer.read()
            self.latencies_ms.append(1000 * (time.perf_counter() - began_s))
            if answer.status != 200 or len(json.loads(text)["hits"]) != 24:
                self.errors.append(f"{answer.status} {text[:100]!r}")
            time.sleep(self.args.pause_s)
        self.connection.close()


def run_people(args: Args, address: str, index_id: str, people: int) -> None:
    threads = [Person(args, address, index_id, number) for number in range(people)]
    began_s = time.perf_counter()
    for person in threads:
        person.start()
    for person in threads:
        person.join()
    latencies_ms = np.array([ms for person in threads for ms in person.latencies_ms])
    errors = [error for person in threads for error in person.errors]
    p50, p95 = np.percentile(latencies_ms, (50, 95))
    rate = len(latencies_ms) / (time.perf_counter() - began_s)
    setting = f"| {args.rows:,} | {people} | {args.pause_s:g}"
    print(f"{setting} | {p50:.1f} | {p95:.1f} | {rate:.0f} | {len(errors)} |", flush=True)
    if errors:
        print(errors[0])


@contextlib.contextmanager
def run_server(index: Path) -> Iterator[str]:
    """Host and port of an `unreel serve` that has already read the index and made its map."""
    began_s = time.perf_counter()
    command = [sys.executable, "-m", "unreel", "serve", str(index), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        match = re.search(r"http://([^/]+)/", server.stdout.readline())
        assert match, "the server did not start"
        print(f"served after {time.perf_counter() - began_s:.1f} s")
        try:
            while not get_json(match[1], f"/api/{get_json(match[1], '/api/index')['id']}/map")["ready"]:
                time.sleep(1)
            print(f"map made after {time.perf_counter() - began_s:.1f} s\n")
            yield match[1]
        finally:
            server.terminate()


def get_json(address: str, path: str) -> dict[str, Any]:
    """The answer of a running server to a GET request."""
    with contextlib.closing(http.client.HTTPConnection(address, timeout=120)) as connection:
        connection.request("GET", path)
        return dict(json.loads(connection.getresponse().read()))


def main(args: Args) -> None:
    if not (args.fake / FILES_PARQUET).exists():
        make_index(args)
    with run_server(args.fake) as address:
        index_id = get_json(address, "/api/index")["id"]
        print("| rows | people at once | pause, s | p50, ms | p95, ms | answers/s | errors |")
        print("|---|---|---|---|---|---|---|")
        for people in (1, args.people):
            run_people(args, address, index_id, people)


if __name__ == "__main__":
    main(tyro.cli(Args))
