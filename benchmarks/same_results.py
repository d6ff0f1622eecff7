"""Do two checkouts of unreel make the same results, and does the new one open what the old one made?

    python benchmarks/same_results.py OLD NEW [--out DIR] [--methods trio,dual] [--steps 20]

OLD and NEW are folders in which `python -m unreel` runs. Nothing of the package is imported here: both are only given
commands, so names inside may change, while commands, options, answers and files may not. A command is run by both at
the same time, each in a folder of its own. Then everything is compared: weights to the bit, every column of Parquet and
CSV, every value of JSON, pages, shards by their bytes. In the end both get copies of what OLD made (a run, a packed
corpus, a store, an index with a concept, an evaluation, a run that was stopped) and have to make the same of these.

Times, hosts and the like are left out, by the lists LEFT_OUT and PACE_IN_PAGES alone. Sentences may be worded
otherwise: what is printed, pages, and the places in SENTENCES are compared by their numbers, in any order, unless
`--words` asks for every letter; all else, names of videos, labels, choices and types too, to the letter. NEW may have
more options and more keys in JSON. Exit code 1 if anything else differs.
"""

import csv
import dataclasses
import fnmatch
import functools
import hashlib
import io
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import safetensors.numpy
import tyro
from tyro.conf import Positional

LEFT_OUT = {
    "*/lock": "the number of a process and its host",
    "*/metrics.csv: *clips_per_s": "pace",
    "*/metrics.csv: *data_wait": "pace",
    "*/tensorboard/*: train/clips_per_s": "pace",
    "*/tensorboard/*: train/data_wait": "pace",
    "*/results.json: seconds": "time taken",
}
SENTENCES = ("*: title", "*: caption", "*: warnings: *", "*: notes: *", "*: said: *", "*: floors: *", "*: reason: *")
PACE_IN_PAGES = (
    r"<figure>\s*<figcaption><span>Clips per second.*?</figure>",
    r"<figure>\s*<figcaption><span>Waiting for data.*?</figure>",
    r"<h3>Time taken</h3>\s*<dl.*?</dl>",
)
# Left out for their kind: names of a store's parts (time and chance), names of TensorBoard's files (time and host); of
# help all but options, choices and defaults, since words may be mended; of `bench` all but the names of its figures;
# standard error (pace, and warnings that name a line of code), but for errors that are expected.

PRETRAIN = "--size 32 --num-frames 8 --batch-size 4 --log-steps 5 --monitor-epochs 2 --seed 0 --device cpu --threads 1 "
PRETRAIN += "--workers 1 --checkpoint-minutes 1000"  # a checkpoint by the clock would be another file
MIXED = "--pairs uniform --first-view residual --second-view flow-u --segment-s 0.9 --draws-per-video 2 --short hold "
MIXED += "--clips-at-once 4 --optimizer lars --lr 0.1 --schedule steps --drops 0.5 --warmup 0.1 --fps 0 "
MIXED += "--stride-frames 2"
HUGE = ("r3d101", "r3d152")  # networks not tried but by name: gigabytes, and built as r3d50 is
COMMANDS = "inspect, pack, pretrain --resume RUN, methods, data check, embed, index, search, serve, cluster, concept, "
COMMANDS += "apply, export, bench, report, inflate, synth, compare"
EVALUATIONS = "retrieval, knn, linear, attentive, few-labels, motion, finetune, detection, all"
REFUSED = {
    "no such command": "nonsense",
    "no such evaluation": "evaluate nonsense",
    "no such method": "pretrain {shared}/videos --out {work}/no --method nonsense",
    "no such folder": "inspect {shared}/none",
    "not a run": "embed {shared}/videos {shared}/videos --out {work}/no",
    "not an index": "search {shared}/videos {first}",
    "what can't work": "pretrain {shared}/videos --out {work}/no --method byol --intra-negatives shuffle",
}
HELP = r"(?m)^│ (-\S.*?)(?=  |\s*│)|\((default: .*|required)\)\s*│$"
LIMIT_S = 900.0
SHOWN = 60  # letters of a value that differs
Value = Any


