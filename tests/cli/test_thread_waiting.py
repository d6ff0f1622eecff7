"""Threads sleep while they wait on a busy machine; a quiet one, and what a person chose, stay as they are."""

import os
import subprocess
import sys

import pytest

from unreel.cli import thread_waiting


@pytest.mark.parametrize(
    ("load", "cores", "chosen", "policy"),
    [(0.5, 2, None, None), (1.2, 2, None, "PASSIVE"), (1.2, 16, None, None), (9.0, 2, "ACTIVE", "ACTIVE")],
)
def test_the_policy_follows_from_the_load(
    load: float, cores: int, chosen: str | None, policy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {} if chosen is None else {thread_waiting.VARIABLE: chosen}
    monkeypatch.setattr(thread_waiting.os, "environ", environment)
    monkeypatch.setattr(thread_waiting.os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(thread_waiting.os, "cpu_count", lambda: cores)
    thread_waiting.choose_wait_policy()
    assert environment.get(thread_waiting.VARIABLE) == policy


def test_a_machine_without_a_load_counts_as_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise OSError

    monkeypatch.setattr(thread_waiting.os, "getloadavg", missing)
    assert not thread_waiting.is_machine_busy()


def test_it_is_chosen_before_torch_is_there() -> None:
    code = (
        "import os, sys; os.getloadavg = lambda: (99.0, 99.0, 99.0)\n"
        "from unreel.cli import entry_point, main\n"
        "entry_point.main = lambda argv: print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)\n"
        "main([])"
    )
    environment = {name: value for name, value in os.environ.items() if name != thread_waiting.VARIABLE}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == ["PASSIVE", "False"]
