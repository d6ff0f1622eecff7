"""The file that `unreel new-method` writes passes the test that it writes beside it."""

import importlib
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from commands import refused, succeeds

from unreel.verbs.training.new_method import new_method


def test_the_template_passes_its_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    monkeypatch.setattr("unreel.own_code.loading._LOADED", {})
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    told = succeeds("new-method", "tubelet", "--out", folder).out
    assert f"--method {folder / 'tubelet.py'}:tubelet" in told and "pytest" in told
    assert len((folder / "tubelet.py").read_text().splitlines()) <= 40
    importlib.invalidate_caches()
    try:
        written = importlib.import_module("test_tubelet")
        written.test_the_loss_is_that_of_the_formula()
        written.test_steps_on_one_batch_lower_the_loss()
        written.test_it_trains(tmp_path / "run")
        said = succeeds("methods", folder / "tubelet.py").out
    finally:
        for name in ("tubelet", "test_tubelet"):
            sys.modules.pop(name, None)
    assert "clips of a video find each other" in said and "--temperature 0.1" in said
    refused("new-method", "tubelet", "--out", folder, says=("is there already, and was not changed",))


@pytest.mark.parametrize(("loss", "passes"), [("10 + L", True), ("L - 10", True), ("2 * L.detach() - L", False)])
def test_the_test_that_it_writes_asks_of_a_loss_to_fall_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str, passes: bool
) -> None:
    """An honest loss need not halve, and may be negative; one whose gradient points the wrong way rises."""
    monkeypatch.setattr("unreel.own_code.loading._LOADED", {})
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    path, _ = new_method("tubelet", tmp_path)
    formula = "cross_entropy(scores, target)"
    path.write_text(path.read_text().replace(f"StepOutput({formula}", f"StepOutput({loss.replace('L', formula)}"))
    importlib.invalidate_caches()
    try:
        written = importlib.import_module("test_tubelet")
        with nullcontext() if passes else pytest.raises(AssertionError):
            written.test_steps_on_one_batch_lower_the_loss()
    finally:
        for name in ("tubelet", "test_tubelet"):
            sys.modules.pop(name, None)


def test_names_that_can_not_be_those_of_a_method(tmp_path: Path) -> None:
    for name, says in (
        ("my-method", "use lower case letters"),
        ("simclr", "has a method 'simclr' already"),
        ("torch", "which the file would hide"),
        ("random", "which the file would hide"),
    ):
        refused("new-method", name, "--out", tmp_path, says=(says,))
    assert not list(tmp_path.iterdir())
