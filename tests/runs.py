"""Comparing whole runs to the bit, and breaking one off after some steps."""

import csv
import json
import os
import signal
from pathlib import Path

import pytest
import safetensors.torch
import torch

from unreel.training import loop


def tensors(run: Path, which: str = "last") -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint: weights, memory, optimiser."""
    folder = run / "checkpoints" / json.loads((run / "checkpoints" / "index.json").read_text())[which]
    loaded: dict[str, torch.Tensor] = {}
    for name in ("encoder.safetensors", "training.safetensors"):
        loaded |= safetensors.torch.load_file(folder / name)
    return loaded


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:  # a quoted cell may hold a line break
        return list(csv.DictReader(file))


def assert_equal_runs(one: Path, other: Path) -> None:
    a, b = tensors(one), tensors(other)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    for name, dropped in (("metrics.csv", {"clips_per_s", "data_wait"}), ("monitors.csv", set())):
        tables = [table(run / name) for run in (one, other)]
        rows = [[{k: v for k, v in row.items() if k not in dropped} for row in one_table] for one_table in tables]
        assert rows[0] == rows[1], name


class Stop(Exception):
    pass


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int, save: bool) -> None:
    """Break a run off after some steps of this process, with or without the checkpoint that Ctrl-C would write."""
    done = {"steps": 0}
    real = loop.train_step

    def counted(*args: object, **kwargs: object) -> None:
        if done["steps"] == steps:
            if save:
                os.kill(os.getpid(), signal.SIGINT)
            else:
                raise Stop
        real(*args, **kwargs)  # type: ignore[arg-type]
        done["steps"] += 1

    monkeypatch.setattr(loop, "train_step", counted)
