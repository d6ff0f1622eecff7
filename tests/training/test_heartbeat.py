"""A process that dies, stops or fails ends all of its run: soon, and with one reason."""

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from commands import Command
from test_distributed import SMALL, environment
from videos import encode

from unreel.errors import InputError, NonFiniteError, PeerStoppedError, RunError
from unreel.training.runtime import heartbeat
from unreel.training.runtime.heartbeat import Heartbeat, is_connection_loss, report_failure_once

GO_ON = "go on with: unreel pretrain --resume some/run"


@pytest.fixture
def pulses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Heartbeat]]:
    """Three processes in one, ten beats a second."""
    monkeypatch.setattr(heartbeat, "BEAT_INTERVAL_S", 0.1)
    store = dist.HashStore()
    three = [Heartbeat(rank, 3, store, 1e9, GO_ON) for rank in range(3)]
    yield three
    end(three)


def end(pulses: list[Heartbeat]) -> None:
    for one in pulses:
        one.stop()
        atexit.unregister(one.wait_for_peers)


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit codes with which a listener ended its process; the thread waits instead."""
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        threading.Event().wait()

    monkeypatch.setattr(heartbeat.os, "_exit", leave)
    return codes


def failing(one: Heartbeat, error: Exception) -> BaseException:
    """What comes out of a process in which `error` was raised."""
    with pytest.raises(Exception) as caught, report_failure_once(one):
        raise error
    return caught.value


CLOSED = RuntimeError("[gloo/transport/tcp/pair.cc:538] Connection closed by peer [10.0.0.2]:3")


def test_the_one_that_fails_says_why_and_the_others_nothing(pulses: list[Heartbeat]) -> None:
    assert str(failing(pulses[1], InputError("no such folder"))) == "no such folder"
    for other in (pulses[0], pulses[2]):
        assert other.failure_seen.wait(5)
        assert isinstance(failing(other, CLOSED), PeerStoppedError)


def test_one_that_was_killed_is_named_by_one_of_the_others(pulses: list[Heartbeat]) -> None:
    still(pulses[2])
    found = failing(pulses[0], CLOSED)
    assert isinstance(found, RunError) and "process 2 on " in str(found) and GO_ON in str(found)
    assert isinstance(failing(pulses[1], CLOSED), PeerStoppedError)


def still(one: Heartbeat) -> None:
    """Stop it, and wait until it beats no more."""
    one.stop()
    for thread in one.threads:
        thread.join(10)


@pytest.mark.parametrize("size", [2, 3])
def test_what_fails_in_all_alike_is_said_by_one(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_INTERVAL_S", 0.1)
    store = dist.HashStore()
    all_of_them = [Heartbeat(rank, size, store, 1e9, GO_ON) for rank in range(size)]
    found = [failing(one, NonFiniteError("the gradient is nan")) for one in all_of_them]
    assert [type(error) for error in found] == [NonFiniteError] + [PeerStoppedError] * (size - 1)
    assert isinstance(failing(all_of_them[0], CLOSED), PeerStoppedError), "nor does the first one say a second reason"
    end(all_of_them)


def test_who_has_spoken_waits_until_all_others_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there is but one other."""
    monkeypatch.setattr(heartbeat, "BEAT_INTERVAL_S", 0.1)
    store = dist.HashStore()
    both = [Heartbeat(rank, 2, store, 1e9, GO_ON) for rank in range(2)]
    failing(both[1], InputError("no such folder"))
    assert not store.check(["knows/1"]), "not before it is said"
    both[1].wait_for_peers()
    assert store.check(["knows/0"]) and both[0].failure_seen.is_set()
    end(both)


def test_a_stop_by_hand_ends_all_with_its_code(pulses: list[Heartbeat]) -> None:
    with pytest.raises(KeyboardInterrupt), report_failure_once(pulses[0]):
        raise KeyboardInterrupt
    with pytest.raises(PeerStoppedError) as other, report_failure_once(pulses[1]):
        raise KeyboardInterrupt
    assert other.value.exit_code == 130


