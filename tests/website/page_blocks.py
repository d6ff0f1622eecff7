"""What the pages of the documentation show in blocks of code, in reading order: commands, Python, files, other text."""

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from documented import FENCE, ROOT, SHELL, expand_synopsis, list_pages

from unreel.cli.help.examples import EXAMPLES

EXAMPLES_PAGE = "unreel COMMAND --help"  # its examples stand on the site in the reference of commands
PROGRAMS = set("unreel python make docker pip uv pytest torchrun srun sudo sh duckdb eval rm".split())
ASSIGNMENT = re.compile(r"[A-Z_]+=")


@dataclass(frozen=True)
class Block:
    """`kind` is `shell` (one command, or a script of `#!`), `text` (no command), or the language of a fence."""

    page: str
    line: int
    kind: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def read_all_blocks() -> list[Block]:
    pages = [block for page in list_pages() for block in read_blocks(page)]
    examples = [command for commands in EXAMPLES.values() for command in commands]
    return pages + [Block(EXAMPLES_PAGE, n, "shell", command) for n, command in enumerate(examples, start=1)]


def read_blocks(page: Path) -> list[Block]:
    name = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name
    return [
        Block(name, line, kind, text)
        for first, language, shown in iterate_blocks(page.read_text(encoding="utf-8"))
        for line, kind, text in split_block(first, language, shown)
    ]


def iterate_blocks(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, language and text of each fenced block and, with no language, of each indented one."""
    fence, first, kept = None, 0, []  # type: ignore[var-annotated]
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        found = FENCE.match(line)
        belongs = not found and (fence is not None or line.startswith("    ") or (kept and not line.strip()))
        if belongs:
            first, kept = (first, kept) if kept else (number, [])
            kept.append(line)
            continue
        if kept:
            yield first, fence or "", textwrap.dedent("\n".join(kept)).strip("\n")
        kept = []
        if found:
            fence = found[1] if fence is None else None
    if kept:
        yield first, "", textwrap.dedent("\n".join(kept)).strip("\n")


def split_block(first: int, language: str, text: str) -> Iterator[tuple[int, str, str]]:
    """The commands of a block one by one; a block of anything else is one."""
    if language not in SHELL:
        yield first, language, text
    elif text.startswith("#!"):
        yield first, "shell", text
    elif re.search(r"^\$ ", text, re.MULTILINE):
        yield from ((first + n, "shell", line[2:]) for n, line in enumerate(text.splitlines()) if line.startswith("$ "))
    else:
        for skipped, part in split_at_blank_lines(text):
            yield from split_part(first + skipped, part)


def split_at_blank_lines(text: str) -> Iterator[tuple[int, str]]:
    """Parts with the number of lines before them."""
    for found in re.finditer(r"(?:^.*\S.*(?:\n|\Z))+", text, re.MULTILINE):
        yield text[: found.start()].count("\n"), found[0].rstrip("\n")


def split_part(first: int, text: str) -> Iterator[tuple[int, str, str]]:
    commands = list(join_lines(text))
    if all(is_command(command) for _, command in commands):
        yield from ((first + n, "shell", version) for n, found in commands for version in list_versions(found))
    elif text.startswith("import "):
        yield first, "python", text
    else:
        yield first, "text", text


def join_lines(text: str) -> Iterator[tuple[int, str]]:
    """Commands that go over several lines in one piece, after the variables that they use; comments are left out.

    A line goes on after a backslash, within quotes, and where the next one is set in.
    """
    held, first, lines = "", 0, text.splitlines()
    for n, line in enumerate(lines):
        first = first if held else n
        held = re.sub(r" *\\\n *|\n +", " ", f"{held}\n{line}") if held else line
        goes_on = held.endswith("\\") or is_open(held) or (lines[n + 1 : n + 2] and lines[n + 1].startswith(" "))
        if line.startswith("#"):
            held = ""
        elif not goes_on or n + 1 == len(lines):
            yield first, remove_comment(held)
            held = ""


def is_open(command: str) -> bool:
    """Whether a quote is open at the end, or nothing but variables were set."""
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        return True
    return all(map(ASSIGNMENT.match, words))


def remove_comment(command: str) -> str:
    return re.sub(r"\s+#\s.*$", "", command, flags=re.MULTILINE)


def is_command(command: str) -> bool:
    return command.split()[0] in PROGRAMS or bool(ASSIGNMENT.match(command))


def list_versions(command: str) -> list[str]:
    """A command for each alternative of what a synopsis offers."""
    is_synopsis = re.search(r" \[-|\w\|\w| \.\.\.", command) and command.startswith("unreel")
    return expand_synopsis(command) if is_synopsis else [re.sub(r" \[(-[^\]]*)\]", r" \1", command)]
