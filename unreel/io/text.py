"""Counts, durations, paths and lists as short text for people, and objects from text: JSON, TOML, YAML."""

import dataclasses
import json
import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

EXPLORED_SUFFIX = ".unreel"  # of the folder that `unreel explore` makes of some videos
_NUMBER = r"-?\d[\d.eE+-]*"
Described = TypeVar("Described")
_NUMBER_LIST = re.compile(rf"\[\n\s*({_NUMBER}(?:,\n\s*{_NUMBER})*)\n\s*\]")  # a text holds no line end of its own


def format_path(path: str, root: str = "") -> str:
    """A path on one line, relative to `root` where it lies inside; unprintable characters are escaped."""
    relative = os.path.relpath(path, root) if root and os.path.isabs(path) else path
    path = path if relative.startswith(os.pardir) else relative
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in path)


def name_folder(folder: Path) -> str:
    """What a run or an index is called: its folder, and for those of `unreel explore` the videos.

    >>> name_folder(Path("runs/first")), name_folder(Path("footage.unreel/index-2"))
    ('first', 'footage, index-2')
    """
    path = Path(os.path.abspath(folder))
    return f"{path.parent.stem}, {path.name}" if path.parent.suffix == EXPLORED_SUFFIX else path.name


def format_count(count: int, noun: str) -> str:
    """A number and its noun, in the plural for all but one.

    >>> format_count(1, "video"), format_count(1000, "class"), format_count(0, "query")
    ('1 video', '1,000 classes', '0 queries')
    """
    plural = f"{noun}es" if noun.endswith("s") else f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def format_duration(seconds: float) -> str:
    """Seconds, minutes or hours, with three digits."""
    unit_s, name = (1, "s") if seconds < 120 else (60, "min") if seconds < 7200 else (3600, "h")
    return f"{seconds / unit_s:.3g} {name}"


def format_clock(seconds: float) -> str:
    """Minutes and seconds: 1:02.5"""
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"


def preview_items(items: Iterable[object], max_items: int = 3) -> str:
    """The first items, and dots if there are more."""
    names = [str(item) for item in items]
    return ", ".join(names[:max_items]) + (" ..." if len(names) > max_items else "")


def fit_parts(parts: Sequence[str], width: int) -> str:
    """As many of the parts as fit on a line of so many characters, the first of them in any case, cut if it must be.

    >>> fit_parts(["12.4 min left", "step 120/6000", "loss 2.310"], 30)
    '12.4 min left  step 120/6000'
    """
    line = parts[0][:width]
    for part in filter(None, parts[1:]):
        if len(line) + 2 + len(part) > width:
            break
        line += f"  {part}"
    return line


def format_time_left(seconds: float | None) -> str:
    """`12.4 min left`; `time left: unknown` before anything is known."""
    return "time left: unknown" if seconds is None else f"{format_duration(round(seconds))} left"


