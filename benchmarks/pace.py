"""The pace of the page over a million rows: one person, many, open pages that do nothing, and indexing beside it.

    python benchmarks/pace.py FAKE OLD NEW [--people 20] [--pages 200] [--rounds 3] [--source JHMDB]

FAKE is an index that `serve.py` made; OLD and NEW are checkouts of unreel, whose servers run side by side over it and
are asked in alternation, one at a time. Latencies are those of whole requests, as in `serve.py`, by a client that
shares the machine; the processor time of the server alone says what does not depend on other work. With `--source`,
videos are indexed into an empty folder while one person asks; the factor is against the minutes before.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tyro
from serve import get_json


@dataclasses.dataclass
class Args:
    """What is asked, and of which checkouts."""

    fake: tyro.conf.Positional[Path]
    trees: tyro.conf.Positional[tuple[Path, ...]]
    people: int = 20
    questions: int = 20
    """Of each person in a round."""
    pages: int = 200
    idle_s: float = 20.0
    rounds: int = 3
    source: Path | None = None
    """Videos to index beside the questions, by `base`."""
    seed: int = 0


@dataclasses.dataclass
class Server:
    """A running `unreel serve` of one checkout."""

    tree: Path
    address: str
    pid: int
    index_id: str
    rows: int

    def read_processor_s(self) -> float:
        """Processor seconds of the server so far, without its worker processes."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def run_server(tree: Path, index: Path) -> Iterator[Server]:
    """A server of this checkout that has read the index and made its map."""
    command = [sys.executable, "-m", "unreel", "serve", str(index), "--port", "0"]
    surroundings = os.environ | {"PYTHONPATH": str(tree)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=surroundings, cwd=tree) as process:
        assert process.stdout is not None
        match = re.search(r"http://([^/]+)/", process.stdout.readline())
        assert match, f"the server of {tree} did not start"
        try:
            about = get_json(match[1], "/api/index")
            while not get_json(match[1], f"/api/{about['id']}/map")["ready"]:
                time.sleep(1)
            yield Server(tree, match[1], process.pid, about["id"], about["rows"])
        finally:
            process.terminate()


async def request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str, body: bytes = b"") -> bytes:
    """The body of the answer; the least that a client can do, so that it takes little from the server."""
    lines = f"{head}\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(lines.encode() + body)
    answer_head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", answer_head, re.IGNORECASE)
    assert answer_head.startswith(b"HTTP/1.1 200") and length, answer_head
    return await reader.readexactly(int(length[1]))


async def ask(server: Server, questions: int, seed: tuple[int, ...]) -> list[float]:
    """Milliseconds of each answer to one person, who asks for hits like a random row as soon as the last is there."""
    rng, latencies_ms = np.random.default_rng(seed), []
    reader, writer = await asyncio.open_connection(*server.address.split(":"))
    for _ in range(questions):
        query = {"of": server.index_id, "like": [int(rng.integers(server.rows))], "motion": rng.random()}
        began_s = time.perf_counter()
        answer = await request(reader, writer, "POST /api/search HTTP/1.1", json.dumps(query).encode())
        latencies_ms.append(1000 * (time.perf_counter() - began_s))
        assert answer.count(b'"rank"') == 24
    writer.close()
    return latencies_ms


@dataclasses.dataclass
class Round:
    """Milliseconds of each answer, and processor milliseconds of the server for one."""

    latencies_ms: list[float]
    processor_ms: float


def ask_people(server: Server, people: int, questions: int, seed: int) -> Round:
    async def ask_all() -> list[list[float]]:
        return await asyncio.gather(*(ask(server, questions, (seed, n)) for n in range(people)))

    before_s = server.read_processor_s()
    latencies_ms = [ms for one in asyncio.run(ask_all()) for ms in one]
    return Round(latencies_ms, 1000 * (server.read_processor_s() - before_s) / len(latencies_ms))


def print_people(servers: list[Server], args: Args) -> None:
    print("| checkout | people at once | p50, ms | p95, ms | processor of the server, ms an answer |")
    print("|---|---|---|---|---|")
    for people in (1, args.people):
        rounds: dict[Path, list[Round]] = {server.tree: [] for server in servers}
        for number in range(args.rounds):
            for server in servers:
                ask_people(server, people, 3, args.seed + 1000)
                questions = args.questions * (5 if people == 1 else 1)
                rounds[server.tree].append(ask_people(server, people, questions, args.seed + number))
        for tree, done in rounds.items():
            percentiles = np.percentile([one.latencies_ms for one in done], (50, 95), axis=1)
            spread = " | ".join(format_spread(list(values)) for values in percentiles)
            print(f"| {tree.name} | {people} | {spread} | {format_spread([one.processor_ms for one in done])} |")
    print(flush=True)


