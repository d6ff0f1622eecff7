"""The words of a documented command with the short options and other names of `stand_ins`. Imports no library."""

import re
from types import MappingProxyType

import stand_ins


def make_small(words: list[str]) -> list[str]:
    """The words after `unreel`, with the short options of `stand_ins.SMALL`."""
    head, _, tail = (words, [], []) if "--" not in words else split_at(words, "--")
    wanted = stand_ins.SMALL.get(" ".join(words[:2]), stand_ins.SMALL.get(words[0], {}))
    if words[0] == "explore":
        return [*put_options(head, {}), "--", *put_options(tail, wanted)]
    if "--resume" in words or (words[:1] == ["sweep"] and "--data" not in words):
        return put_options(words, {}, {"--steps": "10"} if "--steps" in words else {})
    small = put_options(words, wanted)
    return keep_few_settings(small) if words[0] == "sweep" else small


def split_at(words: list[str], word: str) -> tuple[list[str], list[str], list[str]]:
    at = words.index(word)
    return words[:at], [word], words[at + 1 :]


def put_options(words: list[str], wanted: dict[str, str], shown: dict[str, str] = MappingProxyType({})) -> list[str]:
    """`wanted` options in place of longer ones or at the end; others of the tables where they stand."""
    kept, options = split_options(words)
    smaller = {name: value for name, value in stand_ins.SMALL_WHERE_SHOWN.items() if name in options} | shown
    for name, value in (smaller | wanted).items():
        options[name] = shorter(options.get(name), value.split())
    return kept + [
        word for name, values in options.items() if name not in stand_ins.LEFT_OUT for word in (name, *values)
    ]


def split_options(words: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The words before the first option, and each option with its values."""
    first = next((n for n, word in enumerate(words) if word.startswith("--")), len(words))
    options: dict[str, list[str]] = {}
    for word in words[first:]:
        if word.startswith("--"):
            options[word] = []
        else:
            options[list(options)[-1]].append(word)
    return words[:first], options


def keep_few_settings(words: list[str]) -> list[str]:
    """Of a sweep of all methods those that later commands name; others stay."""
    kept, options = split_options(words)
    settings = options.get("--settings", [])
    if set(settings) > stand_ins.FEWER_SETTINGS:
        options["--settings"] = [word for word in settings if word in stand_ins.FEWER_SETTINGS]
    return kept + [word for name, values in options.items() for word in (name, *values)]


def shorter(shown: list[str] | None, small: list[str]) -> list[str]:
    """The shown values where they are smaller numbers already."""
    is_smaller = shown and len(shown) == 1 and len(small) == 1 and shown[0].isdigit() and int(shown[0]) < int(small[0])
    return shown if is_smaller and shown else small


def replace_words(text: str, table: dict[str, str]) -> str:
    for shown, stand_in in table.items():
        text = re.sub(rf"(?<![\w/.]){re.escape(shown)}(?![\w/])", lambda _, put=stand_in: put, text)
    return text


def add_options(text: str, script: str) -> str:
    """The command of a script with the short values of its table."""
    words, options = split_options(text.split())
    _, given = split_options(stand_ins.SCRIPTS.get(script, "").split())
    return " ".join(words + [word for name, values in (options | given).items() for word in (name, *values)])
