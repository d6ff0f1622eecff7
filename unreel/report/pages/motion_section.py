"""The section on motion of an evaluation's page."""

from typing import Any

from unreel.evaluation.baselines.chance import CHANCE
from unreel.evaluation.protocols.motion import BAR_COLUMN
from unreel.evaluation.result import Result
from unreel.evaluation.video_features import ENCODER, INTACT
from unreel.report.main_figures import get_figure, split_condition
from unreel.report.pages.evaluation_tables import build_table
from unreel.report.results_file import EvaluationSummary


def build_motion_section(result: Result, summary: EvaluationSummary) -> dict[str, Any]:
    """The encoder's rows, the folded rows of the baselines, and for each source bars of R@1 by condition."""
    table = build_table("motion", result, summary)
    sources: dict[str, dict[str, str]] = {}
    for row in result.rows:
        source, condition = split_condition(result, row)
        if source and BAR_COLUMN in result.rows[row]:
            sources.setdefault(source, {})[condition] = row
    figures = [get_figure(result, row, BAR_COLUMN) for rows in sources.values() for row in rows.values()]
    top = max((figure.interval[1] for figure in figures if figure), default=0.0)
    bars = [build_bars(result, source, rows, max(top, 1.0)) for source, rows in sources.items()]
    own, others = (
        [row for row in table["rows"] if (row["own"] or row["name"] == CHANCE) is is_open] for is_open in (True, False)
    )
    return {**table, "rows": own, "rest": others, "bars": bars, "said": result.extras.get("said", [])}


def build_bars(result: Result, source: str, rows: dict[str, str], max_value: float) -> dict[str, Any]:
    """Bars of one source: condition, figure, and width in percent of `max_value`; `rows` maps condition to row."""
    chance = result.rows.get(CHANCE, {}).get(BAR_COLUMN)
    values = {condition: result.rows[row][BAR_COLUMN] for condition, row in rows.items()}
    return {
        "source": source,
        "own": source == ENCODER,
        "bars": [(condition, value, 100 * value / max_value) for condition, value in values.items()],
        "chance": None if chance is None else min(100.0, 100 * chance / max_value),
        "intact": INTACT in rows,
    }
