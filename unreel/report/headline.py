"""The main figure of each table, and what it says beside the floors, in a sentence that hides no loss.

Two figures are told apart when their 95 % intervals do not overlap: the rows of a table share their videos, so this
asks for more than a paired test would.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from unreel.evaluation import floors as flooring
from unreel.evaluation.features import JOINT, TRAINED
from unreel.evaluation.finetune import FINETUNED, SCRATCH
from unreel.evaluation.probe import GUESSES
from unreel.evaluation.result import Result

Verdict = Literal["above", "open", "below"]
COLUMNS = {"retrieval": "R@1", "linear": "top-1", "attentive": "top-1", "finetune": "top-1"}
NAMES = {"retrieval": "Retrieval", "knn": "Nearest neighbours vote", "linear": "Linear probe"}
NAMES |= {"attentive": "Attentive probe", "finetune": "Fine-tuning", "detection": "Action detection"}
NAMES |= {"few-labels": "Few labels", "motion": "Motion"}
PAPERS = {"iic": "IIC", "dualvar": "DualVar"}
OWN = (JOINT, FINETUNED, TRAINED)
FLOORS = {*flooring.DESCRIPTIONS, *GUESSES}


@dataclass(frozen=True)
class Figure:
    """A figure in percent and, where it has one, its 95 % interval."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """The interval; the figure itself where it has none, as that of chance is exact."""
        return (self.value if self.low is None else self.low, self.value if self.high is None else self.high)

    def __str__(self) -> str:
        behind = "" if self.low is None or self.high is None else f" ({self.low:.1f} to {self.high:.1f})"
        return f"{self.value:.1f} %{behind}"


@dataclass(frozen=True)
class Standing:
    """The encoder's figure in a table, the best one beside it, and which is ahead."""

    what: str
    row: str
    own: Figure
    rival: str
    beside: Figure
    floor: bool  # needs no training; else a model from elsewhere, or the network from scratch

    @property
    def verdict(self) -> Verdict:
        return verdict(self.own, self.beside)

    @property
    def sentence(self) -> str:
        who = f"the best floor, {self.rival}:" if self.floor else f"{others_name(self.rival)}:"
        start = (
            f"{self.what}: {self.own} ({self.row})" if self.own.low is None else f"{self.what}, {self.row}: {self.own}"
        )
        if self.verdict == "above":
            return f"{start} is above {who} {self.beside}."
        if self.verdict == "below":
            what = "what needs no training does better" if self.floor else "that does better"
            return f"{start} is below {who} {self.beside}; {what}."
        way = {True: "higher than", False: "lower than"}[self.own.value > self.beside.value]
        way = "equal to" if self.own.value == self.beside.value else way
        why = "their 95 % intervals overlap" if self.own.low is not None else "the table has no interval for it"
        return f"{start} is {way} {who} {self.beside}, but not told apart from it: {why}."


def others_name(row: str) -> str:
    return "the same network from scratch" if row == SCRATCH else f"{row}, a frozen model from elsewhere"


def verdict(own: Figure, beside: Figure) -> Verdict:
    """ "above" or "below" when the intervals do not overlap, else "open"; "open" where the own figure has none."""
    if own.low is None or own.high is None:
        return "open"
    low, high = beside.ends
    return "above" if own.low > high else "below" if own.high < low else "open"


def main_row(result: Result, views: Sequence[str]) -> str | None:
    """The encoder's row: all views joined, else its first view, which is not picked by its figure."""
    return next((row for row in (*OWN, *views) if row in result.rows), None)


def own_rows(result: Result, views: Sequence[str]) -> list[str]:
    """Rows of the encoder that is evaluated; those of a motion table begin with its name."""
    return [row for row in result.rows if row in (*OWN, *views) or row.startswith(f"{TRAINED}, ")]


def main_column(result: Result, row: str) -> str | None:
    """The column to read first; for votes the k that was chosen for this row on held-out training videos."""
    if result.kind == "knn":
        k = chosen_k(result).get(row, next(iter(result.protocol.get("ks", [1])), 1))
        return f"top-1, k={k}"
    if result.kind in COLUMNS:
        return COLUMNS[result.kind]
    return result.columns[0] if result.kind == "detection" and result.columns else None


