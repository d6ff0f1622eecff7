"""Runs that differ in their seed alone: same recipe, same source, same training data."""

import contextlib
import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Any

from unreel.errors import InputError
from unreel.io.text import join_words
from unreel.report.comparison.comparison_rows import ComparisonEntry
from unreel.settings import Settings

NUM_HASH_DIGITS = 8
UNKNOWN_ORIGIN = "not known"


def group_by_seed(table: Sequence[ComparisonEntry]) -> list[list[ComparisonEntry]]:
    """Runs of one encoder, recipe, source and data with different seeds, whose names differ in numbers only.

    Runs of versions that recorded neither source nor data are grouped without them.
    """
    groups = []
    for recipe in group_by_recipe(table):
        origins: dict[str, list[ComparisonEntry]] = {}
        for entry in recipe:
            origins.setdefault(json.dumps(read_origin(entry), sort_keys=True), []).append(entry)
        unknown = origins.pop("{}", [])
        if len(origins) == 1:
            next(iter(origins.values())).extend(unknown)
        elif unknown:
            origins["{}"] = unknown
        for group in origins.values():
            seeds = {e.summary.seed for e in group}
            groups += [group] if None not in seeds and len(seeds) == len(group) else [[entry] for entry in group]
    return groups


def group_by_recipe(table: Sequence[ComparisonEntry]) -> list[list[ComparisonEntry]]:
    """Runs of one encoder with the same options, whose names differ in numbers only."""
    by_recipe: dict[tuple[str, str], list[ComparisonEntry]] = {}
    for entry in table:
        recipe = json.dumps([entry.summary.encoder, drop_defaults(entry.summary.training)], sort_keys=True)
        by_recipe.setdefault((recipe, re.sub(r"\d+", "#", entry.summary.run)), []).append(entry)
    return list(by_recipe.values())


def drop_defaults(training: dict[str, Any]) -> dict[str, Any]:
    """A recipe without settings that have their default: versions that did not have them yet did the same."""
    with contextlib.suppress(InputError, AttributeError, KeyError):
        defaults = json.loads(json.dumps(dataclasses.asdict(Settings())))
        settings = {n: v for n, v in training["settings"].items() if n not in defaults or defaults[n] != v}
        return training | {"settings": settings}
    return training


def read_origin(entry: ComparisonEntry) -> dict[str, str]:
    """The hashes of a run's source and data, by what they are of; {} where its version recorded none."""
    training: Any = entry.summary.provenance.get("training")
    with contextlib.suppress(KeyError, TypeError, AttributeError):
        code = {f"{c['kind']} {c['name']}": str(c["hash"]) for c in training["code"] if c["hash"]}
        return code | {"training data": str(training["data"]["hash"])}
    return {}


def explain_groups(table: Sequence[ComparisonEntry]) -> list[str]:
    """Sentences on runs with the same options that are no seeds of one row, and on those whose source is not known."""
    notes = []
    for recipe in group_by_recipe(table):
        origins = [read_origin(entry) for entry in recipe]
        if len({json.dumps(o, sort_keys=True) for o in origins if o}) > 1:
            names = join_words([entry.name for entry in recipe])
            notes.append(f"{names} have the same options but are rows apart: {describe_differences(recipe, origins)}.")
        if len(recipe) > 1 and not all(origins):
            unknown = join_words([entry.name for entry, origin in zip(recipe, origins, strict=True) if not origin])
            notes.append(f"{unknown}: made before unreel recorded sources, so whether they are the same is not known.")
    return notes


def explain_commits(group: Sequence[ComparisonEntry]) -> list[str]:
    """A sentence on seeds of one row that were trained with different commits of unreel."""
    commits: dict[str, list[str]] = {}
    for entry in group:
        with contextlib.suppress(KeyError, TypeError):
            made_by = entry.summary.provenance["training"]["unreel"]
            commits.setdefault(f"{made_by['commit'][:8]}{'+' * bool(made_by['modified'])}", []).append(entry.name)
    if len(commits) < 2:
        return []
    shown = [f"{join_words(names)} with {commit or 'an unknown one'}" for commit, names in commits.items()]
    return [f"Seeds of one row were trained with different commits of unreel: {', '.join(shown)} (+: with changes)."]


def describe_differences(recipe: Sequence[ComparisonEntry], origins: Sequence[dict[str, str]]) -> str:
    """What of several runs differs, each part with its hash in each run, and the files where they are known."""
    parts = []
    for part in sorted({part for origin in origins for part in origin}):
        values = [origin.get(part, "") if origin else UNKNOWN_ORIGIN for origin in origins]
        known = {value for value in values if value != UNKNOWN_ORIGIN}
        if len(known) > 1:
            shown = [f"{v[:NUM_HASH_DIGITS]} in {e.name}" for e, v in zip(recipe, values, strict=True) if v in known]
            files = list_differing_files(recipe, part)
            parts.append(
                f"{part} is {join_words(shown)}" + (f" (files that differ: {', '.join(files)})" if files else "")
            )
    return "; ".join(parts)


def list_differing_files(recipe: Sequence[ComparisonEntry], part: str) -> list[str]:
    """The files of code of one's own that are not the same in all runs; [] for code of unreel."""
    found: list[dict[str, str]] = []
    for entry in recipe:
        with contextlib.suppress(KeyError, TypeError, AttributeError):
            code = entry.summary.provenance["training"]["code"]
            found += [c["files"] for c in code if f"{c['kind']} {c['name']}" == part]
    names = sorted({name for files in found for name in files})
    return [name for name in names if len({files.get(name, "") for files in found}) > 1]
