"""Runs that differ in their seed alone."""

import json
import re
from collections.abc import Sequence

from unreel.report.comparison.comparison_rows import ComparisonEntry


def group_by_seed(table: Sequence[ComparisonEntry]) -> list[list[ComparisonEntry]]:
    """Runs of one encoder and recipe with different seeds, whose names differ in numbers only."""
    by_recipe: dict[tuple[str, str], list[ComparisonEntry]] = {}
    for entry in table:
        recipe = json.dumps([entry.summary.encoder, entry.summary.training], sort_keys=True)
        by_recipe.setdefault((recipe, re.sub(r"\d+", "#", entry.summary.run)), []).append(entry)
    groups = []
    for group in by_recipe.values():
        seeds = {e.summary.seed for e in group}
        groups += [group] if None not in seeds and len(seeds) == len(group) else [[entry] for entry in group]
    return groups
