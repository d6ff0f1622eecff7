"""The main figure of each table, and what it says beside the floors, in a sentence that hides no loss.

Two figures are told apart when their 95 % intervals do not overlap: the rows of a table share their videos, so this
asks for more than a paired test would.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

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
    """The encoder's figure in a table, the best one beside it, and which is ahead."""

    title: str
    row: str
    encoder_figure: Figure
    rival_row: str
    rival_figure: Figure
    is_trivial: bool  # needs no training; else a model from elsewhere, or the network from scratch

    @property
    def verdict(self) -> Verdict:
        return decide_verdict(self.encoder_figure, self.rival_figure)

    @property
    def sentence(self) -> str:
        who = f"the best floor, {self.rival_row}:" if self.is_trivial else f"{describe_rival(self.rival_row)}:"
        start = (
            f"{self.title}: {self.encoder_figure} ({self.row})"
            if self.encoder_figure.low is None
            else f"{self.title}, {self.row}: {self.encoder_figure}"
        )
        if self.verdict == "above":
            return f"{start} is above {who} {self.rival_figure}."
        if self.verdict == "below":
            what = "what needs no training does better" if self.is_trivial else "that does better"
            return f"{start} is below {who} {self.rival_figure}; {what}."
        way = {True: "higher than", False: "lower than"}[self.encoder_figure.value > self.rival_figure.value]
        way = "equal to" if self.encoder_figure.value == self.rival_figure.value else way
        why = (
            "their 95 % intervals overlap"
            if self.encoder_figure.low is not None
            else "the table has no interval for it"
        )
        return f"{start} is {way} {who} {self.rival_figure}, but not told apart from it: {why}."


def describe_rival(row: str) -> str:
    return "the same network from scratch" if row == SCRATCH_ROW else f"{row}, a frozen model from elsewhere"


def decide_verdict(encoder_figure: Figure, rival_figure: Figure) -> Verdict:
    """ "above" or "below" when the intervals do not overlap, else "open"; "open" where the own figure has none."""
    if encoder_figure.low is None or encoder_figure.high is None:
        return "open"
    low, high = rival_figure.interval
    return "above" if encoder_figure.low > high else "below" if encoder_figure.high < low else "open"


def compare_to_baselines(result: Result, views: Sequence[str]) -> list[BaselineComparison]:
    """Against the best floor, and the best of the other rows if there are any; nothing without a main figure."""
    row = find_main_row(result, views)
    own = get_main_figure(result, row) if row else None
    if row is None or own is None:
        return []
    mine, found = find_encoder_rows(result, views), []
    for floor in (True, False):
        beside = {
            name: beaten
            for name in result.rows
            if name not in mine and (name in TRIVIAL_ROWS) is floor and (beaten := get_main_figure(result, name))
        }
        if beside:
            best = max(beside, key=lambda name: beside[name].value)
            what = f"{format_title(result)}, {find_main_column(result, row)}"
            found.append(BaselineComparison(what, row, own, best, beside[best], floor))
    return found


@dataclass(frozen=True)
class Conclusion:
    """Is the encoder worth using on these videos? A word for the colour, a headline, and a sentence behind it."""

    tone: Literal["yes", "part", "open", "no"]
    headline: str
    explanation: str


def draw_conclusion(comparisons: Sequence[BaselineComparison]) -> Conclusion:
    """From the tables on frozen features, each against its best floor; a loss is never outvoted."""
    against = [s.verdict for s in comparisons if s.is_trivial]
    above, below, number = against.count("above"), against.count("below"), len(against)
    if not number:
        return Conclusion("open", "Not known", "No table here sets the encoder beside a floor.")
    tables = "the one table" if number == 1 else f"all {number} tables"
    ways = (("above", above), ("below", below), ("not told apart from", against.count("open")))
    counted = ", ".join(f"{way} the best floor in {n} of {number}" for way, n in ways if n)
    better = mention_better_models(comparisons)
    if above == number:
        said = f"The encoder is above the best floor in {tables}, by more than their 95 % intervals.{better}"
        return Conclusion("yes", "Yes: it is above every floor", said)
    if below and not above:
        said = f"What needs no training does better. By table the encoder is {counted}.{better}"
        return Conclusion("no", "No: a floor does better", said)
    if above:
        start = "Not everywhere: a floor does better" if below else "In part: above the floors"
        return Conclusion("part", f"{start} in some tables", f"By table the encoder is {counted}.{better}")
    said = f"The encoder is not told apart from the best floor in {tables}; more test videos may show a difference."
    return Conclusion("open", "Not shown: no table tells it from a floor", said + better)


def mention_better_models(comparisons: Sequence[BaselineComparison]) -> str:
    """A sentence when a frozen model from elsewhere is ahead."""
    ahead = [s.rival_row for s in comparisons if not s.is_trivial and s.verdict == "below"]
    names = ", ".join(dict.fromkeys(ahead))
    return f" A frozen model from elsewhere does better in {len(ahead)} of the tables: {names}." if ahead else ""
