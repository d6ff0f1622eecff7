"""Filling a store of embeddings, in one process or many: what is missing is embedded, what has gone leaves."""

import contextlib
import dataclasses
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unreel.errors import DiskError, InputError, StoppedElsewhere
from unreel.search import store
from unreel.search.clip_choice import ClipChoice
from unreel.search.embeddings import describe
from unreel.search.filling import Part, fill
from unreel.search.store import Content
from unreel.settings import Settings
from unreel.training.device import build_fabric, choose_device, launched, processes
from unreel.training.pulse import one_reason
from unreel.training.run import alone_in
from unreel.training.team import ALONE, Team, join, leave
from unreel.video.known_files import load_files, save_files, take_stock

Progress = Callable[[int, int], None]


def silent(_what: str) -> AbstractContextManager[Progress]:
    return nullcontext(lambda _done, _total: None)


@dataclass(frozen=True)
class Labour:
    """How a store is filled, which its rows do not depend on: in how many processes, and who is told of it."""

    devices: int = 1
    allow_import: bool = False
    bar: Callable[[str], AbstractContextManager[Progress]] = silent


@dataclass(frozen=True)
class Stored:
    """What a store holds now; `embedded` contents are new in it. `rank` is 0 in the process that speaks."""

    rows: int
    videos: int
    embedded: int
    left_out: list[tuple[str, str]]
    rank: int = 0


@dataclass(frozen=True)
class Plan:
    """What the first process tells the others: what every part says of itself, a name for this run, what is missing."""

    about: dict[str, Any]
    name: str
    missing: list[Content]
    unread: list[tuple[str, str]]


def fill_store(
    run: str | Path, source: str | Path, out: str | Path, choice: ClipChoice, labour: Labour | None = None
) -> Stored:
    """Bring the store `out` up to date with a source: a video, a folder, a list or a packed corpus.

    Only contents that are missing are embedded, the k-th of them by process k modulo their number. That needs no
    talking, and each writes parts under names of its own. Another source adds to the store and takes nothing from it,
    see known_files.py. Raises UnreelError.
    """
    labour, out = labour or Labour(), Path(out)
    store.refuse_other_folder(out)  # before processes are started
    encoder = choice.encoder(run, labour.allow_import)
    team, device, workers = joined(labour.devices)
    encoder.to(device)
    about = {"format": store.FORMAT, "clips": choice.to_json()} | describe(encoder)
    bar = labour.bar if team.main else quiet_while_started_by(os.getppid())
    with one_reason(team.pulse), contextlib.ExitStack() as held:

        def prepare() -> Plan:
            held.enter_context(only_one(out))
            with bar("looking at files") as advance:
                return plan(out, about, source, advance)

        made = team.first(prepare)
        if made.about != about:
            raise InputError(f"{run}: its best checkpoint has changed while processes were started; run it again")
        share = made.missing[team.rank :: team.size]
        with bar(f"embedding, 1 of {team.size} shares" if team.size > 1 else "embedding") as advance:
            part = Part(out, f"{made.name}-{team.rank:05d}", about)
            with cores_left(workers, device):
                fill(part, share, encoder, choice, workers, advance)
        team.told(True)  # the first one goes on when all are done
        stored = team.first(lambda: finish(out, made))
    leave(team)
    return dataclasses.replace(stored, rank=team.rank)


def joined(devices: int) -> tuple[Team, torch.device, int]:
    """This process among those started with it, its device, and how many loader processes it may have."""
    device = choose_device("auto")
    threads = max(1, torch.get_num_threads() // (1 if launched() else devices))
    settings = Settings(device=device, devices=devices, threads=threads, precision="32-true")
    here, nodes = processes(settings)
    workers = max(1, min(8, (os.cpu_count() or 2) // here - 1))
    if here * nodes == 1:
        return ALONE, torch.device(device), workers
    fabric = build_fabric(settings)
    return join(fabric, settings.silence_limit_s, "the same command goes on"), fabric.device, workers


@contextlib.contextmanager
def cores_left(workers: int, device: torch.device) -> Iterator[None]:
    """On a CPU torch leaves a core to each loader process meanwhile: its threads spin while one of them has none."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(max(1, min(before, (os.cpu_count() or 1) - workers)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def only_one(out: Path) -> Iterator[None]:
    """The folder of a store, made if it is new, while no other command writes there."""
    store.refuse_other_folder(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(f"{out}: the folder can't be made ({error.strerror})") from error
    with alone_in(out, "writes"):
        yield


def plan(out: Path, about: dict[str, Any], source: str | Path, on_progress: Progress) -> Plan:
    """Open the store, look at the files, let go of what has gone, and see what is missing."""
    store.open_store(out, about)
    path = out / store.FILES
    known = load_files(path) if path.exists() or store.part_files(out) else {}
    unread = take_stock(known, source, lambda files: save_files(files, path), on_progress)
    wanted = store.contents(known)
    there = store.tidy(out, wanted)
    bad = {h: why for h, why in store.read_left_out(out).items() if store.lasting(why)}
    list_left_out(out, wanted, bad, unread)
    missing = [content for hash_, content in wanted.items() if hash_ not in there and hash_ not in bad]
    return Plan(about, f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}", missing, unread)


def list_left_out(
    out: Path, wanted: dict[str, Content], bad: dict[str, str], unread: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Write left_out.csv; returns (path, reason) of each file in it."""
    rows = [(path, h, why) for h, why in bad.items() if h in wanted for path, _ in wanted[h].files]
    rows += [(path, "", why) for path, why in unread]
    store.write_left_out(out, rows)
    return [(path, why) for path, _, why in rows]


def finish(out: Path, made: Plan) -> Stored:
    """Count what is there, after all have written. Raises InputError when nothing is."""
    wanted = store.contents(load_files(out / store.FILES))
    there = store.tidy(out, wanted)
    bad = {h: why for h, why in store.read_left_out(out).items() if h not in there}
    left_out = list_left_out(out, wanted, bad, made.unread)
    if not there:
        raise InputError(f"{out}: no video could be embedded; the first: {': '.join(left_out[0])}")
    embedded = sum(content.content_hash in there for content in made.missing)
    return Stored(sum(there.values()), sum(len(wanted[h].files) for h in there), embedded, left_out)


def quiet_while_started_by(parent: int) -> Callable[[str], AbstractContextManager[Progress]]:
    """The bar of a process that shows none. It ends once the one that started it has: a kill leaves nobody behind."""

    def advance(_done: int, _total: int) -> None:
        if os.getppid() != parent:
            raise StoppedElsewhere

    return lambda _what: nullcontext(advance)
