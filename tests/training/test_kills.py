"""Processes killed with SIGKILL at random moments: what they go on to is the run that was never killed, to the bit."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from commands import Command, skip_report
from runs import assert_equal_runs
from videos import encode

OPTIONS = "--batch-size 4 --num-frames 4 --size 32 --log-steps 1 --threads 1 --held-out 0.3"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for n in range(12):
        encode(folder / f"{n}.mp4", 12 + n)
    return folder


def start(*args: object) -> Command:
    return Command("pretrain", *args, env=os.environ | {"OMP_NUM_THREADS": "1"}, before=skip_report)


def finish(process: Command) -> None:
    with process:
        _, errors = process.communicate()
        assert process.returncode == 0, errors


def kill_at_random(process: Command, chance: random.Random) -> bool:
    """Kill it some lines later and at a random moment after; False when it had ended by then."""
    with process:
        for _ in range(chance.randint(1, 5)):
            if not process.stderr.readline():
                break
        time.sleep(chance.random() * 0.2)
        process.kill()
        code = process.wait()
    assert code in (0, -signal.SIGKILL), code
    return code != 0


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])
def test_killed_at_random_moments_a_run_ends_the_same(kills: int, videos: Path, tmp_path: Path) -> None:
    chance, whole, run, done = random.Random(kills), tmp_path / "whole", tmp_path / "run", 0
    options = [videos, "--steps", 8 * (kills + 1), *OPTIONS.split()]
    finish(start(*options, "--out", whole, "--workers", 0))
    begin = [*options, "--out", run, "--workers", 1, "--checkpoint-minutes", 1e-6]  # which is after each step
    for _ in range(3 * kills):
        if done < kills:
            done += kill_at_random(start("--resume", run) if run.exists() else start(*begin), chance)
    assert done == kills
    finish(start("--resume", run))
    assert_equal_runs(whole, run)
