"""The reference of commands: a page for each group of commands, made of what `--help` prints."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from unittest.mock import patch

from unreel.cli.commands import COMMANDS, load_command
from unreel.evaluation.protocol_registry import list_protocols

ONE_LINE = "20000"  # columns, so that an option and its help are never wrapped
GROUPS = {
    "all in one": ["explore"],
    "videos": ["inspect", "pack", "synth", "data check"],
    "training": ["pretrain", "pretrain --resume RUN", "bench", "report", "methods", "new-method", "sweep"],
    "evaluation": ["evaluate", "compare"],
    "embeddings and search": ["embed", "index", "search", "serve", "cluster", "concept", "apply", "export"],
    "classifiers": ["classify train", "classify apply"],
    "weights": ["import", "inflate", "export-model"],
    "the machine": ["doctor"],
}


def write_command_pages() -> dict[str, str]:
    """Pages by file name. Every command of `unreel.cli.commands.COMMANDS` stands on one of them."""
    pages = {f"{name.replace(' ', '-')}.md": write_group(name, commands) for name, commands in list_groups().items()}
    index = "\n".join(link_commands(name, commands) for name, commands in list_groups().items())
    return pages | {"index.md": f"# Commands\n\nMade from the help of each command.\n\n{index}"}


def link_commands(name: str, commands: list[str]) -> str:
    """The page of a group, and each of its commands there."""
    page, title = f"{name.replace(' ', '-')}.md", name[0].upper() + name[1:]
    anchors = {command: re.sub(r"[^a-z0-9]+", "-", f"unreel {command}".lower()).strip("-") for command in commands}
    links = ", ".join(f"[{command}]({page}#{anchor})" for command, anchor in anchors.items())
    return f"- **[{title}]({page})**: {links}"


def list_groups() -> dict[str, list[str]]:
    """Commands by group; those that no group names come last."""
    grouped = {command.split()[0] for commands in GROUPS.values() for command in commands}
    others = sorted(COMMANDS.keys() - grouped)
    groups = GROUPS | ({"others": others} if others else {})
    evaluations = [f"evaluate {name}" for name in [*list_protocols(), "finetune", "detection", "all"]]
    return groups | {"evaluation": ["evaluate", *evaluations, "compare"]}


def write_group(name: str, commands: list[str]) -> str:
    sections = [f"## unreel {command}\n\n{format_help(read_help(command))}" for command in commands]
    return f"# Commands: {name}\n\n" + "\n".join(sections)


@contextmanager
def wide_terminal() -> Iterator[None]:
    with patch.dict(os.environ, {"COLUMNS": ONE_LINE, "NO_COLOR": "1", "TERM": "xterm"}):
        yield


def read_help(command: str) -> str:
    """What `unreel COMMAND --help` prints, with each option on one line."""
    name, *words = command.split()
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # one that can take the frames' lines
    with wide_terminal(), redirect_stdout(printed):
        try:
            load_command(name)([*words, "--help"])
        except SystemExit as end:
            assert not end.code, f"unreel {command} --help ends with {end.code}"
    printed.seek(0)
    return printed.read()


def format_help(text: str) -> str:
    """Markdown of a help: the usage, what the command does, and the options as lists of definitions."""
    if "╭" not in text:  # written by hand, e.g. `unreel evaluate --help`
        return f"```text\n{text.rstrip()}\n```\n"
    head, _, boxes = text.partition("╭")
    usage, _, summary = head.strip().partition("\n\n")
    parts = [f"```text\n{usage.strip()}\n```\n", escape(summary.strip()) + "\n"]
    return "\n".join(parts + [format_box(box) for box in boxes.split("╭")])


def format_box(box: str) -> str:
    """One frame of options. Lines of options begin at its edge, lines of their help further in."""
    title, *lines = box.splitlines()
    items: list[list[str]] = []
    for line in (line[2:].strip("│").rstrip() for line in lines if line.startswith("│")):
        if set(line) <= {"─", " "} or line.startswith("-h, --help"):
            continue
        if line.startswith(" "):
            items[-1].append(line.strip())
        else:
            items.append(re.split(r"\s{2,}", line, maxsplit=1))
    return f"**{title.strip('─╮ ')}**\n\n" + "\n".join(map(format_item, items))


def format_item(item: list[str]) -> str:
    flags, *help_lines = item
    if not re.match(r"-|[A-Z]+\b(?!\S)|\[|\{", flags) or not help_lines:  # the sentence about a whole frame
        return escape(" ".join(item)) + "\n"
    return f"`{flags}`\n:   {escape(' '.join(help_lines))}\n"


def escape(text: str) -> str:
    """Plain text as Markdown: what stands in `quotes` stays code."""
    parts = re.split(r"(`[^`\n]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([<>*_\[\]|\\#])", r"\\\1", part) for part in parts)