def format_spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def read_poll_s(tree: Path) -> float:
    """Seconds between two questions of a page that nobody uses."""
    web = tree / "unreel" / "serve" / "web"
    script = "".join((web / name).read_text() for name in ("api_client.js", "main.js"))
    names = dict(re.findall(r"(\w+_MS) = ([\d_]+)", script))
    return int(names.get("IDLE_POLL_MS", names["POLL_MS"])) / 1000


async def keep_open(server: Server, pages: int, seconds: float, poll_s: float) -> None:
    """Open pages that ask how the index is, as main.js does, each from another moment on."""
    ends_s = time.perf_counter() + seconds

    async def stay(number: int) -> None:
        await asyncio.sleep(poll_s * number / pages)
        while time.perf_counter() < ends_s:
            reader, writer = await asyncio.open_connection(*server.address.split(":"))
            await request(reader, writer, "GET /api/status HTTP/1.1")
            writer.close()
            await asyncio.sleep(poll_s)

    await asyncio.gather(*(stay(number) for number in range(pages)))


def print_idle(servers: list[Server], args: Args) -> None:
    print("| checkout | open pages | seconds between questions | processor of the server, ms a second |")
    print("|---|---|---|---|")
    for server in servers:
        poll_s = read_poll_s(server.tree)
        seconds = max(args.idle_s, 2 * poll_s)
        get_json(server.address, "/api/status")  # the first looks for every file
        before_s, began_s = server.read_processor_s(), time.perf_counter()
        asyncio.run(keep_open(server, args.pages, seconds, poll_s))
        busy = 1000 * (server.read_processor_s() - before_s) / (time.perf_counter() - began_s)
        print(f"| {server.tree.name} | {args.pages} | {poll_s:g} | {busy:.1f} |")
    print(flush=True)


def run_index(tree: Path, source: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "unreel", "index", "base", str(source), "--out", str(out)]
    surroundings = os.environ | {"PYTHONPATH": str(tree)}
    return subprocess.Popen(command, env=surroundings, cwd=tree, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ask_while_indexing(server: Server, args: Args, has_person: bool, number: int) -> tuple[list[float], float]:
    """Milliseconds of the answers, and how many seconds indexing took."""
    assert args.source is not None
    latencies_ms: list[float] = []
    with tempfile.TemporaryDirectory(prefix="unreel-pace-") as folder:
        began_s = time.perf_counter()
        process = run_index(server.tree, args.source, Path(folder) / "index")
        while process.poll() is None:
            if has_person:
                latencies_ms += ask_people(server, 1, 20, args.seed + number).latencies_ms
            time.sleep(0.05 if has_person else 0.2)
        assert process.returncode == 0, "indexing failed"
        return latencies_ms, time.perf_counter() - began_s


def print_indexing(servers: list[Server], args: Args) -> None:
    print("| checkout | p50 alone, ms | p50 beside indexing, ms | factor | indexing alone, s | beside a person, s |")
    print("|---|---|---|---|---|---|")
    for server in servers:
        alone, beside, alone_s, beside_s = list[float](), list[float](), list[float](), list[float]()
        for number in range(args.rounds):
            alone.append(float(np.median(ask_people(server, 1, 100, args.seed + number).latencies_ms)))
            alone_s.append(ask_while_indexing(server, args, False, number)[1])
            latencies_ms, took_s = ask_while_indexing(server, args, True, number)
            beside.append(float(np.median(latencies_ms)))
            beside_s.append(took_s)
        factor = format_spread([b / a for a, b in zip(alone, beside, strict=True)])
        cells = (format_spread(alone), format_spread(beside), factor, format_spread(alone_s), format_spread(beside_s))
        print(f"| {server.tree.name} | {' | '.join(cells)} |", flush=True)


def main(args: Args) -> None:
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(run_server(tree.resolve(), args.fake.resolve())) for tree in args.trees]
        print_people(servers, args)
        print_idle(servers, args)
        if args.source is not None:
            print_indexing(servers, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
