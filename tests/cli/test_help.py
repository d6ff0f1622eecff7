"""Help ends with examples that parse, and the shell completes commands and options."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import refused, succeeds

from unreel.cli import arguments
from unreel.cli.commands import COMMANDS
from unreel.cli.entry_point import run_command
from unreel.cli.help.completion import SHELLS, format_completion
from unreel.cli.help.examples import EXAMPLES, format_examples
from unreel.methods.registry import load_preset
from unreel.training.run_folder.config import RunConfig

LINES = [line for lines in EXAMPLES.values() for line in lines]


class Parsed(Exception):
    """Everything of a command was understood."""


@pytest.mark.parametrize("line", LINES)
def test_an_example_is_understood_to_its_last_option(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(options: Any, args: list[str], command: str) -> None:
        if command != "explore" or " -- " not in line:  # behind which options of `pretrain` follow, parsed after
            raise Parsed

    monkeypatch.setattr(arguments, "refuse_swapped", stop)
    monkeypatch.setattr("unreel.cli.existing_paths.require_path", lambda *words: None)
    monkeypatch.setattr("unreel.cli.method_options.name_method", lambda name: name)
    monkeypatch.setattr("unreel.cli.method_options.load_preset", lambda name: load_preset("simclr"))
    earlier = RunConfig("simclr", *load_preset("simclr"))
    monkeypatch.setattr("unreel.cli.training.pretrain.load_earlier_config", lambda source: earlier)
    with pytest.raises(Parsed):
        run_command(shlex.split(line)[1:])


def test_every_command_has_examples_and_its_help_ends_with_them() -> None:
    assert {name.split()[0] for name in EXAMPLES} == set(COMMANDS)
    for words in (["report"], ["evaluate"], ["evaluate", "linear"], ["data"], ["data", "check"]):
        shown = succeeds(*words, "--help").out
        assert shown.endswith(format_examples(" ".join(words) if words != ["data"] else "data check") + "\n")
    assert format_examples("evaluate linear").splitlines()[1:] == ["  unreel evaluate linear run labelled --json"]
    assert "examples:" not in succeeds("methods").out


def complete(*words: str, tmp_path: Path) -> list[str]:
    """What bash offers after these words, the last of which is being typed."""
    program = tmp_path / "unreel"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m unreel "$@"\n')
    program.chmod(0o755)
    array = " ".join(shlex.quote(word) for word in (str(program), *words))
    script = f'COMP_WORDS=({array}); COMP_CWORD={len(words)}; _unreel; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", f"{format_completion('bash')}\n{script}"], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_completes_commands_evaluations_and_options(tmp_path: Path) -> None:
    assert complete("ex", tmp_path=tmp_path) == ["explore", "export", "export-model"]
    assert complete("", tmp_path=tmp_path)[: len(COMMANDS)] == list(COMMANDS)
    assert complete("evaluate", "r", tmp_path=tmp_path) == ["retrieval"]
    assert complete("data", "", tmp_path=tmp_path) == ["check"]
    assert complete("classify", "", tmp_path=tmp_path) == ["train", "apply"]
    assert complete("synth", "out", "--cl", tmp_path=tmp_path) == ["--classes"]
    assert complete("report", "ru", tmp_path=tmp_path) == []  # files, by bash itself


def test_the_script_of_every_shell_names_all_commands() -> None:
    for shell in SHELLS:
        said = succeeds("--completion", shell).out
        assert all(name in said for name in COMMANDS)
    refused("--completion", "fishh", says=("unknown shell 'fishh'", "bash, zsh"))
    refused("--completion", says=("unknown shell ''",))
