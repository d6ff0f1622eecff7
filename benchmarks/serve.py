"""People who search a running `unreel serve` at once, over an index of made rows: p50, p95 and errors.

    python benchmarks/serve.py INDEX FAKE [--rows 100000] [--people 20] [--pause-s 0]

FAKE becomes an index of rows made of INDEX's as `nearest.py` makes them, 50 clips a video that does not exist; it is
kept for another run. Each person asks for 24 hits like a drawn row, at a drawn place of the slider, and asks
again after a pause. What is timed is the whole request, as a browser on this machine would wait for it.
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
from nearest import neighbour_distances, perturbed, turned

from unreel.corpus.file_tracker import FileRecord, save_records
from unreel.embedding import load_encoder
from unreel.indexing.index.build_index import refresh_index
from unreel.indexing.store.embeddings_file import read_embeddings, write_embeddings
from unreel.indexing.store.encoder_hash import describe_encoder
from unreel.indexing.store.file_names import ENCODER_FOLDER, FILES_PARQUET, PARTS_FOLDER, STORE_JSON
from unreel.types import Embeddings

CLIPS, PART = 50, 100_000


@dataclasses.dataclass
class Args:
    """What to make, and who asks."""

    index: tyro.conf.Positional[Path]
    fake: tyro.conf.Positional[Path]
    rows: int = 100_000
    dim: int = 512
    people: int = 20
    questions: int = 50
    """Of each person."""
    pause_s: float = 0.0
    seed: int = 0


def make_index(args: Args) -> None:
    """An index of made rows, beside it the encoder of the real one."""
    rng = np.random.default_rng(args.seed)
    found, encoder = read_embeddings(args.index), load_encoder(args.index / ENCODER_FOLDER)
    views = len(dict.fromkeys(encoder.spec.views.names))
    distances, real_ND = neighbour_distances(found, rng), turned(found.vectors, args.dim, views, rng)
    (args.fake / PARTS_FOLDER).mkdir(parents=True)
    shutil.copy(args.index / STORE_JSON, args.fake / STORE_JSON)
    shutil.copytree(args.index / ENCODER_FOLDER, args.fake / ENCODER_FOLDER)
    for part, first in enumerate(range(0, args.rows, PART)):
        number_N = np.arange(first, min(first + PART, args.rows))
        paths = [f"/made/{n:07d}.mp4" for n in number_N // CLIPS]
        vectors_ND = perturbed(real_ND, distances, len(number_N), views, rng)
        start_s = (number_N % CLIPS) * 0.32
        rows = Embeddings(vectors_ND, paths, start_s, start_s + 0.64, ["made"] * len(paths), paths)
        write_embeddings(rows, args.fake / PARTS_FOLDER / f"{part:05d}.parquet", describe_encoder(encoder))
    files = [f"/made/{n:07d}.mp4" for n in range(-(-args.rows // CLIPS))]
    save_records({path: FileRecord(path, "/made", "made", 1, 1, path) for path in files}, args.fake / FILES_PARQUET)
    began_s = time.perf_counter()
    print(f"{refresh_index(args.fake, encoder)}; built in {time.perf_counter() - began_s:.0f} s")


class Person(threading.Thread):
    """Asks over one connection; keeps the milliseconds of each answer and what was no answer."""

    def __init__(self, args: Args, place: str, of: str, number: int) -> None:
        super().__init__()
        self.args, self.of, self.rng = args, of, np.random.default_rng((args.seed, number))
        self.connection = http.client.HTTPConnection(place, timeout=120)
        self.taken_ms: list[float] = []
        self.errors: list[str] = []

    def run(self) -> None:
        for _ in range(self.args.questions):
            asked = {"of": self.of, "like": [int(self.rng.integers(self.args.rows))], "motion": self.rng.random()}
            began_s = time.perf_counter()
            self.connection.request("POST", "/api/search", json.dumps(asked), {"Content-Type": "application/json"})
            answer = self.connection.getresponse()
            text = answer.read()
            self.taken_ms.append(1000 * (time.perf_counter() - began_s))
            if answer.status != 200 or len(json.loads(text)["hits"]) != 24:
                self.errors.append(f"{answer.status} {text[:100]!r}")
            time.sleep(self.args.pause_s)
        self.connection.close()


def ask(args: Args, place: str, of: str, people: int) -> None:
    asking = [Person(args, place, of, number) for number in range(people)]
    began_s = time.perf_counter()
    for person in asking:
        person.start()
    for person in asking:
        person.join()
    taken_ms = np.array([ms for person in asking for ms in person.taken_ms])
    errors = [error for person in asking for error in person.errors]
    p50, p95 = np.percentile(taken_ms, (50, 95))
    rate = len(taken_ms) / (time.perf_counter() - began_s)
    who = f"| {args.rows:,} | {people} | {args.pause_s:g}"
    print(f"{who} | {p50:.1f} | {p95:.1f} | {rate:.0f} | {len(errors)} |", flush=True)
    if errors:
        print(errors[0])


@contextlib.contextmanager
def running(index: Path) -> Iterator[str]:
    """Host and port of an `unreel serve` that has read the index and made its map, so as to time neither."""
    began_s = time.perf_counter()
    command = [sys.executable, "-m", "unreel", "serve", str(index), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"http://([^/]+)/", server.stdout.readline())
        assert found, "the server did not begin"
        print(f"served after {time.perf_counter() - began_s:.1f} s")
        try:
            while not about(found[1], f"/api/{about(found[1], '/api/index')['id']}/map")["ready"]:
                time.sleep(1)
            print(f"map made after {time.perf_counter() - began_s:.1f} s\n")
            yield found[1]
        finally:
            server.terminate()


def about(place: str, path: str) -> dict[str, Any]:
    """What a running server says."""
    with contextlib.closing(http.client.HTTPConnection(place, timeout=120)) as connection:
        connection.request("GET", path)
        return dict(json.loads(connection.getresponse().read()))


def main(args: Args) -> None:
    if not (args.fake / FILES_PARQUET).exists():
        make_index(args)
    with running(args.fake) as place:
        of = about(place, "/api/index")["id"]
        print("| rows | people at once | pause, s | p50, ms | p95, ms | answers/s | errors |")
        print("|---|---|---|---|---|---|---|")
        for people in (1, args.people):
            ask(args, place, of, people)


if __name__ == "__main__":
    main(tyro.cli(Args))
