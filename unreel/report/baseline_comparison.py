"""The encoder's main figure against the best floor of each table, and the conclusion, which never hides a loss.

Two figures differ significantly when their 95 % intervals do not overlap: the rows of a table share their videos, so
this is stricter than a paired test.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from unreel.evaluation.baselines.appearance import DESCRIPTIONS
from unreel.evaluation.baselines.descriptions import TRIVIAL_ROWS
from unreel.evaluation.protocols.finetune import SCRATCH_ROW
from unreel.evaluation.result import Result
from unreel.report.main_figures import (
    Figure,
    find_encoder_rows,
    find_main_column,
    find_main_row,
    format_title,
    get_main_figure,
)

Verdict = Literal["above", "open", "below"]


@dataclass(frozen=True)
class BaselineComparison:
    """The encoder's figure in a table, the best baseline, and which of them is higher."""

    title: str
    row: str
    encoder_figure: Figure
    best_baseline_row: str
    best_baseline_figure: Figure
    is_trivial: bool  # the best baseline is a floor; else a model from elsewhere, or the network from scratch

    @property
    def verdict(self) -> Verdict:
        return decide_verdict(self.encoder_figure, self.best_baseline_figure)

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        own, best = self.encoder_figure, self.best_baseline_figure
        row = self.best_baseline_row
        name = f"the best floor, {row}:" if self.is_trivial else f"{describe_baseline_row(row)}:"
        start = f"{self.title}: {own} ({self.row})" if own.low is None else f"{self.title}, {self.row}: {own}"
        if self.verdict == "above":
            return f"{start} is above {name} {best}."
        if self.verdict == "below":
            return f"{start} is below {name} {best}{', which needs no training' if self.is_trivial else ''}."
        relation = "higher than" if own.value > best.value else "lower than"
        relation = "equal to" if own.value == best.value else relation
        reason = "their 95 % intervals overlap" if own.low is not None else "the table has no interval for it"
        return f"{start} is {relation} {name} {best}, but not significantly: {reason}."


def describe_baseline_row(row: str) -> str:
    return "the same network from scratch" if row == SCRATCH_ROW else f"{row}, a frozen model from elsewhere"


def decide_verdict(encoder_figure: Figure, best_baseline_figure: Figure) -> Verdict:
    """ "above" or "below" when the intervals do not overlap, else "open"; "open" for an encoder without interval."""
    if encoder_figure.low is None or encoder_figure.high is None:
        return "open"
    low, high = best_baseline_figure.interval
    return "above" if encoder_figure.low > high else "below" if encoder_figure.high < low else "open"


def compare_to_baselines(result: Result, views: Sequence[str]) -> list[BaselineComparison]:
    """The encoder against the best floor, and against the best of the other rows; [] without a main figure."""
    row = find_main_row(result, views)
    own = get_main_figure(result, row) if row else None
    if row is None or own is None:
        return []
    own_rows, comparisons = find_encoder_rows(result, views), []
    for is_trivial in (True, False):
        names = [
            name
            for name in result.rows
            if name not in (*own_rows, *DESCRIPTIONS) and (name in TRIVIAL_ROWS) is is_trivial
        ]
        baselines = {name: figure for name in names if (figure := get_main_figure(result, name))}
        if baselines:
            best = max(baselines, key=lambda name: baselines[name].value)
            title = f"{format_title(result)}, {find_main_column(result, row)}"
            comparisons.append(BaselineComparison(title, row, own, best, baselines[best], is_trivial))
    return comparisons


@dataclass(frozen=True)
class Conclusion:
    """Is the encoder worth using on these videos? A level, a headline, and a sentence."""

    level: Literal["yes", "part", "open", "no"]
    headline: str
    explanation: str


def draw_conclusion(comparisons: Sequence[BaselineComparison]) -> Conclusion:
    """From the tables on frozen features, each against its best floor; a loss is never outvoted."""
    verdicts = [c.verdict for c in comparisons if c.is_trivial]
    number = len(verdicts)
    num_above, num_open, num_below = (verdicts.count(verdict) for verdict in ("above", "open", "below"))
    if not number:
        return Conclusion("open", "Not known", "No table compares the encoder with a floor.")
    tables = "the one table" if number == 1 else f"all {number} tables"
    relations = (("above", num_above), ("below", num_below), ("not significantly different from", num_open))
    counts = ", ".join(f"{relation} the best floor in {n} of {number}" for relation, n in relations if n)
    better = mention_better_models(comparisons)
    if num_above == number:
        text = f"The encoder is above the best floor in {tables}, and their 95 % intervals do not overlap.{better}"
        return Conclusion("yes", "Yes: it is above every floor", text)
    if num_below and not num_above:
        text = f"A floor, which needs no training, does better. The encoder is {counts}.{better}"
        return Conclusion("no", "No: a floor does better", text)
    if num_above:
        start = "Not everywhere: a floor does better" if num_below else "In part: above the floors"
        return Conclusion("part", f"{start} in some tables", f"The encoder is {counts}.{better}")
    text = f"The encoder does not differ significantly from the best floor in {tables}; more test videos may show more."
    return Conclusion("open", "Not shown: no table shows a difference from a floor", text + better)


def mention_better_models(comparisons: Sequence[BaselineComparison]) -> str:
    """A sentence when a frozen model from elsewhere does better."""
    better = [c.best_baseline_row for c in comparisons if not c.is_trivial and c.verdict == "below"]
    names = ", ".join(dict.fromkeys(better))
    return f" A frozen model from elsewhere does better in {len(better)} of the tables: {names}." if better else ""
