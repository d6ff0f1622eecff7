"""The members of a sweep in processes of their own, several at a time: one that dies leaves the others alone."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import torch

from unreel.io.atomic_write import atomic_write_text
from unreel.training.runtime.signals import end_like_ctrl_c
from unreel.verbs.sweep.ending import SWEEP_PROCESS
from unreel.verbs.sweep.member import FAILURES, LOGS, is_finished
from unreel.verbs.sweep.plan import SweepPlan

POLL_S = 0.2
Launch = Callable[[Path, SweepPlan, Sequence[int], int, Callable[[int], None]], None]
"""Runs the members with these numbers, so many at a time; calls back with the number of each that has ended."""


def build_member_command(out: Path, number: int | str) -> list[str]:
    """The command that runs one member of a sweep."""
    return [sys.executable, "-m", "unreel", "sweep", str(out), "--member", str(number)]


def launch_processes(
    out: Path,
    plan: SweepPlan,
    numbers: Sequence[int],
    jobs: int,
    on_end: Callable[[int], None],
    on_start: Callable[[int], None] = lambda number: None,
) -> None:
    """A process for each member, `jobs` at a time, each on a GPU of its own where there are several.

    Ctrl-C and SIGTERM reach all of them: each saves after its step. What they print is in OUT/logs.
    """
    (out / LOGS).mkdir(exist_ok=True)
    waiting, slots = list(numbers), dict[int, tuple[int, subprocess.Popen[bytes]]]()
    with end_like_ctrl_c(), contextlib.ExitStack() as stopping:
        stopping.callback(lambda: stop_all([process for _, process in slots.values()]))
        while waiting or slots:
            for slot in range(jobs):
                if slot not in slots and waiting:
                    on_start(number := waiting.pop(0))
                    with (out / LOGS / f"{plan.members[number].name}.log").open("ab") as log:
                        slots[slot] = number, start_member(out, number, slot, log)
            time.sleep(POLL_S)
            for slot, number in list(list_ended(slots)):
                note_silent_death(out, plan, number, slots.pop(slot)[1].returncode)
                on_end(number)


def launch_none(out: Path, plan: SweepPlan, numbers: Sequence[int], jobs: int, on_end: Callable[[int], None]) -> None:
    """Run nothing: the table is that of what is finished."""


def start_member(out: Path, number: int, slot: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the process of a member, which ends with this one."""
    environment = os.environ | choose_gpu(slot, torch.cuda.device_count()) | {SWEEP_PROCESS: str(os.getpid())}
    return subprocess.Popen(build_member_command(out, number), stdout=log, stderr=log, env=environment)


def choose_gpu(slot: int, num_gpus: int) -> dict[str, str]:
    """The environment of a slot that shows it one of several GPUs.

    >>> choose_gpu(5, 1), choose_gpu(5, 4)["CUDA_VISIBLE_DEVICES"]
    ({}, '1')
    """
    if num_gpus < 2:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(num_gpus)))
    return {"CUDA_VISIBLE_DEVICES": visible.split(",")[slot % num_gpus]}


def list_ended(slots: dict[int, tuple[int, "subprocess.Popen[bytes]"]]) -> Iterator[tuple[int, int]]:
    """Slots whose process has ended, with the number of its member."""
    return ((slot, number) for slot, (number, process) in slots.items() if process.poll() is not None)


def note_silent_death(out: Path, plan: SweepPlan, number: int, code: int) -> None:
    """Say of a member whose process ended without a word how it ended."""
    member = plan.members[number]
    failure = out / FAILURES / f"{member.name}.txt"
    if code and not is_finished(out, member) and not failure.exists():
        end = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        advice = "; there may be too little memory for so many at a time (--jobs)" if code == -9 else ""
        failure.parent.mkdir(exist_ok=True)
        atomic_write_text(failure, f"its process {end}{advice}, see {out / LOGS / member.name}.log\n")


def stop_all(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Ask processes to save and end, and wait for them."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        process.wait()
