"""The tutorial shows every command of the way; `website/test_commands_run.py` runs them."""

import shlex

from documented import ROOT, read_commands

PAGE = ROOT / "docs" / "tutorial.md"


def test_the_tutorial_shows_every_command_of_the_way() -> None:
    names = [shlex.split(command)[1] for command in read_commands(PAGE)]
    assert names == ["synth", "inspect", "explore", "serve", "search", "concept", "synth", "apply", "evaluate", "embed"]
