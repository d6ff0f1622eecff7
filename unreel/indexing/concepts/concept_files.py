"""Concepts of an index in its folder: INDEX/concepts/NAME.csv has the marks, NAME.json what was learned from them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from unreel.errors import InputError
from unreel.indexing.concepts.annotations import read_mark_lines, write_mark_lines
from unreel.indexing.index.clip_index import Index
from unreel.indexing.index.concept_book import ConceptBook, MarkChange, MarkLine
from unreel.indexing.store.file_names import CONCEPTS_FOLDER
from unreel.io.atomic_write import atomic_write_text, disk_errors
from unreel.io.file_lock import LOCK_FILE, wait_for_lock


class ConceptFiles:
    """The concepts in the folder of an index; one thread of one process changes them at a time."""

    def __init__(self, index_folder: Path) -> None:
        self.index_folder, self.folder = index_folder, index_folder / CONCEPTS_FOLDER

    def list_names(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def locate(self, name: str) -> str:
        return str(self.folder / f"{name}.json")

    def read_marks(self, name: str) -> list[MarkLine]:
        return read_mark_lines(self.folder / f"{name}.csv")

    def read_concept(self, name: str) -> str:
        path = self.folder / f"{name}.json"
        try:
            return path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: no concept to read there ({error}); make it again from marked hits") from error

    @contextlib.contextmanager
    def change(self, name: str) -> Iterator[None]:
        """Raises InputError when the index was deleted meanwhile, DiskError."""
        if not self.index_folder.is_dir():
            raise InputError(
                f"{self.index_folder}: no index there any more", "nothing was saved; index the footage again"
            )
        with disk_errors(self.folder, "the concepts can't be written"):
            self.folder.mkdir(exist_ok=True)
        with wait_for_lock(self.folder / LOCK_FILE):
            yield

    def save_marks(self, name: str, change: MarkChange) -> list[MarkLine]:
        write_mark_lines(self.folder / f"{name}.csv", change.all)
        return change.all

    def save_concept(self, name: str, text: str, marks: list[MarkLine]) -> None:
        path = self.folder / f"{name}.json"
        with disk_errors(path, "the concept can't be written"):
            atomic_write_text(path, text)


def get_concepts(index: Index) -> ConceptBook:
    """The concepts of an index: in its database, or else in its folder."""
    return index.concept_book or ConceptFiles(index.folder)
