"""A process that dies, stops or fails ends all of its run: soon, and with one reason."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch.distributed as dist
from test_training_team import SMALL, environment
from videos import encode

from unreel.errors import InputError, RunError, StoppedElsewhere
from unreel.training import pulse
from unreel.training.pulse import Pulse, one_reason

GO_ON = "go on with: unreel pretrain --resume some/run"


@pytest.fixture
def pulses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Pulse]]:
    """Three processes in one, ten beats a second."""
    monkeypatch.setattr(pulse, "BEAT_S", 0.1)
    store = dist.HashStore()
    three = [Pulse(rank, 3, store, 1e9, GO_ON) for rank in range(3)]
    yield three
    for one in three:
        one.stop()


def failing(one: Pulse, error: Exception) -> BaseException:
    """What comes out of a process in which `error` was raised."""
    with pytest.raises(Exception) as caught, one_reason(one):
        raise error
    return caught.value


CLOSED = RuntimeError("[gloo/transport/tcp/pair.cc:538] Connection closed by peer [10.0.0.2]:3")


def test_the_one_that_fails_says_why_and_the_others_nothing(pulses: list[Pulse]) -> None:
    assert str(failing(pulses[1], InputError("no such folder"))) == "no such folder"
    for other in (pulses[0], pulses[2]):
        assert other.ended.wait(5)
        assert isinstance(failing(other, CLOSED), StoppedElsewhere)


def test_one_that_was_killed_is_named_by_one_of_the_others(pulses: list[Pulse]) -> None:
    pulses[2].stop()
    time.sleep(1.0)
    found = failing(pulses[0], CLOSED)
    assert isinstance(found, RunError) and "process 2 on " in str(found) and GO_ON in str(found)
    assert isinstance(failing(pulses[1], CLOSED), StoppedElsewhere)


def test_an_error_of_its_own_is_not_taken_for_a_lost_connection(pulses: list[Pulse]) -> None:
    error = RuntimeError("shapes do not fit")
    assert failing(pulses[0], error) is error
    assert failing(pulses[1], StoppedElsewhere()) is not error


# --- the command


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for n in range(10):
        encode(folder / f"{n}.mp4", 12 + n)
    return folder


def child_of(process: "subprocess.Popen[bytes]") -> int:
    """The second process of a run of two: it has the same command, which the loader's have not."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


def full_disk(process: "subprocess.Popen[bytes]", run: Path) -> None:
    (run / "metrics.csv").unlink()
    (run / "metrics.csv").symlink_to("/dev/full")


def killed(process: "subprocess.Popen[bytes]", run: Path) -> None:
    os.kill(child_of(process), signal.SIGKILL)


def frozen(process: "subprocess.Popen[bytes]", run: Path) -> None:
    os.kill(child_of(process), signal.SIGSTOP)


HARM = {
    "full disk": (full_disk, "log can't be written"),
    "killed": (killed, "process 1 on "),
    "frozen": (frozen, "nothing was heard of process 1 for 3 s"),
}


@pytest.mark.parametrize("harm", HARM)
def test_what_ends_one_of_two_ends_both_with_one_reason(harm: str, videos: Path, tmp_path: Path) -> None:
    run, (does, says) = tmp_path / "run", HARM[harm]
    options = f"{SMALL} --steps 100000 --silence-limit-s 3 --devices 2 --out {run}"
    command = [sys.executable, "-m", "unreel", "pretrain", str(videos), *options.split()]
    with (tmp_path / "said").open("w") as file, subprocess.Popen(command, stderr=file, env=environment()) as process:
        comes(lambda: "step 2/" in (tmp_path / "said").read_text())
        child = child_of(process)
        does(process, run)
        code = process.wait(120)
    said = (tmp_path / "said").read_text()
    if harm == "frozen":
        os.kill(child, signal.SIGCONT)  # it finds nobody, and ends as well
    comes(lambda: not Path(f"/proc/{child}").exists())
    assert code == 2 and said.count("unreel:") == 1 and says in said and "Traceback" not in said, said


def comes(what: Callable[[], bool]) -> None:
    """Wait for it."""
    for _ in range(1200):
        if what():
            return
        time.sleep(0.1)
    raise AssertionError("it never came")
