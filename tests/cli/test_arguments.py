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
    "classify train": "RUN LABELS", "classify apply": "CLASSIFIER FOLDER",
}  # fmt: skip


@pytest.mark.parametrize("command", ARGUMENTS)
def test_the_help_names_arguments_as_the_overview_does(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    usage = succeeds(*command.split(), "--help").out.splitlines()[0]
    assert ARGUMENTS[command] in usage and "PATH PATH" not in usage


@pytest.mark.parametrize("command", ["index", "embed", "evaluate knn"])
def test_a_run_behind_the_videos_is_put_in_front(command: str, tmp_path: Path) -> None:
    run, videos = tmp_path / "my run", tmp_path / "videos"
    for folder in (run, videos):
        folder.mkdir()
    (run / "config.json").write_text("{}")
    out = () if command == "evaluate knn" else ("--out", tmp_path / "out")
    refused(*command.split(), videos, run, *out, says=("which comes first", f"unreel {command} '{run}' {videos}"))


def test_an_index_behind_the_query_is_put_in_front(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "store.json").write_text("{}")
    (tmp_path / "a.mp4").touch()
    said = f"unreel search {tmp_path / 'index'} {tmp_path / 'a.mp4'}"
    refused("search", tmp_path / "a.mp4", tmp_path / "index", says=("the index, which comes first", said))


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
    workers = args[5].workers if what == "all" else args[4].changes["workers"]
    assert (threads, args[0], workers) == (3, "cpu", 2) and torch.get_num_threads() == 1
    refused(
        "evaluate", what, "base", tmp_path, "--threads", -1, *out, says=("--threads is between 0 and 1024, got -1",)
    )
