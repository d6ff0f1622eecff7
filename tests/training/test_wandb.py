"""Curves at Weights & Biases: what is sent, by a stand-in for their package, and that a resumed run goes on in it."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from runs import table

import unreel
from unreel.errors import InputError


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What reaches the package: each call with its arguments."""
    calls: list[tuple[Any, ...]] = []
    package = ModuleType("wandb")

    def init(**options: Any) -> Any:
        calls.append(("init", options))
        log = lambda row, step: calls.append(("log", row, step))  # noqa: E731
        return SimpleNamespace(log=log, finish=lambda: calls.append(("finish",)))

    package.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", package)
    return calls


def test_every_figure_is_sent_and_a_resumed_run_goes_on(
    sent: list[tuple[Any, ...]], motion_set: Path, tmp_path: Path, small: dict[str, Any]
) -> None:
    run = tmp_path / "run"
    options = small | {"steps": 2, "log_steps": 1, "schedule": "constant", "warmup": 0.0, "wandb": "my-project"}
    unreel.pretrain(motion_set / "test.txt", run, "simclr", quiet=True, **options)
    (_, begun), *logged, finished = sent
    assert (begun["project"], begun["name"], begun["dir"], begun["resume"]) == ("my-project", "run", str(run), "allow")
    assert begun["config"]["settings"]["steps"] == 2 and str(motion_set) not in str(begun["config"])
    steps = [(step, row["train/loss"]) for _, row, step in logged if "train/loss" in row]
    assert [loss for _, loss in steps] == pytest.approx(
        [float(row["loss"]) for row in table(run / "metrics.csv")], rel=1e-5
    )
    assert any("monitors/effective_rank" in row for _, row, _ in logged) and finished == ("finish",)
    sent.clear()
    unreel.resume(run, quiet=True, steps=3)
    assert sent[0][1]["id"] == begun["id"] and next(call[2] for call in sent if call[0] == "log") == 3


def test_without_the_package_nothing_is_begun(
    motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: dict[str, Any]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"pip install 'unreel\[wandb\]'"):
        unreel.pretrain(motion_set / "test.txt", tmp_path / "run", "simclr", wandb="mine", **small | {"steps": 1})
    assert not (tmp_path / "run").exists()