def join_words(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def align_lines(texts: Mapping[str, str]) -> str:
    """A line for each name and its text, with the texts below each other.

    >>> print(align_lines({"--to a:FILE": "a file", "--to bc:FOLDER": "a folder"}))
    --to a:FILE      a file
    --to bc:FOLDER   a folder
    """
    width = max(map(len, texts))
    return "\n".join(f"{name:<{width}}   {text}" for name, text in texts.items())


def format_json(data: Any) -> str:
    """JSON of two spaces of indent, with lists of numbers on one line each. Raises ValueError for NaN and infinity.

    >>> print(format_json({"a": [1, 2.5], "b": ["x"]}))
    {
      "a": [1, 2.5],
      "b": [
        "x"
      ]
    }
    """
    text = json.dumps(data, indent=2, allow_nan=False)
    return _NUMBER_LIST.sub(lambda found: f"[{' '.join(found[1].split())}]", text)


def parse_json(text: str | bytes) -> dict[str, Any]:
    """The object of a JSON text. Raises ValueError for anything else, also for one that is nested too deeply.

    >>> parse_json('{"a": [1]}')
    {'a': [1]}
    """
    try:
        data = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(data, dict):
        raise ValueError(f"a JSON {type(data).__name__}, not an object")
    return data


def build_from_json(kind: type[Described], data: Any) -> Described:
    """A dataclass, and those inside it, of an object that JSON gave; each value is compared with the type of its field.

    Numbers keep their type. Raises ValueError for a field that is missing, unknown or of another type.

    >>> from unreel.types import FileFailure
    >>> build_from_json(FileFailure, {"path": "a.mp4", "reason": "damaged", "detail": 3})
    Traceback (most recent call last):
    ValueError: detail is 3, not a str
    """
    if not isinstance(data, dict):
        raise ValueError(f"{kind.__name__} is {data!r:.40}, not an object")
    fields, hints = {field.name: field for field in dataclasses.fields(kind)}, get_type_hints(kind)  # type: ignore[arg-type]
    if unknown := data.keys() - fields.keys():
        raise ValueError(f"{preview_items(sorted(unknown))} is no part of {kind.__name__}")
    values = {name: _convert_json(hints[name], value, name) for name, value in data.items()}
    required = {f.name for f in fields.values() if f.default is f.default_factory is dataclasses.MISSING}
    if missing := required - data.keys():
        raise ValueError(f"{preview_items(sorted(missing))} is missing in {kind.__name__}")
    return kind(**values)


def _convert_json(hint: Any, value: Any, name: str) -> Any:
    """A value that JSON gave as the type of a field wants it. Raises ValueError."""
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if dataclasses.is_dataclass(origin):
        return build_from_json(origin, value)  # type: ignore[arg-type]
    if origin in (Union, UnionType):
        return None if value is None and NoneType in inner else _convert_json(inner[0], value, name)
    if origin in (list, tuple) and isinstance(value, list):
        kinds = [inner[0]] * len(value) if origin is list or inner[1:] == (...,) else inner
        if len(kinds) == len(value):
            return origin(_convert_json(kind, item, name) for kind, item in zip(kinds, value, strict=True))
    elif isinstance(origin, type) and issubclass(dict, origin) and isinstance(value, dict):
        return {key: _convert_json(inner[1], item, f"{name} {key}") for key, item in value.items()}
    elif _is_plain_json(origin, inner, value):
        return value
    raise ValueError(f"{name} is {value!r:.40}, not a {getattr(hint, '__name__', hint)}")


def _is_plain_json(origin: Any, inner: tuple[Any, ...], value: Any) -> bool:
    if origin is Any:
        return True
    if origin is Literal:
        return value in inner
    if origin is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and _is_finite(value)
    return type(value) is origin and (origin is not int or abs(value) < 2**63)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def parse_tables(text: str, suffix: str) -> dict[str, Any]:
    r"""The tables of a file of settings, TOML, JSON or YAML by its suffix; JSON by its first sign too.

    Raises ValueError for anything else.

    >>> parse_tables("lr: [0.1, 1e-3]\nshard: off", ".yaml")
    {'lr': [0.1, 0.001], 'shard': 'off'}
    """
    suffix = suffix.lower()
    if suffix == ".json" or (suffix not in (".yaml", ".yml", ".toml") and text.lstrip().startswith("{")):
        return parse_json(text)
    if suffix not in (".yaml", ".yml"):
        return tomllib.loads(text)
    data = _parse_yaml(text)
    if not isinstance(data, dict):
        raise ValueError("it has no names with values")
    return data


_YAML_KINDS = (  # as they are written by version 1.2, but for 0x1F and 0o17
    ("null", r"(?:~|null|Null|NULL)$", "~nN"),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"[-+]?[0-9]+$", "-+0123456789"),
    (
        "float",
        r"(?:[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+.0123456789",
    ),
)


def _parse_yaml(text: str) -> Any:
    """YAML by version 1.2, in which off is a word and 1e-3 a number; PyYAML itself reads 1.1. Raises ValueError."""
    import yaml  # of settings alone

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # filled below, for this class alone

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            names = [str(key.value) for key, _ in node.value]
            if twice := {name for name in names if names.count(name) > 1}:
                raise yaml.YAMLError(f"{', '.join(sorted(twice))} stands twice in one table{node.start_mark}")
            if others := [key for key, _ in node.value if not key.tag.endswith(":str")]:
                raise yaml.YAMLError(f"a name is text; put it in quotes{others[0].start_mark}")
            return super().construct_mapping(node, deep)

    for kind, pattern, first_signs in _YAML_KINDS:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(pattern), [*first_signs])
    Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("$"), [""])
    Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))  # 010 is ten
    try:
        if tags := [event.tag for event in yaml.parse(text, Loader) if getattr(event, "tag", None)]:
            raise yaml.YAMLError(f"tags as {tags[0]} are not read; leave it out")
        return yaml.load(text, Loader)  # a SafeLoader: no objects of Python
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error