@dataclasses.dataclass
class Args:
    """Two checkouts, and how much to run."""

    old: Positional[Path]
    """The checkout that is right."""
    new: Positional[Path]
    """The one that should do the same."""
    out: Path | None = None
    """Folder to make, which stays; by default a temporary one that stays only if something differs."""
    methods: str = ""
    """Methods to train with, joined by commas; by default all that `unreel methods` lists."""
    networks: str = ""
    """Networks to train for two steps, joined by commas; by default those that `unreel methods` lists but HUGE."""
    steps: int = 20
    """Steps of each training."""
    words: bool = False
    """Compare texts for people to the letter."""


# --- asking


@dataclasses.dataclass(frozen=True)
class Side:
    """A checkout, the folder it works in, and the one that both are given."""

    name: str
    checkout: Path
    work: Path
    shared: Path
    chance: int

    @property
    def env(self) -> dict[str, str]:
        """One thread, no GPU, a wide terminal, nothing written into the checkout, and another order of sets."""
        keep = {name: value for name, value in os.environ.items() if not name.startswith("UNREEL_")}
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        own = {"PYTHONPATH": str(self.checkout), "PYTHONPYCACHEPREFIX": str(self.shared.parent / f"code-{self.name}")}
        own |= {"UNREEL_CACHE": str(self.shared.parent / f"cache-{self.name}"), "PYTHONHASHSEED": str(self.chance)}
        return keep | threads | own | {"CUDA_VISIBLE_DEVICES": "", "COLUMNS": "400", "TERM": "dumb", "NO_COLOR": "1"}

    def words(self, text: str) -> list[str]:
        """A command line as words; {work} and {shared} stand for the folders, {first} and {last} for shared videos."""
        videos = [str(path) for path in sorted(self.shared.glob("videos/*/*.mp4"))]
        ends = (("{first}", videos[0]), ("{last}", videos[-1])) if videos else ()
        places = (("{work}", str(self.work)), ("{shared}", str(self.shared)), *ends)
        return [functools.reduce(lambda w, place: w.replace(*place), places, word) for word in shlex.split(text)]

    def start(self, text: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "unreel", *self.words(text)]
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=self.checkout, env=self.env, text=True, errors="replace", **pipes)

    def plain(self, value: Value) -> Value:
        """A value whose texts name no folder of this side."""
        if isinstance(value, str):
            return value.replace(str(self.work), "{work}").replace(str(self.checkout), "{checkout}")
        if isinstance(value, dict):
            return {self.plain(key): self.plain(inner) for key, inner in value.items()}
        if isinstance(value, Prose):
            return Prose(self.plain(line) for line in value)
        return [self.plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


class Prose(list[str]):
    """Lines for people, whose words may be mended while their numbers may not change."""


@dataclasses.dataclass
class Answer:
    """What a command ended with, what it said, and the seconds it took."""

    code: int
    out: str
    err: str
    seconds: float = 0.0


def ask(side: Side, text: str) -> Answer:
    """Run a command to its end."""
    process = side.start(text)
    try:
        out, err = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return Answer(-1, "", f"did not end within {LIMIT_S:g} s")
    return Answer(process.returncode, out, err)


def ask_server(side: Side, text: str) -> Answer:
    """Start `unreel serve`, ask what its page asks, and stop it."""
    process = side.start(text)
    assert process.stdout
    try:
        found = re.search(r"http://\S+", process.stdout.readline())
        if not found:
            return Answer(*(process.wait(LIMIT_S), *process.communicate()))
        return Answer(0, json.dumps(dict(iter_server_answers(found[0].rstrip("/")))), "")
    except (OSError, ValueError, KeyError) as error:
        return Answer(-1, "", f"{type(error).__name__}: {error}")
    finally:
        process.terminate()
        process.communicate()


def iter_server_answers(address: str) -> Iterator[tuple[str, Value]]:
    """Questions to a server over an index, with their answers; what is no text by its checksum."""
    index = json.loads(fetch(f"{address}/api/index"))
    of, mark = {"of": index["id"]}, {"of": index["id"], "yes": [0, 1], "no": [30]}
    yield "index", index
    yield "search", json.loads(fetch(f"{address}/api/search", of | {"like": [0], "unlike": [20], "fold": True}))
    yield "moment", json.loads(fetch(f"{address}/api/search", of | {"moment": {"video": 1, "end_s": 1.0}}))
    yield "rank", json.loads(fetch(f"{address}/api/rank", mark))
    yield "save", json.loads(fetch(f"{address}/api/concepts", mark | {"name": "served"}))
    yield "marks", json.loads(fetch(f"{address}/api/{index['id']}/concepts/served"))
    yield "csv", fetch(f"{address}/api/export.csv", of | {"rows": [0, 5]}).decode()
    for kind, rest in (("poster", "at=0.5"), ("preview", "start=0.2&end=1.0")):
        made = fetch(f"{address}/api/{index['id']}/videos/0/{kind}?{rest}")
        yield kind, hashlib.blake2b(made).hexdigest()


def fetch(address: str, body: Value = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
        return bytes(answer.read())


def ask_wrongly(side: Side, text: str) -> Answer:
    """A command that is to be refused: what counts is said on standard error."""
    answer = ask(side, text)
    return dataclasses.replace(answer, out=answer.out + answer.err)


def stop_early(side: Side, text: str) -> None:
    """Train, and stop it by a signal as soon as it has logged steps; it saves and ends with 130."""
    process = side.start(text)
    run = Path(side.words(text)[side.words(text).index("--out") + 1])
    while process.poll() is None and not (run / "metrics.csv").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=LIMIT_S)
    if process.returncode != 130:
        sys.exit(f"a training that was to be stopped ended with {process.returncode}, not 130:\n{out}\n{err}")


# --- reading


def parse_printed(text: str) -> Value:
    """What a command printed: JSON where it is, else lines."""
    try:
        return json.loads(text)
    except ValueError:
        return Prose(line.rstrip() for line in text.splitlines())


def parse_lines(text: str) -> Value:
    """What is for programs to read, to the letter."""
    return text.splitlines()


def parse_options(text: str) -> Value:
    """Of a help text each option with its choices and its default; NEW may have more of them."""
    assert re.search(HELP, text), "no help"
    options: dict[str, Value] = {}
    name = ""
    for option, default in re.findall(HELP, text):
        name = option or name
        options.setdefault(name, "")
        options[name] += default
    return options


def parse_names(text: str) -> Value:
    """Of JSON the names alone: its figures are times."""
    return names_of(json.loads(text))


def names_of(value: Value) -> Value:
    if isinstance(value, dict):
        return {key: names_of(inner) for key, inner in value.items()}
    return type(value).__name__


def read_weights(path: Path) -> Value:
    with safetensors.safe_open(path, "np") as file:
        about = dict(file.metadata() or {})
    return {"about": about, **safetensors.numpy.load_file(path)}


def read_table(path: Path) -> Value:
    """A CSV file by its columns, since some of them are left out."""
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    if not rows or len(set(rows[0])) < len(rows[0]) or any(len(row) != len(rows[0]) for row in rows):
        return rows
    return {name: [row[n] for row in rows[1:]] for n, name in enumerate(rows[0])}


def read_parquet(path: Path) -> Value:
    table = pq.read_table(path)
    kept = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    about = {key: parse_printed(value) for key, value in kept.items()}
    columns = {name: table[name].to_pylist() for name in table.column_names}
    return {"types": str(table.schema.remove_metadata()), "about": about, **columns}


def read_board(path: Path) -> Value:
    """The values in one of TensorBoard's files, without their times."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
    return {tag: [[event.step, event.value] for event in board.Scalars(tag)] for tag in board.Tags()["scalars"]}


def read_page(path: Path) -> Value:
    text = path.read_text(encoding="utf-8")
    for pattern in PACE_IN_PAGES:
        text = re.sub(pattern, "", text, flags=re.DOTALL)
    return Prose(text.splitlines())


def read_any(path: Path) -> Value:
    data = path.read_bytes()
    try:
        return data.decode().splitlines()
    except UnicodeDecodeError:
        return data


READERS: dict[str, Callable[[Path], Value]] = {
    ".safetensors": read_weights,
    ".csv": read_table,
    ".parquet": read_parquet,
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".html": read_page,
    ".events": read_board,
}


@dataclasses.dataclass(frozen=True)
class File:
    """A file that was made; `kind` says how it is read."""

    side: Side
    path: Path
    kind: str

    def read(self) -> Value:
        return self.side.plain(READERS.get(self.kind, read_any)(self.path))


def list_files(side: Side, places: tuple[str, ...]) -> dict[str, File]:
    """All files of the places, by names that say nothing of time, chance and host."""
    found: dict[str, File] = {}
    for place in places:
        root = side.work / place
        paths = sorted(p for p in root.rglob("*") if p.is_file()) if root.is_dir() else [root]
        for path in paths:
            name, kind = path.relative_to(side.work).as_posix(), path.suffix
            if path.name.startswith("events.out.tfevents"):
                name, kind = number_file(found, path.parent.relative_to(side.work).as_posix()), ".events"
            elif path.parent.name == "parts":
                name = number_file(found, path.parent.relative_to(side.work).as_posix())
            if path.exists():
                found[name] = File(side, path, kind)
    return found


def number_file(found: dict[str, File], folder: str) -> str:
    return f"{folder}/{sum(name.startswith(f'{folder}/') for name in found)}"


# --- comparing


def find_difference(old: Value, new: Value, where: str = "") -> str:
    """Where two values begin to differ and how; "" where they are the same but for what is left out."""
    if is_left_out(where):
        return ""
    if isinstance(old, File) and isinstance(new, File):
        return find_difference(old.read(), new.read(), where)
    if type(old) is not type(new):
        return f"{where}: {short(old)} | {short(new)}"
    if isinstance(old, dict):
        return compare_mappings(old, new, where)
    if isinstance(old, Prose) and not to_the_letter:
        return compare_numbers(find_numbers("\n".join(old)), find_numbers("\n".join(new)), where)
    if isinstance(old, list):
        return compare_lists(old, new, where)
    if isinstance(old, np.ndarray):
        return compare_arrays(old, new, where)
    if isinstance(old, (str, bytes)):
        return compare_texts(old, new, where)
    return "" if repr(old) == repr(new) else f"{where}: {short(old)} | {short(new)}"


NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
to_the_letter = False


def is_sentence(where: str) -> bool:
    return not to_the_letter and any(fnmatch.fnmatchcase(where, pattern) for pattern in SENTENCES)


def find_numbers(text: str) -> list[str]:
    return NUMBER.findall(text.replace(",", ""))


def is_left_out(where: str) -> bool:
    return any(fnmatch.fnmatchcase(where, pattern) for pattern in LEFT_OUT)


def join_place(where: str, name: object) -> str:
    return f"{where}: {name}" if where else str(name)


def compare_mappings(old: dict[str, Value], new: dict[str, Value], where: str) -> str:
    for name in [*old, *(name for name in new if name not in old)]:
        inner = join_place(where, name)
        if name in old and name in new:
            if found := find_difference(old[name], new[name], inner):
                return found
        elif not is_left_out(inner) and (name in old or to_the_letter):
            return f"{inner}: only {'old' if name in old else 'new'}"
    return ""


def compare_lists(old: list[Value], new: list[Value], where: str) -> str:
    for n, (one, other) in enumerate(zip(old, new, strict=False)):
        if found := find_difference(one, other, join_place(where, n)):
            return found
    return "" if len(old) == len(new) else f"{where}: {len(old)} entries | {len(new)}"


def compare_arrays(old: np.ndarray, new: np.ndarray, where: str) -> str:
    """Equal to the bit, kind and shape too."""
    if (old.dtype, old.shape) != (new.dtype, new.shape):
        return f"{where}: {old.dtype} {old.shape} | {new.dtype} {new.shape}"
    if old.tobytes() == new.tobytes():
        return ""
    apart = old != new
    most = np.abs(old.astype(np.float64) - new.astype(np.float64)).max()
    return f"{where}: {int(apart.sum())} of {old.size} numbers, at most {most:.3g} apart"


def compare_texts(old: str | bytes, new: str | bytes, where: str) -> str:
    """Texts that differ are shown from a little before their first difference."""
    if old == new:
        return ""
    if isinstance(old, str) and isinstance(new, str) and is_sentence(where):
        return compare_numbers(find_numbers(old), find_numbers(new), where)
    at = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    if isinstance(old, bytes):
        return f"{where}: byte {at} of {len(old)} | {len(new)}"
    begin = max(0, at - SHOWN // 3)
    return f"{where}: {short(old[begin:])} | {short(new[begin:])}"


def compare_numbers(old: list[str], new: list[str], where: str) -> str:
    """The numbers of two texts, in any order."""
    gone, added = Counter(old) - Counter(new), Counter(new) - Counter(old)
    return f"{where}: numbers {short(list(gone))} | {short(list(added))}" if gone or added else ""


def short(value: Value) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


@dataclasses.dataclass(frozen=True)
class Item:
    """A command, what it makes in {work}, the exit code it should have, and how it is run and its words are read."""

    name: str
    text: str
    makes: tuple[str, ...] = ()
    code: int = 0
    run: Callable[[Side, str], Answer] = ask
    read: Callable[[str], Value] = parse_printed


def run_timed(side: Side, item: Item) -> Answer:
    """The answer to an item, kept beside the folder for whoever wants to read it."""
    began_s = time.perf_counter()
    answer = item.run(side, item.text)
    answer.seconds = time.perf_counter() - began_s
    kept = side.work.with_name(f"said-{side.work.name}") / f"{re.sub(r'[^a-z0-9]+', '-', item.name)}.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(f"{' '.join(side.words(item.text))}\nexit code {answer.code}\n\n{answer.out}\n\n{answer.err}")
    return answer


def describe_outcome(item: Item, sides: tuple[Side, Side], answers: tuple[Answer, Answer]) -> str:
    """The first difference of an item, or that it does not run at all; "" if all is equal."""
    failed = [side.name for side, answer in zip(sides, answers, strict=True) if answer.code != item.code]
    if failed:
        answer = next(answer for answer in answers if answer.code != item.code)
        last = (answer.err.strip().splitlines() or ["nothing said"])[-1]
        return f"{' and '.join(failed)} ended with {answer.code}, not {item.code}: {last}"
    if missing := [place for place in item.makes if not (sides[0].work / place).exists()]:
        return f"old does not make {', '.join(missing)}"
    try:
        old, new = (
            {"printed": side.plain(item.read(answer.out)), **list_files(side, item.makes)}
            for side, answer in zip(sides, answers, strict=True)
        )
        return find_difference(old, new)
    except Exception as error:  # whatever a file that is damaged makes its reader say
        return f"can't be read: {type(error).__name__}: {error}"


def compare_items(items: list[Item], sides: tuple[Side, Side]) -> int:
    """Run and compare items, a row of the table for each; returns how many differ."""
    differing = 0
    with ThreadPoolExecutor(2) as both:
        for item in items:
            old, new = both.map(run_timed, sides, (item, item))
            found = describe_outcome(item, sides, (old, new))
            differing += bool(found)
            told = f"differs: {found}" if found else "equal"
            print(f"| {item.name:36} | {old.seconds:5.1f} | {new.seconds:5.1f} | {told} |", flush=True)
    return differing


# --- what is asked


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which methods are trained, the first of which is used for all the rest, and which networks."""

    methods: tuple[str, ...]
    networks: tuple[str, ...]
    flat: frozenset[str]
    steps: int

    def train(self, method: str, rest: str, network: str = "tiny") -> str:
        """The words of a training; `flat` methods take a network without time and one frame."""
        single = f"--backbone {network}-2d --num-frames 1" if method in self.flat else f"--backbone {network}"
        return f"pretrain {{shared}}/videos --method {method} {PRETRAIN} {single} --steps {self.steps} {rest}"


def make_plan(side: Side, args: Args) -> Plan:
    """What `unreel methods` lists: methods with their options, then networks."""
    answer = ask(side, "methods")
    if answer.code:
        sys.exit(f"{side.checkout}: `unreel methods` ends with {answer.code}: {answer.err}")
    entries: dict[str, str] = dict(re.findall(r"(?m)^(\S+)  +(\S.*(?:\n .*)*)", answer.out))
    found = re.search(r"Networks for --backbone: (.*?);", answer.out)
    networks = tuple(found[1].split(", ")) if found else ()
    small = tuple(name for name in networks if name not in (*HUGE, "tiny"))
    flat = frozenset(name for name, about in entries.items() if re.search(r"--backbone \S+-2d", about))
    methods = choose("methods", args.methods, tuple(entries), tuple(entries))
    return Plan(methods, choose("networks", args.networks, networks, small), flat, args.steps)


def choose(what: str, names: str, known: tuple[str, ...], usual: tuple[str, ...]) -> tuple[str, ...]:
    """The names that were given, else the usual ones."""
    given = tuple(filter(None, names.split(",")))
    if unknown := set(given) - set(known):
        sys.exit(f"--{what}: {', '.join(sorted(unknown))} not among {', '.join(known)}")
    return given or usual


def help_items(plan: Plan) -> Iterator[Item]:
    """What the commands say of themselves, and how they refuse."""
    for command in (*COMMANDS.split(", "), *(f"evaluate {name}" for name in EVALUATIONS.split(", "))):
        yield Item(f"options of {command}", f"{command} --help", read=parse_options)
    for method in plan.methods:
        yield Item(f"options of {method}", f"pretrain --method {method} --help", read=parse_options)
    yield Item("methods", "methods")
    for name, text in REFUSED.items():
        yield Item(f"refused: {name}", text, code=2, run=ask_wrongly)


def data_items() -> Iterator[Item]:
    yield Item("synth", "synth {work}/synth --classes 2 --videos 2 --seed 5", ("synth",))
    yield Item("inspect", "inspect {shared}/more --out {work}/manifest", ("manifest",))
    yield Item("inspect a list", "inspect {shared}/list.csv --out {work}/listed", ("listed",))
    yield Item("data check", "data check {shared}/videos")
    yield Item("pack", "pack {shared}/videos {work}/pack --no-gain --workers 1", ("pack",))
    cut = "--short-side 48 --segment-s 1 --shard-mb 0.05 --no-gain --workers 2"
    yield Item("pack into pieces", f"pack {{shared}}/more {{work}}/pieces {cut}", ("pieces",))


def training_items(plan: Plan) -> Iterator[Item]:
    main = plan.methods[0]
    for method in plan.methods:
        yield Item(f"pretrain {method}", plan.train(method, f"--out {{work}}/{method}"), (method,))
    yield Item("pretrain, other options", plan.train(main, f"--out {{work}}/mixed {MIXED}"), ("mixed",))
    yield Item("pretrain, two processes", plan.train(main, "--out {work}/two --devices 2"), ("two",))
    for network in plan.networks:
        brief = f"--steps 2 --batch-size 2 --optimizer sgd --out {{work}}/net-{network}"
        words = plan.train(main, brief, network).replace("{shared}/videos", "{shared}/more")
        yield Item(f"pretrain {network}", words, (f"net-{network}",))
    bench = plan.train(main, "--json --rounds 1 --loop-steps 2").replace("pretrain", "bench", 1)
    yield Item("bench", bench, read=parse_names)
    yield Item("report", f"report {{work}}/{main}", (f"{main}/report.html",))
    for method in plan.flat & set(plan.methods):
        yield Item("inflate", f"inflate {{work}}/{method} --out {{work}}/inflated", ("inflated",))


def using_items(main: str) -> Iterator[Item]:
    run = f"{{work}}/{main} {{shared}}/videos"
    few = "--num-clips 3"
    yield Item("embed, a file", f"embed {run} --out {{work}}/videos.parquet {few}", ("videos.parquet",))
    yield Item("embed, clips", f"embed {run} --out {{work}}/clips.parquet {few} --per clip", ("clips.parquet",))
    yield Item("embed, a store", f"embed {run} --out {{work}}/store {few}", ("store",))
    yield Item("index", f"index {run} --out {{work}}/index --hop-s 0.1", ("index",))
    if main.startswith("dual"):
        yield Item("index by heads", f"index {run} --out {{work}}/heads --by heads", ("heads",))


def search_items() -> Iterator[Item]:
    """What an index is asked."""
    yield Item("search", "search {work}/index {first} --json")
    yield Item("search a moment", "search {work}/index {first} --from 0.3 --to 1.2 --motion 0 --own keep --json")
    both = "{first}@0.2-1 {last} --unlike {last}@0-0.7 --fold 0.99 --gap-s -1 --count 5 --own video --after 0.2"
    yield Item("search, several examples", f"search {{work}}/index {both} --json")
    yield Item("search a picture", "search {work}/index {shared}/picture.png --motion 1 --csv", read=parse_lines)
    yield Item("concept", "concept {work}/index swing --yes 0 1 2 --no 40 41 --json", ("index/concepts",))
    again = "concept {work}/index swing --yes {first}@0.5-1.5 --no 60 --above 0.6"
    yield Item("concept, more marks", again, ("index/concepts",))
    yield Item("apply", "apply {work}/index/concepts/swing.json {shared}/more --json")
    applied = "apply {work}/index/concepts/swing.json {work}/index --csv"
    yield Item("apply to an index", applied, read=parse_lines)


def sorting_items() -> Iterator[Item]:
    yield Item("cluster", "cluster {work}/index --count 4", ("index-clusters",))
    other = "cluster {work}/index --method hdbscan --least 4 --map tsne --doubled 0.999 --out {work}/dense"
    yield Item("cluster, hdbscan", other, ("dense",))
    places = {"parquet": "rows.parquet", "numpy": "rows", "fiftyone": "fiftyone", "lightly": "lightly"}
    for kind, place in places.items():
        yield Item(f"export, {kind}", f"export {{work}}/index --to {kind}:{{work}}/{place}", (place,))
    yield Item("serve", "serve {work}/index --port 0", ("index/concepts",), run=ask_server)


def evaluating_items(main: str) -> Iterator[Item]:
    run = f"{{work}}/{main} {{shared}}/videos --json --num-clips 2"
    kept = (f"{main}/evaluations", f"{main}/report.html")
    options = {"retrieval": "--num-crops 3", "knn": "--ks 1 3", "linear": "", "attentive": "--no-floors"}
    options |= {"few-labels": "--ks 1 2 --draws 2", "motion": "--no-floors"}
    for name, words in options.items():
        yield Item(f"evaluate {name}", f"evaluate {name} {run} {words}", kept)
    dualvar = "--protocol dualvar --unit clip --fps 25 --no-floors"
    yield Item("evaluate retrieval, dualvar", f"evaluate retrieval {run} {dualvar}", kept)
    for kind in ("sgd", "cvrl"):
        yield Item(f"evaluate linear, {kind}", f"evaluate linear {run} --no-floors --kind {kind}", kept)
    for recipe in ("iic", "dualvar"):
        brief = f"--recipe {recipe} --epochs 2 --batch-size 4"
        yield Item(f"evaluate finetune, {recipe}", f"evaluate finetune {run} {brief}", kept)
    boxes = f"evaluate detection {{work}}/{main} {{shared}}/boxes --json --save-detections {{work}}/detections.csv"
    yield Item("evaluate detection", boxes, ("detections.csv",))
    yield Item("evaluate all", f"evaluate all {run} --out {{work}}/eval", ("eval",))
    packed = f"evaluate all {{work}}/{main} {{work}}/pack --num-clips 2 --no-floors --out {{work}}/eval-pack"
    yield Item("evaluate all, a pack", packed, ("eval-pack",))
    yield Item("compare", "compare {work}/eval {work}/eval-pack --out {work}/side.html", ("side.html",))


def old_result_items(plan: Plan) -> Iterator[Item]:
    """Both sides work on copies of what OLD made."""
    main = plan.methods[0]
    yield Item("old run: resume", "pretrain --resume {work}/stopped", ("stopped",))
    yield Item("old run: report", f"report {{work}}/{main}", (f"{main}/report.html",))
    yield from (dataclasses.replace(item, name=f"old run: {item.name}") for item in using_items(main))
    more = f"embed {{work}}/{main} {{shared}}/more --out {{work}}/store --num-clips 3"
    yield Item("old store: embed more", more, ("store",))
    yield from (dataclasses.replace(item, name=f"old index: {item.name}") for item in search_items())
    run = f"{{work}}/{main} {{shared}}/videos"
    evaluated = f"evaluate all {run} --num-clips 2 --no-floors --json --out {{work}}/eval-new"
    yield Item("old run: evaluate all", evaluated, ("eval-new", main))
    yield Item("old evaluation: compare", "compare {work}/eval {work}/eval-new --out {work}/side.html", ("side.html",))
    yield Item("old pack: packed already", "pack {shared}/videos {work}/pack --no-gain --workers 1", ("pack",))
    trained = plan.train(main, "--out {work}/from-pack").replace("{shared}/videos", "{work}/pack")
    yield Item("old pack: pretrain", trained, ("from-pack",))


def prepare(old: Side) -> None:
    """What both sides are given, made once by the old one."""
    shared = old.shared
    answer = ask(old, "synth {shared}/videos --classes 4 --videos 6")
    if answer.code:
        sys.exit(f"{old.checkout}: `unreel synth` ends with {answer.code}: {answer.err}")
    videos = sorted((shared / "videos").rglob("*.mp4"))
    (shared / "more" / "deep").mkdir(parents=True)
    for n in (1, 8, 15):
        shutil.copy2(videos[n], shared / "more" / videos[n].name)
    shutil.copy2(videos[1], shared / "more" / "deep" / "double.mp4")
    (shared / "more" / "broken.mp4").write_bytes(videos[2].read_bytes()[:2000])
    lines = [f"{video},{video.parent.name},g{n % 3}\n" for n, video in enumerate(videos[::3])]
    (shared / "list.csv").write_text("path,label,group\n" + "".join(lines))
    y, x = np.mgrid[:96, :128]
    cv2.imwrite(str(shared / "picture.png"), np.stack([x * 2, y * 2, x + y], axis=-1).astype(np.uint8))
    put_boxes(shared / "boxes", videos)


def put_boxes(folder: Path, videos: list[Path]) -> None:
    """A set for detection in AVA's format: two boxes in each of some videos, whose actions are their classes."""
    (folder / "videos").mkdir(parents=True)
    rows: dict[str, list[str]] = {"train": [], "test": []}
    for n, video in enumerate(videos):
        shutil.copy2(video, folder / "videos" / video.name)
        for person, box in enumerate(("0.05,0.1,0.5,0.9", "0.4,0.2,0.95,0.8")):
            action = 1 + (n // 6 + person) % 4
            rows["test" if n % 3 == 2 else "train"].append(f"{video.stem},1.0,{box},{action},{person}\n")
    for name, lines in rows.items():
        (folder / f"{name}.csv").write_text("".join(lines))
    (folder / "labels.csv").write_text("".join(f"{n},action {n}\n" for n in range(1, 5)))


def copy_old_results(old: Side, sides: tuple[Side, Side], plan: Plan) -> None:
    """Copies of what OLD made, for both; among them a run that was stopped half-way."""
    many = dataclasses.replace(plan, steps=3 * plan.steps)
    stop_early(old, many.train(plan.methods[0], "--out {work}/stopped"))
    for side in sides:
        side.work.mkdir()
        for name in ("stopped", plan.methods[0], "pack", "store", "index", "eval"):
            if (old.work / name).exists():
                shutil.copytree(old.work / name, side.work / name)


def require_own_code(side: Side) -> None:
    """Stop unless the checkout's own code is what runs there, rather than one that is installed."""
    command = [sys.executable, "-c", "import unreel; print(unreel.__file__)"]
    done = subprocess.run(command, cwd=side.checkout, env=side.env, capture_output=True, text=True)
    if not Path(done.stdout.strip() or "/").resolve().is_relative_to(side.checkout):
        sys.exit(f"{side.checkout}: no unreel of its own runs there ({done.stdout.strip() or done.stderr.strip()})")


def make_sides(args: Args, out: Path) -> tuple[Side, Side]:
    """Both checkouts, each with a folder in `out`; what depends on the order of a set is to be seen, too."""
    (out / "shared").mkdir()
    old = Side("old", args.old.resolve(), out / "old-own", out / "shared", chance=1)
    new = Side("new", args.new.resolve(), out / "new-own", out / "shared", chance=2)
    for side in (old, new):
        side.work.mkdir()
        require_own_code(side)
    return old, new


def make_heirs(sides: tuple[Side, Side], out: Path) -> tuple[Side, Side]:
    old, new = sides
    return dataclasses.replace(old, work=out / "old-heir"), dataclasses.replace(new, work=out / "new-heir")


def empty_folder(out: Path | None) -> Path:
    folder = Path(out or tempfile.mkdtemp(prefix="same-results-")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        sys.exit(f"{folder} is not empty; choose another --out")
    return folder


def main(args: Args) -> int:
    global to_the_letter
    to_the_letter = args.words
    began_s = time.perf_counter()
    out = empty_folder(args.out)
    sides = make_sides(args, out)
    plan = make_plan(sides[0], args)
    prepare(sides[0])
    print(f"| {'item':36} | old s | new s | result |\n|---|---|---|---|", flush=True)
    first = plan.methods[0]
    items = [*help_items(plan), *data_items(), *training_items(plan), *using_items(first), *search_items()]
    items += [*sorting_items(), *evaluating_items(first)]
    differing = compare_items(items, sides)
    copy_old_results(sides[0], make_heirs(sides, out), plan)
    inherited = [*old_result_items(plan)]
    differing += compare_items(inherited, make_heirs(sides, out))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = f"{(time.perf_counter() - began_s) / 60:.1f} minutes"
    cores = f"{(used.ru_utime + used.ru_stime) / 60:.1f} minutes of cores"
    print(f"\n{len(items) + len(inherited)} items, {differing} differ; {took}, {cores}. Left out:")
    for what, why in LEFT_OUT.items():
        print(f"  {what}  ({why})")
    if differing or args.out:
        print(f"Files and words of both: {out}")
    else:
        shutil.rmtree(out)
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Args)))
