"""The references that the site makes from the code: options of a help, sections of a docstring."""

from command_reference import format_help, list_groups, read_help
from python_reference import format_docstring, format_signature, write_object

import unreel
from unreel.cli.commands import COMMANDS

HELP = """usage: unreel jump [-h] [OPTIONS] FOLDER

Jump over a_folder.

╭─ positional arguments ──────────╮
│ FOLDER   Where to *land*.       │
╰─────────────────────────────────╯
╭─ limits options ────────────────╮
│ What a jump may take.           │
│ ─────────────────────────────── │
│ -h, --help  show this           │
│ --height-m {low,high}           │
│          As `low` as [you] like │
│          or higher. (default: 1)│
╰─────────────────────────────────╯
"""


def test_a_help_becomes_lists_of_definitions() -> None:
    text = format_help(HELP)
    assert "```text\nusage: unreel jump [-h] [OPTIONS] FOLDER\n```" in text and r"Jump over a\_folder." in text
    assert "**positional arguments**\n\n`FOLDER`\n:   Where to \\*land\\*.\n" in text
    assert "**limits options**\n\nWhat a jump may take.\n" in text and "--help" not in text
    assert "`--height-m {low,high}`\n:   As `low` as \\[you\\] like or higher. (default: 1)\n" in text


def test_options_of_a_real_help_are_all_there() -> None:
    shown = format_help(read_help("synth"))
    assert [f"`--{name} INT`\n:   " in shown for name in ("classes", "videos", "seed")] == [True] * 3
    assert "│" not in shown and "─" not in shown


def test_every_command_has_its_place() -> None:
    assert {command.split()[0] for commands in list_groups().values() for command in commands} == set(COMMANDS)


def test_a_class_has_its_parameters_and_methods() -> None:
    text = write_object("unreel.Embeddings", unreel.Embeddings)
    assert text.startswith("## unreel.Embeddings\n\n```python\nunreel.Embeddings(\n    vectors: ")
    assert "`vectors`\n:   float32 (N, D).\n" in text and "### unreel.Embeddings.list\\_rows" not in text
    assert "### unreel.Embeddings.list_rows\n" in text


def jump(height_m: float, over: "str | None" = None) -> bool:
    """Jump over it.

    Args:
        height_m: metres,
            and more.

    Returns:
        Whether it worked.

    >>> jump(1.0)
    True
    """
    return over is None or height_m > 0


def test_a_docstring_becomes_sections() -> None:
    text = format_docstring(
        "Jump over it.\n\nArgs:\n    height_m: metres,\n        and more.\n\nReturns:\n    Whether.\n\n>>> jump()\nTrue"
    )
    assert text.startswith("Jump over it.\n\n**Args**\n\n`height_m`\n:   metres, and more.\n")
    assert "**Returns**\n\nWhether.\n" in text and text.endswith("```pycon\n>>> jump()\nTrue\n```\n")
    assert "jump(\n    height_m: float,\n    over: str | None = None,\n) -> bool" in format_signature(
        "jump", jump
    ).replace("'", "")
