"""A store that is killed, and one that several processes fill: the rows are those of one quiet process, to the bit."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Command
from slow_store import slow_down
from videos import encode

from unreel.indexing.store.embeddings_file import read_embeddings
from unreel.models.encoder.checkpoint_files import save_encoder
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec

VIDEOS = 14
LAUNCHED = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE", "SLURM_NTASKS")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder, videos with a bad one and a twin, and a store made in one go."""
    folder = tmp_path_factory.mktemp("place")
    torch.manual_seed(0)
    for name in ("encoder", "videos"):
        (folder / name).mkdir()
    save_encoder(
        Encoder(EncoderSpec("tiny", "iic", ClipSpec(4, lead_in=1), ViewSpec(size=32))).eval(), folder / "encoder"
    )
    for n in range(VIDEOS):
        encode(folder / "videos" / f"{n:02}.mp4", 10 + n)
    (folder / "videos" / "05 bad.mp4").write_bytes(b"no video")
    (folder / "videos" / "twin.mp4").write_bytes((folder / "videos" / "03.mp4").read_bytes())
    _, error = (done := start(folder, folder / "whole")).communicate()
    assert done.returncode == 0, error
    assert len(rows(folder / "whole")) == VIDEOS + 1
    return folder


def options_of(place: Path, out: Path, *options: object) -> list[str]:
    return [str(o) for o in ("embed", place / "encoder", place / "videos", "--out", out, "--num-clips", 2, *options)]


def environment(out: Path, changes: dict[str, str]) -> dict[str, str]:
    ours = {k: v for k, v in os.environ.items() if k not in LAUNCHED}
    return ours | {"OMP_NUM_THREADS": "1", "SEEN": f"{out}.seen"} | changes


def start(place: Path, out: Path, *options: object, **env: str) -> Command:
    return Command(*options_of(place, out, *options), env=environment(out, env), before=slow_down)


def start_two(place: Path, out: Path, *launcher: str, **env: str) -> "subprocess.Popen[str]":
    """With `--devices 2`, whose first process starts the other one by the command line; or by a launcher."""
    options = options_of(place, out, *(() if launcher else ("--devices", 2)))
    command = [sys.executable, *launcher, Path(__file__).with_name("slow_store.py"), *options]
    return subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(out, env),
    )


def seen(out: Path) -> list[str]:
    path = Path(f"{out}.seen")
    return path.read_text().splitlines() if path.exists() else []


def rows(out: Path) -> set[tuple[object, ...]]:
    e = read_embeddings(out)
    columns = zip(e.paths, e.start_s, e.end_s, e.labels, e.content_hashes, e.vectors, strict=True)
    found = [(*row[:5], row[5].tobytes()) for row in columns]
    assert len(set(found)) == len(found) == len({row[:2] for row in found})
    return set(found)


def wait_for(number: int, out: Path, process: "Command | subprocess.Popen[str]") -> None:
    """Until so many videos have been embedded."""
    while len(seen(out)) < number:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.parametrize("kills", [3, pytest.param(12, marks=pytest.mark.slow)])
def test_killed_on_the_way_it_goes_on_and_ends_the_same(kills: int, place: Path, tmp_path: Path) -> None:
    chance, out = random.Random(kills), tmp_path / "store"
    for kill in range(kills):
        process = start(place, out, SLOW="0.1")
        number = len(seen(out)) + (chance.randint(1, 3) if kill < 3 else 1)
        while len(seen(out)) < number and process.poll() is None:
            time.sleep(0.02)
        if kill < 3 or process.poll() is None:  # late kills find little left to do: it may end before
            time.sleep(chance.random() * 0.2)
            process.kill()
        said, error = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), said + error
    last = start(place, out)
    said, error = last.communicate()
    assert last.returncode == 0 and f"{VIDEOS + 1} rows" in said and "1 file left out" in said, error
    assert rows(out) == rows(place / "whole")
    assert len(seen(out)) <= VIDEOS + 2 * kills, "a kill costs a part, which is two videos here"
    assert {path.name for path in out.iterdir()} == {p.name for p in (place / "whole").iterdir()}
    assert not list((out / "parts").glob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", [(), ("-m", "torch.distributed.run", "--nproc-per-node", "2")], ids=["devices", "torchrun"]
)
def test_two_processes_make_the_rows_of_one_and_each_video_once(
    launcher: tuple[str, ...], place: Path, tmp_path: Path
) -> None:
    out = tmp_path / "store"
    said, error = (done := start_two(place, out, *launcher)).communicate(timeout=300)
    assert done.returncode == 0, error
    two_made_the_rows_of_one(out, place, said)


def test_two_that_a_launcher_started_make_the_rows_of_one(place: Path, tmp_path: Path) -> None:
    """As torchrun starts them: without the launcher itself."""
    out = tmp_path / "store"
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "one"}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    both = [start(place, out, **shared, RANK=rank, LOCAL_RANK=rank) for rank in "01"]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    two_made_the_rows_of_one(out, place, "".join(out for out, _ in said))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def two_made_the_rows_of_one(out: Path, place: Path, said: str) -> None:
    assert said.count("rows of") == 1, said
    assert rows(out) == rows(place / "whole")
    assert sorted(seen(out)) == sorted(seen(place / "whole"))
    ranks = {part.name.split("-")[3] for part in (out / "parts").iterdir()}
    assert ranks == {"00000", "00001"}
    assert (out / "left_out.csv").read_text() == (place / "whole" / "left_out.csv").read_text()


def test_the_first_of_two_killed_the_other_ends_and_one_goes_on(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    process = start_two(place, out, SLOW="0.3")
    wait_for(3, out, process)
    process.kill()
    process.communicate(timeout=60)  # which ends once the other one and all loader processes have
    before = len(seen(out))
    time.sleep(0.6)
    assert len(seen(out)) == before < VIDEOS, "nobody works on"
    last = start(place, out)
    _, error = last.communicate()
    assert last.returncode == 0, error
    assert rows(out) == rows(place / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("video", ["00.mp4", "01.mp4"])
def test_one_that_fails_ends_all_with_its_error(video: str, place: Path, tmp_path: Path) -> None:
    """The first content is the first process's, the second one the other's."""
    done = start_two(place, tmp_path / "store", FAIL=video, SLOW="2")
    _, error = done.communicate(timeout=300)
    assert done.returncode in (2, -signal.SIGKILL), error
    assert error.count("unreel: made to fail") == 1 and "Traceback" not in error
    assert len(seen(tmp_path / "store")) < VIDEOS


@pytest.mark.parametrize("by_the_first_of_two", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_refusal_is_said_once(by_the_first_of_two: bool, place: Path, tmp_path: Path) -> None:
    """Before others are started, where that can be."""
    (tmp_path / "mine.txt").write_text("")
    out, options, says = tmp_path, [], "is not a store"
    if by_the_first_of_two:
        out, options, says = place / "whole", ["--per", "clip"], "--per video"
    _, error = (done := start(place, out, "--devices", 2, *options)).communicate()
    assert done.returncode == 2 and error.count("unreel:") == 1 and says in error, error


def test_vectors_have_unit_length(place: Path) -> None:
    np.testing.assert_allclose(np.linalg.norm(read_embeddings(place / "whole").vectors, axis=1), 1, atol=1e-6)
