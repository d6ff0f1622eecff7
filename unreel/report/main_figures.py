"""The main figure of each table: its row, its column, its value and its interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unreel.evaluation.protocols.finetune import FINETUNED_ROW
from unreel.evaluation.result import Result
from unreel.evaluation.video_features import ENCODER, JOINT

LEGACY_MAIN_COLUMNS = {"retrieval": "R@1", "linear": "top-1", "attentive": "top-1", "finetune": "top-1"}
TABLE_TITLES = {
    "retrieval": "Retrieval",
    "knn": "Nearest neighbours vote",
    "linear": "Linear probe",
    "attentive": "Attentive probe",
    "finetune": "Fine-tuning",
    "detection": "Action detection",
    "few-labels": "Few labels",
    "motion": "Motion",
}
PROTOCOL_TITLES = {"unreel": "unreel's", "iic": "IIC", "dualvar": "DualVar"}
ENCODER_ROWS = (JOINT, FINETUNED_ROW, ENCODER)


@dataclass(frozen=True)
class Figure:
    """A figure in percent and, where it has one, its 95 % interval."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """The interval; the figure itself where it has none, such as the exact one of chance."""
        return (self.value if self.low is None else self.low, self.value if self.high is None else self.high)

    def __str__(self) -> str:
        interval = "" if self.low is None or self.high is None else f" ({self.low:.1f} to {self.high:.1f})"
        return f"{self.value:.1f} %{interval}"


def find_main_row(result: Result, views: Sequence[str]) -> str | None:
    """The encoder's row: all views joined, else its first view (not the one with the best figure)."""
    return next((row for row in (*ENCODER_ROWS, *views) if row in result.rows), None)


def find_encoder_rows(result: Result, views: Sequence[str]) -> list[str]:
    """Rows of the evaluated encoder, in a motion table those of all conditions."""
    return [row for row in result.rows if row in (*ENCODER_ROWS, *views) or split_condition(result, row)[0] == ENCODER]


def split_condition(result: Result, row: str) -> tuple[str, str]:
    """Source and condition of a row of a motion table; ("", "") for other rows."""
    if result.kind != "motion":
        return "", ""
    if "conditions" not in result.extras:  # a file of a version that wrote no conditions
        source, _, condition = row.rpartition(", ")
        return (source, condition) if source else ("", "")
    found = result.extras["conditions"].get(row, {})
    return str(found.get("source", "")), str(found.get("condition", ""))


def find_main_column(result: Result, row: str) -> str | None:
    """The column to read first: for kNN that of the k chosen for this row on held-out training videos."""
    return result.row_main_columns.get(row) or result.main_column or _find_legacy_main_column(result, row)


def _find_legacy_main_column(result: Result, row: str) -> str | None:
    """The main column of a file of a version that did not write it."""
    if result.kind == "knn":
        k = get_chosen_k(result).get(row, next(iter(result.protocol.get("ks", [1])), 1))
        return f"top-1, k={k}"
    if result.kind in LEGACY_MAIN_COLUMNS:
        return LEGACY_MAIN_COLUMNS[result.kind]
    return result.columns[0] if result.kind == "detection" and result.columns else None


def get_chosen_k(result: Result) -> dict[str, Any]:
    """Row to the k chosen for it, of a kNN table."""
    chosen = result.protocol.get("chosen_k")
    return chosen if isinstance(chosen, dict) else {}


def get_figure(result: Result, row: str, column: str | None) -> Figure | None:
    """A figure with the wider of its intervals over videos and, where these are known, over groups of videos."""
    value = result.rows.get(row, {}).get(column or "")
    if value is None:
        return None
    over_groups = result.extras.get("intervals_over_groups", {}).get(row, {}).get(column)
    intervals = [pair for pair in (result.intervals.get(row, {}).get(column or ""), over_groups) if pair]
    low, high = max(intervals, key=lambda pair: pair[1] - pair[0]) if intervals else (None, None)
    return Figure(value, low, high)


def get_main_figure(result: Result, row: str) -> Figure | None:
    return get_figure(result, row, find_main_column(result, row))


def format_title(result: Result) -> str:
    """The name of a table in a sentence."""
    name = TABLE_TITLES.get(result.kind, result.title)
    protocol = result.protocol.get("protocol")
    if result.kind == "retrieval" and protocol:
        return f"{name} ({PROTOCOL_TITLES.get(protocol, protocol)} protocol)"
    return name


def get_reliance(motion: Result, source: str = ENCODER) -> dict[str, Any] | None:
    """How much of R@1 above chance is lost without motion: share, low and high in percent, or why it is undefined."""
    reliance = motion.extras.get("reliance", {}).get(source, {}).get("motion", {}).get("R@1")
    return reliance if isinstance(reliance, dict) else None
