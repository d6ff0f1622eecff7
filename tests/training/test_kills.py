"""Processes killed with SIGKILL at random moments: what they go on to is the run that was never killed, to the bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs import assert_equal_runs
from videos import encode

OPTIONS = "--batch-size 4 --num-frames 4 --size 32 --log-steps 1 --threads 1 --held-out 0.3"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for n in range(12):
        encode(folder / f"{n}.mp4", 12 + n)
    return folder


def start(*args: object) -> "subprocess.Popen[str]":
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "unreel", "pretrain", *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env)


def ended(process: "subprocess.Popen[str]") -> None:
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said


def killed_on_the_way(process: "subprocess.Popen[str]", chance: random.Random) -> bool:
    """Kill it some lines later and at a random moment after; False when it had ended by then."""
    lines = chance.randint(1, 5)
    assert process.stderr is not None
    with process:
        for _ in range(lines):
            if not process.stderr.readline():
                break
        time.sleep(chance.random() * 0.2)
        process.kill()
    assert process.returncode in (0, -signal.SIGKILL), process.returncode
    return process.returncode != 0


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])
def test_killed_at_random_moments_a_run_ends_the_same(kills: int, videos: Path, tmp_path: Path) -> None:
    chance, whole, run, done = random.Random(kills), tmp_path / "whole", tmp_path / "run", 0
    options = [videos, "--steps", 8 * (kills + 1), *OPTIONS.split()]
    ended(start(*options, "--out", whole, "--workers", 0))
    begin = [*options, "--out", run, "--workers", 1, "--checkpoint-minutes", 1e-6]  # which is after each step
    for _ in range(3 * kills):
        if done < kills:
            done += killed_on_the_way(start("--resume", run) if run.exists() else start(*begin), chance)
    assert done == kills
    ended(start("--resume", run))
    assert_equal_runs(whole, run)
