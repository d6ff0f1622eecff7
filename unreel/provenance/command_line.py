"""The command that runs, as it can be typed again, without what is secret in it."""

import contextlib
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

_COMMAND: ContextVar[tuple[str, ...]] = ContextVar("command", default=())
SECRET_WORDS = ("token", "password", "secret", "key")
MASK = "***"


@contextlib.contextmanager
def record_command(args: Sequence[str]) -> Iterator[None]:
    """`unreel ARGS` runs in this block."""
    before = _COMMAND.set(("unreel", *args))
    try:
        yield
    finally:
        _COMMAND.reset(before)


def describe_command() -> str:
    """The command of `unreel` that runs, else the script that calls it; "" where neither is known, as in a notebook."""
    words = _COMMAND.get()
    if not words and sys.argv and sys.argv[0] not in ("", "-c", "-m") and "ipykernel" not in sys.argv[0]:
        words = ("python", *sys.argv)
    return shlex.join(mask_secrets(words))


def mask_secrets(words: Sequence[str]) -> list[str]:
    """The words of a command without values of options such as --token, and without passwords and keys in addresses.

    >>> mask_secrets(["--to", "postgresql://me:pw@host/db", "--access-token", "abc", "--token=abc"])
    ['--to', 'postgresql://***@host/db', '--access-token', '***', '--token=***']
    """
    masked: list[str] = []
    for before, word in zip(("", *words), words, strict=False):
        name, mark, _ = word.partition("=")
        if is_secret(before) and "=" not in before and not word.startswith("--"):
            masked.append(MASK)
        else:
            masked.append(f"{name}={MASK}" if mark and is_secret(name) else mask_address(word))
    return masked


def is_secret(word: str) -> bool:
    """Whether a word is an option whose value nobody should read."""
    return word.startswith("--") and any(secret in word.lower() for secret in SECRET_WORDS)


def mask_address(text: str) -> str:
    """An address without who reads it and without its query, where signatures stand.

    >>> mask_address("https://me:pw@host/a.mp4?signature=abc"), mask_address("videos?")
    ('https://***@host/a.mp4?***', 'videos?')
    """
    text = re.sub(r"(\w+://)[^/@\s]+@", rf"\1{MASK}@", text)
    return re.sub(r"(\w+://[^\s?]*)\?\S+", rf"\1?{MASK}", text)
