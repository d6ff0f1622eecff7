"""From figures to a verdict: does the encoder beat every floor by more than the interval of the difference?

A pure function of the scores of single videos. The scores of all sources come from the same videos, so the difference
is paired: a bootstrap over videos, over whole groups of them where these are known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from unreel.evaluation.metrics.bootstrap import bootstrap_interval
from unreel.io.text import build_from_json, join_words

Level = Literal["better", "not shown", "not better"]
MIN_VIDEOS = 5  # that a test must have been made on
ADVICE = "train longer (--minutes), or on more videos"
FLOOR_PHRASES = {
    "frame difference": "subtracting frames",
    "colour histogram": "comparing colours",
    "mean frame (pixels)": "comparing pixels",
    "untrained encoder": "the network with random weights",
}


@dataclass(frozen=True)
class FloorComparison:
    """The encoder and one floor in one test, in percent; the 95 % interval is that of their difference, in points."""

    test: str
    floor: str
    encoder_figure: float
    floor_figure: float
    low: float
    high: float

    @property
    def level(self) -> Level:
        """ "not better" for a figure at or below the floor's, "better" if the interval, as printed, lies above 0."""
        if self.encoder_figure <= self.floor_figure:
            return "not better"
        return "better" if round(self.low, 1) > 0 else "not shown"

    @property
    def margin(self) -> float:
        return self.encoder_figure - self.floor_figure

    @property
    def figures(self) -> str:
        """The test, both figures, and their difference with its interval."""
        interval = f"difference {self.margin:+.1f} points, 95 % interval {self.low:+.1f} to {self.high:+.1f}"
        return f"{self.test}: {self.encoder_figure:.1f} %, {self.floor} {self.floor_figure:.1f} % ({interval})"

    @property
    def is_proven_loss(self) -> bool:
        """Whether the whole interval, as printed, lies below 0."""
        return round(self.high, 1) < 0


