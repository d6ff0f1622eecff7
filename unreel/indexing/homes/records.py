"""The records of a home: the description of the index, its files, and which of them are kept."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from unreel.indexing.homes.content import FILE_PREFIX, make_file_records
from unreel.indexing.homes.home import (
    APPROXIMATE_RECORD,
    FILLING_RECORD,
    INDEX_RECORD,
    Home,
    HomeContent,
    Record,
)
from unreel.io.text import build_from_json, parse_json


@dataclass(frozen=True)
class Approximation:
    """How one index is searched approximately: how many candidates the database looks at for a query, which vectors
    have an index there, and which share of the ten nearest rows it found, of how many queries.

    `is_default` says that whoever opens the index searches so, unless they ask for all rows.
    """

    index_id: str
    candidates: int
    vectors: list[str]
    recall: float
    num_queries: int
    is_default: bool = False


def read_approximation(home: Home, index_id: str) -> Approximation | None:
    """How an index in a home is searched approximately; None where that was never measured, or can't be read."""
    for record in home.read_records(APPROXIMATE_RECORD):
        try:
            found = build_from_json(Approximation, parse_json(record.data))
            usable = found.index_id == index_id and found.candidates > 0 and 0 <= found.recall <= 1
        except (ValueError, TypeError, KeyError):
            continue
        if usable:
            return found
    return None


def make_approximation_record(found: Approximation) -> Record:
    data = json.dumps(asdict(found)).encode()
    return Record(f"{APPROXIMATE_RECORD}/{found.index_id}", APPROXIMATE_RECORD, data)


def read_description(home: Home) -> dict[str, Any] | None:
    """The description of the index in a home, the newest one; None where there is none. Raises InputError."""
    records = home.read_records(INDEX_RECORD)
    return parse_description(home, records[-1].data) if records else None


def read_newest_id(home: Home) -> str:
    """The id of the index in a home; "" where there is none. Raises InputError."""
    description = read_description(home)
    return "" if description is None else str(description["id"])


def parse_description(home: Home, data: bytes) -> dict[str, Any]:
    """A description from its bytes. Raises InputError for one that is damaged."""
    try:
        description: dict[str, Any] = parse_json(data)
        if not isinstance(description["files"], dict) or not isinstance(description["id"], str):
            raise ValueError("its files or its id are of another kind")
        if not all(isinstance(hash_, str) for hash_ in description["files"].values()):
            raise ValueError("a file has no hash")
        description["rows"] = int(description["rows"])
        description["widths"] = {str(name): int(width) for name, width in dict(description["widths"]).items()}
        if "" not in description["widths"] or not isinstance(description["fingerprint"], str):
            raise ValueError("it has no width or no fingerprint")
        return description
    except (ValueError, KeyError, TypeError) as error:
        raise home.fail(f"the description of the index is damaged ({error})", "export the index again") from error


def make_write_records(home: Home, content: HomeContent) -> list[Record]:
    """The records of a writing: the files that the home does not have yet, and last the description."""
    there = set(home.list_names(FILE_PREFIX))
    new = [(hash_, read) for hash_, read in content.read_files.items() if FILE_PREFIX + hash_ not in there]
    records = [record for hash_, read in new for record in make_file_records(hash_, read())]
    return [*records, make_description_record(content.description)]


def make_description_record(description: dict[str, Any]) -> Record:
    return Record(f"{INDEX_RECORD}/{description['id']}", INDEX_RECORD, json.dumps(description).encode())


def tidy_records(home: Home, description: dict[str, Any]) -> None:
    """Delete the records of earlier writings: their descriptions, and files that this one does not have."""
    wanted = {FILE_PREFIX + hash_ for hash_ in description["files"].values()}
    old = [name for name in home.list_names(FILE_PREFIX) if name not in wanted]
    own = f"{INDEX_RECORD}/{description['id']}"
    ids = [record.id for record in home.read_records(INDEX_RECORD) if record.id != own]
    measured = f"{APPROXIMATE_RECORD}/{description['id']}"
    ids += [record.id for record in home.read_records(APPROXIMATE_RECORD) if record.id != measured]
    home.delete_records(ids, (*old, FILLING_RECORD))
