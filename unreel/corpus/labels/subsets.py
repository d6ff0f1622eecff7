"""The parts of a labelled data set (training, validation, test) and what its lists say, nothing checked."""

from dataclasses import dataclass, field
from pathlib import Path

from unreel.corpus.lists import VideoEntry

SUBSETS = ("train", "validation", "test")
SUBSET_TITLES = {"train": "training", "validation": "validation", "test": "test"}


@dataclass
class ListedDataset:
    """A data set as its lists give it, nothing checked; a file that is not found keeps the path the list gives it.

    `classes` are those that `classes_from` names. `allowed` findings ("missing", "empty") are said and not refused.
    """

    name: str
    root: Path
    entries: dict[str, list[VideoEntry]]
    sources: dict[str, str]
    notes: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    classes_source: str = ""
    tolerated_findings: frozenset[str] = frozenset()