@dataclass(frozen=True)
class Verdict:
    """Whether an encoder is better than what needs no training, not better than one such floor, or neither is shown.

    A test is won if the encoder is better than every floor in it. More than half of the tests must be won, and no floor
    may be proven better in any: a single test can say little of some videos (one moment of a film in which people walk
    all along is like the next), but a proven loss is never outvoted.

    `basis` says what was measured, e.g. "73 held-out videos, without labels". For a verdict without labels
    `same_video_r1` has the same-video R@1 of the encoder and of the floors in percent. Looks suffice for it, so it
    decides nothing.
    """

    comparisons: tuple[FloorComparison, ...]
    basis: str
    same_video_r1: Mapping[str, float] = field(default_factory=dict)

    @property
    def level(self) -> Level:
        """By the rule of the class; a figure at or below a floor in half of the tests or more is "not better"."""
        levels = list(self._rate_tests().values())
        if any(comparison.is_proven_loss for comparison in self.comparisons):
            return "not better"
        if 2 * levels.count("better") > len(levels):
            return "better"
        return "not better" if 2 * levels.count("not better") >= max(1, len(levels)) else "not shown"

    def _rate_tests(self) -> dict[str, Level]:
        """The worst level of each test."""
        worst: dict[str, Level] = {}
        for level in ("better", "not shown", "not better"):
            worst |= {c.test: level for c in self.comparisons if c.level == level}
        return worst

    @property
    def closest(self) -> FloorComparison | None:
        """The comparison to name: the largest proven loss; else the smallest margin, of the tests that are won where
        the verdict is "better"."""
        ratings = self._rate_tests()
        own = [c for c in self.comparisons if self.level != "better" or ratings[c.test] == "better"]
        proven = [c for c in own if c.is_proven_loss]
        return min(proven or own, key=lambda comparison: comparison.margin, default=None)

    @property
    def undecided(self) -> FloorComparison | None:
        """Where the verdict is "better": the smallest margin in a test that is not won; None if all are."""
        ratings = self._rate_tests()
        others = [c for c in self.comparisons if self.level == "better" and ratings[c.test] != "better"]
        return min(others, key=lambda comparison: comparison.margin, default=None)

    @property
    def headline(self) -> str:
        """The verdict in a few words."""
        if self.closest is None:
            return "No verdict"
        if self.level == "better":
            return "Better than what needs no training"
        phrase = FLOOR_PHRASES.get(self.closest.floor, self.closest.floor)
        return f"{'Not better than' if self.level == 'not better' else 'Not shown to be better than'} {phrase}"

    @property
    def explanation(self) -> str:
        """One or two sentences: the figures that decide, what they were measured on, and what to do."""
        closest, undecided = self.closest, self.undecided
        if closest is None:
            return f"There are too few videos to compare this encoder with what needs no training ({self.basis})."
        if self.level == "better":
            floors = join_words([FLOOR_PHRASES.get(name, name) for name in self._list_floors()])
            text = f"It beats {floors} on {self.basis}. The closest: {closest.figures}."
            return text + (f" Not shown in one test: {undecided.figures}." if undecided else "")
        text = f"{closest.figures[0].upper()}{closest.figures[1:]}, on {self.basis}."
        return f"{text}{'' if closest.is_proven_loss else ' The interval contains 0.'} What helps: {ADVICE}."

    @property
    def sentence(self) -> str:
        """Headline and explanation, as the terminal prints them."""
        return f"{self.headline}. {self.explanation}"

    @property
    def same_video_sentence(self) -> str:
        """The encoder's same-video R@1 beside that of colours; "" for a verdict with labels."""
        if not self.same_video_r1:
            return ""
        own, colours = self.same_video_r1["encoder"], self.same_video_r1["colour histogram"]
        return (
            f"Same-video R@1 is {own:.1f} %, and {colours:.1f} % for a colour histogram: looks alone find the other "
            "clip of a video, so this figure is no sign of success."
        )

    def _list_floors(self) -> list[str]:
        return list(dict.fromkeys(comparison.floor for comparison in self.comparisons))

    def list_tests(self) -> dict[str, dict[str, float]]:
        """The figures of each test: of the encoder first, then of each floor."""
        tests: dict[str, dict[str, float]] = {}
        for comparison in self.comparisons:
            figures = tests.setdefault(comparison.test, {"encoder": comparison.encoder_figure})
            figures[comparison.floor] = comparison.floor_figure
        return tests

    def to_json(self) -> dict[str, Any]:
        return {
            "level": self.level,
            "headline": self.headline,
            "explanation": self.explanation,
            "basis": self.basis,
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "same_video_r1": dict(self.same_video_r1),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Verdict":
        """What `to_json` wrote; its words are made anew from the figures. Raises ValueError for others."""
        return build_from_json(cls, {name: value for name, value in data.items() if name in cls.__annotations__})


def compare_with_floors(
    test: str, encoder_N: np.ndarray, floors: Mapping[str, np.ndarray], groups: Sequence[str] = ()
) -> list[FloorComparison]:
    """The encoder against each floor by the scores of N videos in percent; [] for fewer than MIN_VIDEOS with a score.

    A score that is NaN leaves its video out of the test. `groups` are those of the videos, if they are known.

    >>> encoder, floor = np.array([100.0, 100, 0, 100, 100, 100]), np.array([0.0, 0, 0, 100, 0, 0])
    >>> [(c.floor, c.level) for c in compare_with_floors("R@1", encoder, {"colour histogram": floor})]
    [('colour histogram', 'better')]
    """
    is_measured_N = ~np.isnan(np.stack([encoder_N, *floors.values()])).any(axis=0)
    if is_measured_N.sum() < MIN_VIDEOS:
        return []
    groups = [group for group, is_measured in zip(groups, is_measured_N, strict=True) if is_measured] if groups else []
    comparisons = []
    for name, floor_N in floors.items():
        own_M, floor_M = encoder_N[is_measured_N], floor_N[is_measured_N]
        interval = bootstrap_interval(own_M - floor_M, groups if any(groups) else None)
        comparisons.append(FloorComparison(test, name, float(own_M.mean()), float(floor_M.mean()), *interval))
    return comparisons
