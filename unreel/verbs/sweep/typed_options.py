"""Settings, options and grids as they are typed on a command line."""

import json
import shlex
from typing import Any

from unreel.errors import InputError


def parse_setting(text: str) -> dict[str, Any]:
    """A setting as it is typed: `METHOD NAME=VALUE NAME=VALUE`. Raises InputError.

    >>> parse_setting("own.py:fast lr=0.01 intra_negatives=none")
    {'method': 'own.py:fast', 'lr': 0.01, 'intra_negatives': 'none'}
    """
    words = shlex.split(text)
    named = parse_options([word for word in words if "=" in word])
    methods = [word for word in words if "=" not in word]
    if len(methods) > 1:
        raise InputError(f"'{text}' names two methods, {methods[0]} and {methods[1]}; quote a value with spaces")
    return ({"method": methods[0]} if methods else {}) | named


def parse_options(words: list[str] | tuple[str, ...]) -> dict[str, Any]:
    """Words NAME=VALUE as options; values are read as JSON where they can be. Raises InputError."""
    options: dict[str, Any] = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or not name:
            raise InputError(f"'{word}' is no option; write NAME=VALUE, e.g. lr=0.01")
        options[name.replace("-", "_")] = parse_value(value)
    return options


def parse_grid(words: list[str] | tuple[str, ...]) -> dict[str, list[Any]]:
    """Words NAME=VALUE,VALUE,... as lists of values; a list in JSON too, for values with commas.

    >>> parse_grid(["lr=0.1,0.2", 'method=["own.py:fast"]'])
    {'lr': [0.1, 0.2], 'method': ['own.py:fast']}
    """
    grid: dict[str, list[Any]] = {}
    for name, value in parse_options(words).items():
        texts = value.split(",") if isinstance(value, str) else None
        grid[name] = [parse_value(t) for t in texts] if texts else value if isinstance(value, list) else [value]
    return grid


def parse_value(text: str) -> Any:
    """A value as JSON where it is JSON, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
