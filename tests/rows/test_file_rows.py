"""The file book in columns: whatever is done to it, it equals a dict of the same records to which the same was done."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unreel.corpus.file_changes import compute_file_changes
from unreel.corpus.file_tracker import load_records, save_records
from unreel.errors import InputError
from unreel.indexing.store.parts import group_by_content
from unreel.rows import file_rows
from unreel.rows.file_rows import FileBook, FileRecord, PathSet


def make_record(name: str, content: int = 0) -> FileRecord:
    return FileRecord(f"/v/{name}.mp4", "/v" if content % 2 else "list.txt", "ab"[content % 2], 1, 2, f"h{content}")


def make_records(names: list[str]) -> dict[str, FileRecord]:
    return {record.path: record for record in (make_record(name, n % 5) for n, name in enumerate(names))}


def change(records: dict[str, FileRecord], book: FileBook, rng: random.Random) -> None:
    """The same random changes to both: new files, other contents, files that go and come back."""
    for _ in range(40):
        record = make_record(str(rng.randrange(60)), rng.randrange(9))
        if rng.random() < 0.4 and record.path in records:
            del records[record.path], book[record.path]
        else:
            records[record.path] = book[record.path] = record


def require_equal(book: FileBook, records: dict[str, FileRecord]) -> None:
    assert list(book) == list(records) and list(book.values()) == list(records.values())
    assert list(book.items()) == list(records.items()) and book == records and len(book) == len(records)
    assert [book.get(f"/v/{n}.mp4") for n in range(70)] == [records.get(f"/v/{n}.mp4") for n in range(70)]
    assert ["/v/1.mp4" in book, 3 in book] == ["/v/1.mp4" in records, False]
    assert list(book.iterate_sorted()) == [records[path] for path in sorted(records)]
    for hashes in ({"h1"}, {"h2", "h7", "none"}, set[str]()):
        assert book.find_holders(hashes) == [r for r in records.values() if r.content_hash in hashes]


@pytest.mark.parametrize("block", [4, 65_536])
@pytest.mark.parametrize("seed", range(3))
def test_a_book_is_a_dict(block: int, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_rows, "BLOCK_ROWS", block)
    rng = random.Random(seed)
    names = [str(n) for n in range(30)]
    if seed:
        rng.shuffle(names)  # as several sources bring them
    before = make_records(sorted(names) if seed == 2 else names)
    save_records(before, tmp_path / "files.parquet")
    book = load_records(tmp_path / "files.parquet")
    require_equal(book, before)
    for _ in range(4):
        records, old_book, old = dict(book), book.copy(), dict(book)
        change(records, book, rng)
        require_equal(book, records)
        require_equal(old_book, old)  # a copy stays as it was
        assert compute_file_changes(old_book, book) == compute_file_changes(old, records)
        assert compute_file_changes(book, old_book) == compute_file_changes(records, old)
        assert list(group_by_content(book).items()) == list(group_by_content(records).items())
        save_records(book, tmp_path / "files.parquet")
        require_equal(load_records(tmp_path / "files.parquet"), records)
    save_records(dict(book), tmp_path / "dict.parquet")
    assert pq.read_table(tmp_path / "dict.parquet") == pq.read_table(tmp_path / "files.parquet")


def test_an_empty_book(tmp_path: Path) -> None:
    save_records(FileBook(), tmp_path / "files.parquet")
    book = load_records(tmp_path / "files.parquet")
    require_equal(book, {})
    with pytest.raises(KeyError, match="/v/a"):
        book["/v/a.mp4"]
    with pytest.raises(KeyError, match="/v/a"):
        del book["/v/a.mp4"]
    with pytest.raises(ValueError, match="can't stand under /v/b"):
        book["/v/b.mp4"] = make_record("a")


def test_paths_seen_are_a_set() -> None:
    seen = PathSet(FileBook.from_records(make_records(["b", "a", "c"]).values()).rows)
    assert not seen
    for path in ("/v/a.mp4", "/v/new.mp4"):
        seen.add(path)
    assert [f"/v/{name}.mp4" in seen for name in ("a", "b", "c", "new", "x")] == [True, False, False, True, False]
    assert seen


def test_of_a_path_in_two_rows_the_last_counts(tmp_path: Path) -> None:
    """As a dict of the rows has it; no version wrote such a file."""
    twice = [make_record("b", 1), make_record("a", 2), make_record("b", 3)]
    rows = [{name: getattr(record, name) for name in file_rows.NAMES} for record in twice]
    pq.write_table(pa.Table.from_pylist(rows, file_rows.FILE_SCHEMA), tmp_path / "files.parquet")
    assert list(load_records(tmp_path / "files.parquet").values()) == [twice[2], twice[1]]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (pa.table({"path": ["/v/a.mp4"]}), "its columns are path"),
        (FileBook.from_records([make_record("a")]).rows.table.append_column("x", pa.array([1])), "its columns are"),
        (pa.table({name: pa.array([None], pa.string()) for name in file_rows.NAMES}), "without a value of path"),
        (pa.table({name: ["text"] for name in file_rows.NAMES}), "text"),
    ],
)
def test_what_is_no_file_book_is_refused(table: pa.Table, reason: str, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "files.parquet")
    with pytest.raises(InputError, match=f"files.parquet: the records of the files can't be read .*{reason}"):
        load_records(tmp_path / "files.parquet")


def test_a_file_takes_few_bytes() -> None:
    """Counted, not timed: 10,000,000 files are to fit into 2 GB."""
    record = make_record("a", 1)
    records = (FileRecord(f"/corpus/{n:032d}", record.source, "", 1, 1, f"{n:032x}") for n in range(10_000))
    assert FileBook.from_records(records).rows.table.nbytes < 110 * 10_000
