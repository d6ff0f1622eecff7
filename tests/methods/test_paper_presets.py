"""The papers' presets and recipes, setting by setting: equal to the release, or a deviation with its reason."""

import sys
from pathlib import Path

import pytest

from unreel.methods.registry import find_methods

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))
import paper_presets  # noqa: E402

ROWS = list(paper_presets.list_rows())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.preset}: {row.line.name}")
def test_a_setting_is_the_releases_or_its_reason_is_given(row: paper_presets.Row) -> None:
    assert row.is_equal != bool(row.line.why), (row.ours, row.line.released)


def test_the_table_has_every_preset_of_a_paper() -> None:
    """cvrl-paper-200 and cmc differ from a preset of the table in one field (test_every_method.py)."""
    papers = {name for name in find_methods() if "paper" in name or name == "iic-v2"}
    assert {row.preset for row in ROWS} >= papers - {"cvrl-paper-200"}
    assert len({(row.preset, row.line.name) for row in ROWS}) == len(ROWS)


def test_the_documentation_has_every_deviation() -> None:
    """python benchmarks/paper_presets.py --docs docs/methods.md"""
    table = paper_presets.format_table([row for row in ROWS if not row.is_equal])
    first, last = paper_presets.MARKS
    assert f"{first}\n{table}\n{last}" in (ROOT / "docs" / "methods.md").read_text()
