"""Commands that the documentation shows: `unreel ...` in the code blocks of its pages."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^\s*```(\w*)")
SHELL = {"", "sh", "bash", "console"}
ELSEWHERE = {"log.md", "moved.md"}  # commands of their day
ENDS = {"|", ";", "&&", "||", ">", "&"}
PLACEHOLDERS = {"S": "0", "N": "8", "PIXELS": "112"}  # of seeds, seconds, frames and sizes


def list_pages() -> list[Path]:
    pages = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md"), *ROOT.glob("unreel/**/*.md")]
    return sorted(page for page in pages if page.name not in ELSEWHERE)


def read_commands(page: Path) -> list[str]:
    """Every command of a page, from `unreel` on, without comments."""
    lines = "\n".join(iterate_shell_lines(page.read_text(encoding="utf-8")))
    found = [command for line in re.sub(r"\\\n\s*", " ", lines).splitlines() for command in find_command(line)]
    return [version for command in found for version in expand_synopsis(command)]


def iterate_shell_lines(text: str) -> Iterator[str]:
    """Lines of indented blocks, and of fenced ones that are for a shell."""
    fence: str | None = None
    for line in text.splitlines():
        if found := FENCE.match(line):
            fence = found[1] if fence is None else None
        elif line.startswith("    ") if fence is None else fence in SHELL:
            yield line.strip()


def find_command(line: str) -> list[str]:
    """The command of a line in a list, or an empty list. Sentences that name unreel in their midst are no commands."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # an apostrophe: what a command prints
        return []
    at = words.index("unreel") if "unreel" in words else None
    if at is None or not (at == 0 or words[0] in ("$", "srun", "torchrun", "sudo") or words[at - 1] == "-m"):
        return []
    command = words[at:]
    end = next((n for n, word in enumerate(command) if word in ENDS), len(command))
    return [shlex.join(command[:end])]


def expand_synopsis(command: str) -> list[str]:
    """A command for each alternative of its first one|two|three, with [options], and values for placeholders."""
    words = [PLACEHOLDERS.get(word, word) for word in (w.strip("[]") for w in shlex.split(command)) if word != "..."]
    choices = next(
        ((n, word.split("|")) for n, word in enumerate(words) if re.fullmatch(r"[\w-]+(\|[\w-]+)+", word)), None
    )
    if choices is None:
        return [shlex.join(words)]
    at, alternatives = choices
    versions = [shlex.join([*words[:at], word, *words[at + 1 :]]) for word in alternatives]
    return [found for version in versions for found in expand_synopsis(version)]
