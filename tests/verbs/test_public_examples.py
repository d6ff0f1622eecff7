"""The docstrings of all public names: arguments, errors, and an example that runs as it stands."""

import doctest
import inspect
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluations import save, summary

import unreel

CHECK_NOTHING = {"Embeddings", "LabelSources", "MarkedMoments", "Moment", "Predictions", "RowFilter", "SearchQuery"}
RAISE_NOTHING = {"concepts", *CHECK_NOTHING}


PUBLIC: dict[str, Any] = {name: getattr(unreel, name) for name in unreel.__all__}
PUBLIC["Encoder.embed"] = unreel.Encoder.embed


@pytest.mark.parametrize("name", PUBLIC)
def test_the_docstring_states_arguments_and_errors(name: str) -> None:
    text = PUBLIC[name].__doc__ or ""
    assert text.partition("\n\n")[0].endswith("."), f"unreel.{name}: begin with a sentence"
    missing = [parameter for parameter in list_parameters(name) if not is_documented(parameter, PUBLIC[name])]
    assert not missing, f"the docstring of unreel.{name} does not say what these are: {', '.join(missing)}"
    assert name in RAISE_NOTHING or "\nRaises:\n" in inspect.cleandoc(text), f"unreel.{name} names no errors"
    assert ">>>" in text, f"the docstring of unreel.{name} has no example"


@pytest.mark.parametrize("name", [name for name in PUBLIC if inspect.isfunction(PUBLIC[name])])
def test_the_docstring_states_the_result(name: str) -> None:
    returns_nothing = inspect.signature(PUBLIC[name]).return_annotation in (None, "None")
    assert returns_nothing or "\nReturns:\n" in inspect.cleandoc(PUBLIC[name].__doc__), f"unreel.{name}: add Returns:"


def list_parameters(name: str) -> list[str]:
    if is_error(PUBLIC[name]):
        return []
    return [parameter for parameter in inspect.signature(PUBLIC[name]).parameters if parameter != "self"]


def is_error(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, Exception)


def is_documented(parameter: str, value: Any) -> bool:
    """In the section `Args:`, or by a string below the field, which the command line shows too."""
    args = re.search(r"^Args:\n((?: .*\n|\n(?= ))*)", inspect.cleandoc(value.__doc__ or "") + "\n", re.M)
    if args and re.search(rf"^    {parameter}: \S", args[1], re.M):
        return True
    return inspect.isclass(value) and bool(re.search(rf'^    {parameter}: .*\n    """', inspect.getsource(value), re.M))


@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_runs(
    name: str, motion_set: Path, small_run: Path, motion_index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It sees `unreel`, `np`, `videos` (labelled, with lists), `run` (trained on them), `index` (of them), `out` (new)
    and `evaluations` (two folders), and nothing else."""
    names: dict[str, Any] = {"unreel": unreel, "np": np, "videos": motion_set, "out": tmp_path / "out"}
    text = PUBLIC[name].__doc__ or ""
    for key, folder in {"run": small_run, "index": motion_index}.items():
        if re.search(rf"\b{key}\b", text):
            names[key] = Path(shutil.copytree(folder, tmp_path / folder.name))
    names["evaluations"] = [save(tmp_path / number, summary()) for number in ("one", "two")]
    test = doctest.DocTestParser().get_doctest(text, names, f"unreel.{name}", None, None)
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
    assert result.attempted and not result.failed, capsys.readouterr().out
