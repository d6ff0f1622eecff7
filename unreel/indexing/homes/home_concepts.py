"""Concepts of an index in its database.

Each saving of marks is a record of its own, concept/NAME, and records are only added: what several servers save at
once is all there, in the order in which the database got it (Qdrant: by the clocks of those who save), and a server
that is killed loses nothing that was saved. What was learned is kept beside (learned/NAME) with the hash of the marks
that it was learned from; where marks of others came in between, it is learned again.
"""

import contextlib
import json
import uuid
from collections.abc import Iterator
from typing import Any

from unreel.indexing.homes.home import Home, Record
from unreel.indexing.index.concept_book import MarkChange, MarkLine
from unreel.indexing.store.file_names import CONCEPTS_FOLDER
from unreel.io.checksums import hash_bytes
from unreel.io.text import parse_json

MARKS_PREFIX, LEARNED_PREFIX = "concept/", "learned/"


class HomeConcepts:
    """The concepts of an index of this encoder in a database."""

    def __init__(self, home: Home, encoder_hash: str) -> None:
        self.home, self.encoder_hash = home, encoder_hash

    def list_names(self) -> list[str]:
        return [name.removeprefix(MARKS_PREFIX) for name in self.home.list_names(MARKS_PREFIX)]

    def locate(self, name: str) -> str:
        return f"{self.home.address}/{CONCEPTS_FOLDER}/{name}.json"

    def read_marks(self, name: str) -> list[MarkLine]:
        marks: dict[tuple[str, ...], MarkLine] = {}
        for record in self.home.read_records(MARKS_PREFIX + name):
            lines, discards = self._parse_marks(name, record)
            if discards:
                marks.clear()
            for line in lines:
                moment = (line.video, line.start_s, line.end_s, line.content_hash)
                marks.pop(moment, None)
                marks[moment] = line
        return list(marks.values())

    def _parse_marks(self, name: str, record: Record) -> tuple[list[MarkLine], bool]:
        try:
            saved = parse_json(record.data)
            lines = [MarkLine(*map(str, line)) for line in saved["marks"]]
            if any(line.mark not in ("yes", "no") for line in lines):
                raise ValueError("a mark is yes or no")
            return lines, bool(saved["discards"])
        except (ValueError, KeyError, TypeError) as error:
            problem = f"marks of the concept '{name}' can't be read ({error})"
            raise self.home.fail(problem, f"delete the record '{record.id}' of '{self.home.records_table}'") from error

    def read_concept(self, name: str) -> str | None:
        marks_hash = hash_marks(self.read_marks(name))
        for record in reversed(self.home.read_records(LEARNED_PREFIX + name)):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                saved: dict[str, Any] = parse_json(record.data)
                if (saved["marks"], saved["encoder"]) == (marks_hash, self.encoder_hash):
                    return str(saved["concept"])
        return None

    @contextlib.contextmanager
    def change(self, name: str) -> Iterator[None]:
        """Nothing is locked: savings add to each other."""
        yield

    def save_marks(self, name: str, change: MarkChange) -> list[MarkLine]:
        data = json.dumps({"discards": change.discards, "marks": change.new}).encode()
        self.home.add_records([Record(uuid.uuid4().hex, MARKS_PREFIX + name, data)])
        return self.read_marks(name)

    def save_concept(self, name: str, text: str, marks: list[MarkLine]) -> None:
        full_name = LEARNED_PREFIX + name
        old = [record.id for record in self.home.read_records(full_name)]
        saved = {"marks": hash_marks(marks), "encoder": self.encoder_hash, "concept": text}
        self.home.add_records([Record(uuid.uuid4().hex, full_name, json.dumps(saved).encode())])
        self.home.delete_records(old)


def hash_marks(marks: list[MarkLine]) -> str:
    return hash_bytes(json.dumps(sorted(marks)).encode())