class Deaf:
    """A store that takes the beats and then answers no more."""

    def __init__(self) -> None:
        self.store, self.hangs = dist.HashStore(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        if self.hangs.is_set() and name != "get":
            threading.Event().wait()
        return getattr(self.store, name)


@pytest.mark.parametrize("deaf", [True, False])
def test_silence_is_blamed_on_the_meeting_place_where_that_is_silent(
    deaf: bool, monkeypatch: pytest.MonkeyPatch, exits: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_INTERVAL_S", 0.1)
    store = Deaf()
    one, other = (Heartbeat(rank, 2, store, 2.0, GO_ON) for rank in range(2))
    comes(lambda: min(one.next_beats, other.next_beats, one.store_rounds) > 1)
    still(other)
    if deaf:
        store.hangs.set()
    comes(lambda: bool(exits))
    said = capfd.readouterr().err
    assert said.count("unreel:") == 1 and GO_ON in said, said
    assert ("the first process's machine, which all processes connect to," in said) == deaf and (
        "process 1" in said
    ) != deaf, said
    end([one])


def test_only_words_of_gloo_are_those_of_a_lost_connection() -> None:
    assert is_connection_loss(CLOSED) and is_connection_loss(RuntimeError("Connection reset by peer"))
    assert is_connection_loss(
        RuntimeError("[../third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting")
    )
    assert not is_connection_loss(RuntimeError("/data/gloo/igloo.mp4: shapes do not fit"))


def test_a_store_that_ends_after_the_report_is_no_second_reason(
    pulses: list[Heartbeat], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rank zero reports and exits, and its store with it, before the others have left their step."""
    assert pulses[0].claim_failure_report()
    comes(pulses[1].failure_seen.is_set)

    def lost() -> list[int]:
        raise RuntimeError("Connection reset by peer")

    monkeypatch.setattr(pulses[1], "_read_beats", lost)
    assert isinstance(pulses[1].build_loss_error(), PeerStoppedError)


def test_what_torch_says_of_a_failed_backend_is_kept(pulses: list[Heartbeat]) -> None:
    found = failing(pulses[0], dist.DistBackendError("NCCL error: unhandled cuda error\nmore of it"))
    assert "(torch: NCCL error: unhandled cuda error). " in str(found) and GO_ON in str(found)


def test_an_error_of_its_own_is_not_taken_for_a_lost_connection(pulses: list[Heartbeat]) -> None:
    error = RuntimeError("shapes do not fit")
    assert failing(pulses[0], error) is error
    assert failing(pulses[1], PeerStoppedError()) is not error


# --- the command


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for n in range(10):
        encode(folder / f"{n}.mp4", 12 + n)
    return folder


def child_of(process: Command) -> int:
    """The second process of a run of two: it has the same command, which the loader's have not."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


def full_disk(process: Command, run: Path) -> None:
    (run / "metrics.csv").unlink()
    (run / "metrics.csv").symlink_to("/dev/full")


def killed(process: Command, run: Path) -> None:
    os.kill(child_of(process), signal.SIGKILL)


def frozen(process: Command, run: Path) -> None:
    os.kill(child_of(process), signal.SIGSTOP)


HARM = {
    "full disk": (full_disk, "log can't be written"),
    "killed": (killed, "process 1 on "),
    "frozen": (frozen, "nothing was heard of process 1 for 3 s"),
}


@pytest.mark.parametrize("harm", HARM)
def test_what_ends_one_of_two_ends_both_with_one_reason(harm: str, videos: Path, tmp_path: Path) -> None:
    run, (does, says) = tmp_path / "run", HARM[harm]
    limit_s = 3 if harm == "frozen" else 60  # 3 is also how long a loss is looked into
    options = f"{SMALL} --steps 100000 --silence-limit-s {limit_s} --devices 2 --out {run}"
    with Command("pretrain", videos, *options.split(), env=environment()) as process:
        before = "".join(iter_until(process.stderr, "step 2/"))
        child = child_of(process)
        does(process, run)
        code = process.wait(120)
        if harm == "frozen":
            os.kill(child, signal.SIGCONT)  # it finds nobody, and ends as well
        said = before + process.communicate()[1]
    comes(lambda: not Path(f"/proc/{child}").exists())
    reasons = 1 + (harm == "frozen")  # woken, the frozen one says that it finds nobody
    assert code == 2 and said.count("unreel:") == reasons and says in said and "Traceback" not in said, said


def iter_until(lines: Iterable[str], wanted: str) -> Iterator[str]:
    """Lines up to the first one with a word in it."""
    for line in lines:
        yield line
        if wanted in line:
            return


def comes(what: Callable[[], bool]) -> None:
    """Wait for it."""
    for _ in range(1200):
        if what():
            return
        time.sleep(0.1)
    raise AssertionError("it never came")
