"""Every command in the documentation is accepted by the real parser, to its last option."""

import io
import json
import shlex
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
import tyro
from documented import list_pages, read_commands

import unreel
from unreel.cli.commands import load_command
from unreel.cli.exploration.explore import split_options
from unreel.cli.exploration.training_options import build_training_config
from unreel.methods.registry import load_preset
from unreel.training.run_folder.config import RunConfig

COMMANDS = sorted({command for page in list_pages() for command in read_commands(page)})


class Accepted(BaseException):
    """Raised in place of what a command does, after its arguments were parsed."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what is read before options are parsed: methods of one's own, and the run of --config."""
    folder = tmp_path_factory.mktemp("documented")
    for name in ("tubelet", "mine"):
        unreel.new_method(name, folder)
    (folder / "RUN1").mkdir()
    config = RunConfig("motion", *load_preset("motion")).to_json(folder / "videos")
    (folder / "RUN1" / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def parse_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tyro.cli

    def parse(*args: Any, **options: Any) -> None:
        real(*args, **options)
        raise Accepted

    monkeypatch.chdir(folder)
    monkeypatch.setattr(tyro, "cli", parse)


@pytest.mark.usefixtures("parse_only")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_documentation_is_accepted(command: str) -> None:
    name, *words = shlex.split(command)[1:]
    if name == "explore":
        words, training = split_options(words)
        with pytest.raises(Accepted):
            build_training_config(training, None)
    with pytest.raises(Accepted):
        load_command(name)(words)


@pytest.mark.usefixtures("parse_only")
@pytest.mark.parametrize("words", [["--hop", "1"], ["--hop-s", "one"], ["--per", "clip"]])
def test_a_wrong_option_is_not(words: list[str]) -> None:
    with pytest.raises(SystemExit), redirect_stderr(io.StringIO()):
        load_command("index")(["RUN", "FOLDER", "--out", "INDEX", *words])


def test_commands_are_found_in_blocks_lists_and_scripts(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Call `unreel index` or\n\n    srun --kill unreel a | tee b  # unreel c\n    $ unreel d \\\n      --e\n"
        "    so unreel is here\n"
        "```python\nunreel f\n```\n1. so:\n\n        torchrun -m unreel g x|y [--h S]\n```sh\nunreel i\n```\n"
    )
    assert read_commands(page) == ["unreel a", "unreel d --e", "unreel g x --h 0", "unreel g y --h 0", "unreel i"]
