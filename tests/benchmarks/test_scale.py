"""What a corpus takes: the simulation against what can be calculated, and the tables from given costs."""

import dataclasses
import json
import math
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import scale

COSTS = {
    "footage": "drawn", "videos": 200, "cores": 2, "date": "2026-12-01", "dim": 512, "clips_per_video": 4.0,
    "inspect_s_per_video": 0.004, "embed_s_per_clip": 0.0036, "start_s": 2.0,
    "search": [
        {"rows": rows, "build_s_per_row": 1e-4, "index_bytes_per_row": 1000, "nearest_ms": rows**0.5 / 100,
         "all_rows_ms": rows / 1e4}
        for rows in (100_000, 1_000_000)
    ],
    "search_on_disk": {
        "rows": 1_000_000, "build_s_per_row": 1e-4, "index_bytes_per_row": 80, "nearest_ms": 9.0, "all_rows_ms": 100.0
    },
}  # fmt: skip


@pytest.fixture
def args(tmp_path: Path) -> scale.Args:
    (tmp_path / "costs.json").write_text(json.dumps(COSTS))
    (tmp_path / "scale.md").write_text("Before.\n\n<!-- scale -->\n\nold\n\n<!-- end of scale -->\n\nAfter.\n")
    return scale.Args(tmp_path / "costs.json", docs=tmp_path / "scale.md")


def test_nothing_lost_and_equal_parts(args: scale.Args) -> None:
    """100 parts of two minutes on 3 machines of 4 cores: nine rounds."""
    calm = dataclasses.replace(args, losses_per_day=0.0, spread=0.0, cores=4)
    hours, twice = scale.simulate(100, calm, 3)
    assert hours == pytest.approx(9 * 120 / 3600) and twice == 0


def test_lost_machines_cost_the_parts_at_which_they_were(args: scale.Args) -> None:
    """A core that loses its machine L times an hour loses, in parts of w hours, about L w / 2 of its work."""
    rough = dataclasses.replace(args, losses_per_day=48.0, spread=0.0, part_s=60.0)
    calm_hours, _ = scale.simulate(20_000, dataclasses.replace(rough, losses_per_day=0.0), 4)
    hours, twice = scale.simulate(20_000, rough, 4)
    assert twice == pytest.approx(2 / 60 / 2, rel=0.35)
    away = 2 * 10 / 60  # hours of each hour of work in which the machine is replaced
    assert hours == pytest.approx(calm_hours * (1 + twice + away), rel=0.25) and hours > calm_hours


def test_the_tables_stand_between_the_marks(args: scale.Args, capsys: pytest.CaptureFixture[str]) -> None:
    scale.main(args)
    assert args.docs is not None
    text = args.docs.read_text()
    assert text.startswith("Before.") and text.endswith("After.\n") and "old" not in text
    assert text.count("<!--") == 2 and "power of 0.50 (fitted)" in text
    embed_hours = 1e9 * 0.0036 / 3600
    assert f"| {embed_hours:,.0f} |" in text and "| 2,050 |" in text  # hours of a core; GB of vectors
    assert math.ceil(1000 / 56) == 18 and "| 80 | 1,000 | 18 |" in text  # GB; servers of 56 GB
    assert capsys.readouterr().out.strip() in text


def test_prices_are_options(args: scale.Args) -> None:
    dear = dataclasses.replace(args, core_hour=0.5)
    cheap = scale.format_machines(COSTS, args).splitlines()[-1].split("|")
    assert float(scale.format_machines(COSTS, dear).splitlines()[-1].split("|")[-2].replace(",", "")) == pytest.approx(
        10 * float(cheap[-2].replace(",", "")), rel=0.02
    )
