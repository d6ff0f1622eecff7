"""Where the concepts of an index are kept: what a folder and a database both offer."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class MarkLine(NamedTuple):
    """A marked moment as a table has it; `mark` is yes or no."""

    video: str
    start_s: str
    end_s: str
    mark: str
    content_hash: str = ""


@dataclass(frozen=True)
class MarkChange:
    """What is saved: new marks, all marks that follow from them, and whether earlier ones are forgotten."""

    new: list[MarkLine]
    all: list[MarkLine]
    discards: bool = False


class ConceptBook(Protocol):
    """The concepts of an index by name: their marks, and what was learned from them as JSON."""

    def list_names(self) -> list[str]:
        """Names of the concepts, sorted."""
        ...

    def locate(self, name: str) -> str:
        """Where a concept lies, as a person may read it."""
        ...

    def read_marks(self, name: str) -> list[MarkLine]:
        """The marks of a concept; of one moment the last counts. None where there are none. Raises InputError."""
        ...

    def read_concept(self, name: str) -> str | None:
        """What was learned, as JSON; None where it has to be learned again from the marks. Raises InputError."""
        ...

    def change(self, name: str) -> AbstractContextManager[None]:
        """A block that reads and saves a concept so that no mark of another is lost. Raises UnreelError."""
        ...

    def save_marks(self, name: str, change: MarkChange) -> list[MarkLine]:
        """Save marks; returns all marks of the concept, among them those that others have saved meanwhile."""
        ...

    def save_concept(self, name: str, text: str, marks: list[MarkLine]) -> None:
        """Save what was learned from these marks."""
        ...
