"""The verbs on an engine write what they write on this machine, also where it loses workers."""

import importlib.util
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import fake_engine
import pytest
from commands import refused, succeeds
from fake_engine import FakeEngine

from unreel.corpus.inspection import inspect
from unreel.corpus.manifest import MANIFEST_FILE, QUARANTINE_FILE
from unreel.engines import ray_tasks
from unreel.engines.engine_choice import ENGINES, use_engine
from unreel.errors import InputError
from unreel.indexing.store.embeddings_file import read_embeddings

FIVE = ("--hop-s", 0.2)


@pytest.fixture(scope="module")
def footage(motion_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight videos, one of them twice, and a bad file."""
    folder = tmp_path_factory.mktemp("engine") / "footage"
    folder.mkdir()
    for path in sorted(motion_set.rglob("*.mp4"))[::3]:
        shutil.copyfile(path, folder / f"{path.parent.name}-{path.name}")
    shutil.copyfile(min(folder.iterdir()), folder / "twin.mp4")
    (folder / "bad.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FakeEngine]]:
    """A function that makes `--engine ray` a fake one."""

    def use(*arguments: Any) -> FakeEngine:
        monkeypatch.setattr(fake_engine, "current", made := FakeEngine(*arguments))
        monkeypatch.setitem(ENGINES, "ray", "fake_engine:open_fake")
        return made

    yield use


def lose_batches(items: Sequence[Any], *_: Any) -> bool:
    return len(items) > 1


def list_rows(out: Path) -> list[tuple[Any, ...]]:
    """The rows in their order, to the byte."""
    e = read_embeddings(out)
    columns = zip(e.paths, e.start_s, e.end_s, e.labels, e.content_hashes or e.paths, e.vectors, strict=True)
    return [(*row[:5], row[5].tobytes()) for row in columns]


@pytest.mark.parametrize("command", [("embed", "--per", "clip"), ("index", *FIVE)], ids=lambda c: c[0])
def test_the_store_is_the_same_where_workers_are_lost(
    command: tuple[Any, ...], footage: Path, small_run: Path, tmp_path: Path, engine: Callable[..., FakeEngine]
) -> None:
    verb, *options = command
    here, there = tmp_path / "here", tmp_path / "there"
    said = [succeeds(verb, small_run, footage, "--out", here, *options).out]
    made = engine(lose_batches, 2)
    said += [succeeds(verb, small_run, footage, "--out", there, *options, "--engine", "ray").out]
    assert list_rows(there) == list_rows(here)
    assert made.num_lost and said[1].replace(str(there), str(here)) == said[0]
    for name in ("left_out.csv", "store.json", "files.parquet"):
        assert (there / name).read_bytes() == (here / name).read_bytes(), name


def test_a_single_file_is_the_same(
    footage: Path, small_run: Path, tmp_path: Path, engine: Callable[..., FakeEngine]
) -> None:
    succeeds("embed", small_run, footage, "--out", tmp_path / "here.parquet", "--num-clips", 2)
    engine(lose_batches)
    succeeds("embed", small_run, footage, "--out", tmp_path / "there.parquet", "--num-clips", 2, "--engine", "ray")
    assert list_rows(tmp_path / "there.parquet") == list_rows(tmp_path / "here.parquet")


def test_a_video_that_ends_every_worker_is_tried_again_next_time(
    footage: Path, small_run: Path, tmp_path: Path, engine: Callable[..., FakeEngine]
) -> None:
    deadly = str(sorted(footage.iterdir())[3])
    engine(lambda items, *_: any(getattr(item, "path", "") == deadly for item in items))
    out = tmp_path / "store"
    said = succeeds("embed", small_run, footage, "--out", out, "--num-clips", 1, "--engine", "ray").out
    assert "8 rows" in said and "lost" in (out / "left_out.csv").read_text()
    engine()
    said = succeeds("embed", small_run, footage, "--out", out, "--num-clips", 1, "--engine", "ray").out
    assert "9 rows" in said and "1 content newly" in said


def test_inspect_and_pack_are_the_same(footage: Path, tmp_path: Path, engine: Callable[..., FakeEngine]) -> None:
    pack = ("--short-side", 32, "--no-gain", "--workers", 1)
    succeeds("inspect", footage, "--out", tmp_path / "here")
    succeeds("pack", footage, tmp_path / "packed here", *pack)
    engine(lose_batches)
    succeeds("inspect", footage, "--out", tmp_path / "there", "--engine", "ray")
    succeeds("pack", footage, tmp_path / "packed there", *pack, "--engine", "ray")
    for name in (MANIFEST_FILE, QUARANTINE_FILE):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    files = {path.name for path in (tmp_path / "packed here").iterdir()}
    assert files == {path.name for path in (tmp_path / "packed there").iterdir()}
    for path in (tmp_path / "packed here").glob("*.tar"):
        assert path.read_bytes() == (tmp_path / "packed there" / path.name).read_bytes()


def test_a_machine_that_does_not_see_the_videos(
    footage: Path, engine: Callable[..., FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine()
    gone = footage.with_name("elsewhere")
    footage.rename(gone)
    try:  # the driver sees what its worker does not
        monkeypatch.setattr("unreel.engines.file_jobs.os.path.exists", lambda path: True)
        listed = footage.with_name("list.txt")
        listed.write_text("\n".join(str(footage / path.name) for path in gone.glob("*.mp4")))
        with use_engine("ray"), pytest.raises(InputError, match="does not see this file; put videos"):
            inspect(listed)
    finally:
        gone.rename(footage)


def test_more_devices_are_refused(
    footage: Path, small_run: Path, tmp_path: Path, engine: Callable[..., FakeEngine]
) -> None:
    engine()
    options = ("embed", small_run, footage, "--out", tmp_path / "store", "--devices", 2, "--engine", "ray")
    refused(*options, says=("--devices 2", "engine"))


def test_ray_that_is_not_installed(footage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    refused("inspect", footage, "--engine", "ray", says=("needs Ray", "pip install 'unreel[ray]'"))


@pytest.mark.parametrize(
    ("address", "says"),
    [("nowhere", "HOST:PORT"), ("127.0.0.1:1", "no Ray cluster answers at RAY_ADDRESS 127.0.0.1:1"), ("", "something")],
)
def test_a_cluster_that_does_not_answer(address: str, says: str) -> None:
    """The last is an address where something else listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(InputError, match=says) as refusal:
            ray_tasks.require_answer(address or f"127.0.0.1:{server.getsockname()[1]}")
        assert "ray start --head" in str(refusal.value)
        if address:
            socket.create_connection(server.getsockname()).close()
        thread.join(10)
