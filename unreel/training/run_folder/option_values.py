"""Options of a method and of a run from a file: known names, and values of the right kind."""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

from unreel.errors import InputError, unknown_name_error
from unreel.methods.registry import load_preset

KIND_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", tuple: "a list"}


def convert_options(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as the dataclasses of the method take them.

    Raises InputError for a method or a name that is unknown, and for a value of another kind.

    >>> convert_options("motion", {"lr": 1, "drops": [0.5]})
    {'lr': 1.0, 'drops': (0.5,)}
    """
    hints = list_option_kinds(method)
    for name in options:
        if name not in hints:
            raise unknown_name_error("option", name, hints)
    return {name: convert_value(name, hints[name], value) for name, value in options.items()}


def list_option_kinds(method: str) -> dict[str, Any]:
    """The options that a method and its settings have, each with the type of its values. Raises InputError."""
    hints: dict[str, Any] = {}
    for part in load_preset(method):
        hints |= {f.name: get_type_hints(type(part))[f.name] for f in dataclasses.fields(part)}
    return hints


def convert_value(name: str, hint: Any, value: Any) -> Any:
    """A value of JSON or TOML as the field `name` of this kind takes it. Raises InputError."""
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if value is None and type(None) in kinds:
        return None
    for kind in kinds:
        plain = get_origin(kind) or kind
        if dataclasses.is_dataclass(plain) and isinstance(plain, type) and isinstance(value, Mapping):
            return plain(**value)
        if plain is tuple and isinstance(value, list | tuple):
            return tuple(value)
        if plain is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if plain in (bool, int, str) and type(value) is plain:
            return value
    if any((get_origin(kind) or kind) not in KIND_NAMES for kind in kinds if kind is not type(None)):
        return value  # a choice of words, or a kind of an own method: its dataclass checks it
    allowed = " or ".join(KIND_NAMES[get_origin(kind) or kind] for kind in kinds if kind is not type(None))
    raise InputError(f"{name} is {allowed}, got {value!r}")
