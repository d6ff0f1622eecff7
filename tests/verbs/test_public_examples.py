"""The example in the docstring of every public function runs, and shows what it returns."""

import doctest
import inspect
import shutil
import sys
from pathlib import Path

import pytest
from evaluations import save, summary

import unreel

RAISE_NOTHING = {"concepts"}
FUNCTIONS = [name for name in unreel.__all__ if inspect.isfunction(getattr(unreel, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_runs(
    name: str, motion_set: Path, small_run: Path, motion_index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Examples use `videos` (labelled, with lists), `run` (trained on them), `index` (of them) and `out` (new)."""
    run, index = (Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in (small_run, motion_index))
    names = {"unreel": unreel, "videos": motion_set, "run": run, "index": index, "out": tmp_path / "out"}
    names["evaluations"] = [save(tmp_path / number, summary()) for number in ("one", "two")]
    function = getattr(unreel, name)
    names = vars(sys.modules[function.__module__]) | names
    (test,) = doctest.DocTestFinder(recurse=False).find(function, name, globs=names)
    assert test.examples, f"the docstring of unreel.{name} has no example"
    assert name in RAISE_NOTHING or "Raises" in (function.__doc__ or ""), (
        f"the docstring of unreel.{name} names no errors"
    )
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
    assert result.failed == 0, capsys.readouterr().out
