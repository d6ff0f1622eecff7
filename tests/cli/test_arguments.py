"""Arguments without a flag: their names in the help, and what is said when two are swapped."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import refused, succeeds

from unreel.cli.commands import OVERVIEW

ARGUMENTS = {
    "embed": "RUN FOLDER", "index": "RUN FOLDER", "evaluate knn": "RUN DATA", "evaluate finetune": "RUN DATA",
    "search": "INDEX [VIDEO ...]", "concept": "INDEX NAME", "apply": "CONCEPT FOLDER", "pack": "FOLDER OUT",
    "explore": "FOLDER", "inspect": "FOLDER", "pretrain": "FOLDER", "serve": "INDEX", "compare": "EVAL ...",
    "classify train": "RUN LABELS", "classify apply": "CLASSIFIER FOLDER", "sweep": "FILE", "import": "FILE",
    "export-model": "RUN", "new-method": "NAME", "report": "RUN", "inflate": "FILE", "export": "INDEX", "synth": "OUT",
}  # fmt: skip


@pytest.mark.parametrize("command", ARGUMENTS)
def test_the_help_names_arguments_as_the_overview_does(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    usage = succeeds(*command.split(), "--help").out.splitlines()[0]
    assert ARGUMENTS[command] in usage and "PATH PATH" not in usage


MADE = {"run": "config.json", "index": "store.json", "classifier": "classifier.json"}
SWAPPED = {
    "index": ("run", "videos --out out"), "embed": ("run", "videos --out out.parquet"),
    "evaluate knn": ("run", "videos"), "evaluate all": ("run", "videos --out out"),
    "evaluate detection": ("run", "videos"), "evaluate finetune": ("run", "videos"),
    "classify train": ("run", "videos --out out"), "classify apply": ("classifier", "videos --out out.csv"),
    "search": ("index", "walk.mp4"), "concept": ("index", "walking --yes 1"),
    "apply": ("index/concepts/walking.json", "videos"),
}  # fmt: skip


@pytest.fixture
def things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run, an index, a classifier, a concept and videos, as far as their names tell; the current folder."""
    for folder, file in MADE.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text("{}")
    (tmp_path / "index" / "concepts").mkdir()
    (tmp_path / "index" / "concepts" / "walking.json").write_text("{}")
    (tmp_path / "videos").mkdir()
    (tmp_path / "walk.mp4").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", SWAPPED)
def test_what_comes_first_is_put_in_front_with_the_whole_command(command: str, things: Path) -> None:
    first, rest = SWAPPED[command]
    second, *options = rest.split()
    says = [f"{first} is the", "which comes first", f"did you mean: unreel {command} {first} {rest}"]
    says += ["videos is a folder of videos, and"] if second == "videos" else []
    refused(*command.split(), second, first, *options, says=tuple(says))


def test_names_that_are_no_folder_are_put_in_front_too(things: Path) -> None:
    refused("index", "videos", "base", "--out", "out", says=("unreel index base videos --out out",))
    refused("search", "walk.mp4", "qdrant:http://host#t", says=("unreel search 'qdrant:http://host#t' walk.mp4",))
    refused("embed", "videos/", "base", "--out", "base", says=("unreel embed base videos/ --out base",))
    (things / "my run").mkdir()
    (things / "my run" / "encoder.json").write_text("{}")
    refused("embed", "videos", "my run", "--out", "o.parquet", says=("unreel embed 'my run' videos --out o.parquet",))


def test_every_command_with_two_places_knows_them_swapped() -> None:
    """Those whose usage has two words; what is packed or made new has no second place that exists already."""
    two = {command for command, words in ARGUMENTS.items() if len(words.split()) > 1 and words.split()[0] != "FOLDER"}
    assert two - {"compare"} <= SWAPPED.keys()


def test_the_overview_uses_the_same_names() -> None:
    for command, arguments in ARGUMENTS.items():
        if command.startswith("evaluate"):
            continue
        first = arguments.split()[0]
        assert re.search(rf"unreel {command} {first}\b", OVERVIEW), command


@pytest.mark.parametrize("what", ["all", "finetune"])
def test_threads_and_device_of_an_evaluation_reach_it(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evaluation itself is replaced: it tells what it was called with."""
    found: list[Any] = []

    def evaluate(*args: Any, **named: Any) -> dict[str, Any]:
        found.append((torch.get_num_threads(), args))
        return {}

    monkeypatch.setattr("unreel.verbs.evaluation.evaluate.load_encoder_at_rate", lambda *args: args[-1])
    monkeypatch.setattr("unreel.verbs.evaluation.evaluate_all.evaluate_all", evaluate)
    monkeypatch.setattr("unreel.verbs.evaluation.evaluate_finetune.evaluate_finetuning", evaluate)
    monkeypatch.setattr("unreel.cli.evaluation.evaluate.print_results", lambda *args: None)
    out = ["--out", "eval"] if what == "all" else []
    succeeds("evaluate", what, "base", tmp_path, "--threads", 3, "--device", "cpu", *out)
    threads, args = found[0]
    workers = args[5].workers if what == "all" else args[2].changes["workers"]
    assert (threads, args[0], workers) == (3, "cpu", 2) and torch.get_num_threads() == 1
    refused(
        "evaluate", what, "base", tmp_path, "--threads", -1, *out, says=("--threads is between 0 and 1024, got -1",)
    )