def chosen_k(result: Result) -> dict[str, Any]:
    found = result.protocol.get("chosen_k")
    return found if isinstance(found, dict) else {}


def figure(result: Result, row: str, column: str | None) -> Figure | None:
    """A figure with the wider of its intervals over videos and, where these are known, over groups of videos."""
    value = result.rows.get(row, {}).get(column or "")
    if value is None:
        return None
    over_groups = result.extras.get("intervals_over_groups", {}).get(row, {}).get(column)
    found = [pair for pair in (result.intervals.get(row, {}).get(column or ""), over_groups) if pair]
    low, high = max(found, key=lambda pair: pair[1] - pair[0]) if found else (None, None)
    return Figure(value, low, high)


def main_figure(result: Result, row: str) -> Figure | None:
    return figure(result, row, main_column(result, row))


def title(result: Result) -> str:
    """What a table is called in a sentence."""
    name = NAMES.get(result.kind, result.title)
    paper = result.protocol.get("protocol")
    return f"{name} ({PAPERS.get(paper, paper)} protocol)" if result.kind == "retrieval" and paper else name


def standings(result: Result, views: Sequence[str]) -> list[Standing]:
    """Against the best floor, and the best of the other rows if there are any; nothing without a main figure."""
    row = main_row(result, views)
    own = main_figure(result, row) if row else None
    if row is None or own is None:
        return []
    mine, found = own_rows(result, views), []
    for floor in (True, False):
        beside = {
            name: beaten
            for name in result.rows
            if name not in mine and (name in FLOORS) is floor and (beaten := main_figure(result, name))
        }
        if beside:
            best = max(beside, key=lambda name: beside[name].value)
            what = f"{title(result)}, {main_column(result, row)}"
            found.append(Standing(what, row, own, best, beside[best], floor))
    return found


def reliance_of(motion: Result, who: str = TRAINED) -> dict[str, Any] | None:
    """How much of R@1 above chance is lost without motion: share, low and high in percent, or why there is none."""
    found = motion.extras.get("reliance", {}).get(who, {}).get("motion", {}).get("R@1")
    return found if isinstance(found, dict) else None


@dataclass(frozen=True)
class Answer:
    """Is the encoder worth using on these videos? A word for the colour, a headline, and a sentence behind it."""

    tone: Literal["yes", "part", "open", "no"]
    headline: str
    said: str


def answer(found: Sequence[Standing]) -> Answer:
    """From the tables on frozen features, each against its best floor; a loss is never outvoted."""
    against = [s.verdict for s in found if s.floor]
    above, below, number = against.count("above"), against.count("below"), len(against)
    if not number:
        return Answer("open", "Not known", "No table here sets the encoder beside a floor.")
    tables = "the one table" if number == 1 else f"all {number} tables"
    ways = (("above", above), ("below", below), ("not told apart from", against.count("open")))
    counted = ", ".join(f"{way} the best floor in {n} of {number}" for way, n in ways if n)
    better = better_elsewhere(found)
    if above == number:
        said = f"The encoder is above the best floor in {tables}, by more than their 95 % intervals.{better}"
        return Answer("yes", "Yes: it is above every floor", said)
    if below and not above:
        said = f"What needs no training does better. By table the encoder is {counted}.{better}"
        return Answer("no", "No: a floor does better", said)
    if above:
        start = "Not everywhere: a floor does better" if below else "In part: above the floors"
        return Answer("part", f"{start} in some tables", f"By table the encoder is {counted}.{better}")
    said = f"The encoder is not told apart from the best floor in {tables}; more test videos may show a difference."
    return Answer("open", "Not shown: no table tells it from a floor", said + better)


def better_elsewhere(found: Sequence[Standing]) -> str:
    """A sentence when a frozen model from elsewhere is ahead."""
    ahead = [s.rival for s in found if not s.floor and s.verdict == "below"]
    names = ", ".join(dict.fromkeys(ahead))
    return f" A frozen model from elsewhere does better in {len(ahead)} of the tables: {names}." if ahead else ""
