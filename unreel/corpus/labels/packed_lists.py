"""The lists of a packed corpus, read by the same code that reads them beside the originals.

That code looks for files. So while it reads, a temporary tree holds empty files under the names of the originals, and
the lists that were packed with them. The videos it finds are then replaced by their pieces.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from unreel.corpus.labels.listed_dataset import DatasetRequest
from unreel.corpus.lists import VideoEntry
from unreel.errors import DiskError, InputError
from unreel.io.text import format_count
from unreel.video.sources.packed_corpus import PackedCorpus, open_packed_corpus, read_corpus_file
from unreel.video.sources.paths import LISTS_FOLDER, is_packed_corpus

T = TypeVar("T")


def read_data_lists(source: str | Path, read: Callable[["PieceMapping | None"], T]) -> tuple[T, "PieceMapping | None"]:
    """The result of `read`, and for a packed corpus the mapping of originals to pieces, which `read` gets too.

    For a packed corpus the tree of the originals exists while `read` is called. Raises InputError for lists that can't
    be used, DiskError when the tree can't be written.
    """
    if not is_packed_corpus(source):
        return read(None), None
    corpus = open_packed_corpus(source)
    with placeholder_tree(corpus) as tree:
        pieces = PieceMapping(corpus, tree)
        try:
            return read(pieces), pieces
        except InputError as error:
            raise InputError(pieces.restore_paths(str(error))) from error


@contextmanager
def placeholder_tree(corpus: PackedCorpus) -> Iterator[Path]:
    """A temporary tree of empty files under the names of the originals, with their lists."""
    with tempfile.TemporaryDirectory(prefix="unreel-") as folder:
        tree = Path(folder)
        try:
            for name in {*corpus.get_column("source"), *corpus.description["unpacked"]}:
                if not Path(name).is_absolute():
                    (tree / name).parent.mkdir(parents=True, exist_ok=True)
                    (tree / name).touch()
            for name in corpus.description["lists"]:
                content = read_corpus_file(corpus.root, f"{LISTS_FOLDER}/{name}")
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                (tree / name).write_bytes(_relocate_paths(content, corpus, tree))
        except OSError as error:
            raise DiskError(f"{corpus.root}: its lists can't be written to a temporary folder ({error})") from error
        yield tree


def _relocate_paths(text: bytes, corpus: PackedCorpus, tree: Path) -> bytes:
    """A list whose full paths of originals point into the tree."""
    return text.replace(os.fsencode(f"{corpus.description['root']}/"), os.fsencode(f"{tree}/"))


class PieceMapping:
    """Maps originals, by their path in the tree or their path when they were packed, to their pieces."""

    def __init__(self, corpus: PackedCorpus, tree: Path) -> None:
        self.corpus, self.tree = corpus, tree
        self.rows_by_source: dict[str, list[int]] = {}
        for row, source in enumerate(corpus.get_column("source")):
            self.rows_by_source.setdefault(source, []).append(row)
        self.sources_without_pieces: list[str] = []
        self.split_sources: set[str] = set()

    def relocate_request(self, request: DatasetRequest) -> DatasetRequest:
        """The same request for the tree of the originals."""
        train, test = self._relocate_list(request.train), self._relocate_list(request.test)
        return replace(request, data=self.tree, train=train, test=test)

    def _relocate_list(self, list_path: Path | None) -> Path | None:
        """A list of the user, or a copy in the tree if it has full paths of originals."""
        if list_path is None or not list_path.is_file():
            return list_path
        text = list_path.read_bytes()
        relocated = _relocate_paths(text, self.corpus, self.tree)
        if relocated == text:
            return list_path
        folder = Path(tempfile.mkdtemp(prefix=".", dir=self.tree))
        (folder / list_path.name).write_bytes(relocated)
        return folder / list_path.name

    def map_to_pieces(self, entries: list[VideoEntry]) -> list[VideoEntry]:
        """The pieces of each video, with its label; pieces of one video are a group. Videos without one are noted."""
        pieces: list[VideoEntry] = []
        for entry in entries:
            source, rows = self._find_rows(entry.path)
            if not rows:
                self.sources_without_pieces.append(source)
            group = entry.group or (source if len(rows) > 1 else "")
            pieces += [replace(entry, path=Path(self.corpus.piece_path(row)), group=group) for row in rows]
        return pieces

    def find_piece_starts(self, path: Path) -> list[tuple[float, str]]:
        """The start in seconds and the path of each piece of a video; [] for a video without pieces."""
        _, rows = self._find_rows(path)
        return [(self.corpus.get_value(row, "start_s"), self.corpus.piece_path(row)) for row in rows]

    def _find_rows(self, path: Path) -> tuple[str, list[int]]:
        """The name of an original in the corpus, and the rows of its pieces."""
        source = self.get_source_name(path)
        rows = self.rows_by_source.get(source, [])
        if len(rows) > 1:
            self.split_sources.add(source)
        return source, rows

    def get_source_name(self, path: Path) -> str:
        """The name of an original in the corpus."""
        for root in (self.tree, Path(self.corpus.description["root"])):
            if path.is_relative_to(root):
                return path.relative_to(root).as_posix()
        return str(path)

    def restore_paths(self, text: str) -> str:
        """A sentence with the path of the corpus in place of the tree's."""
        return text.replace(str(self.tree), self.corpus.root)

    def describe_differences(self) -> list[str]:
        """Notes on what differs from the originals."""
        notes = []
        if self.sources_without_pieces:
            count = format_count(len(self.sources_without_pieces), "video")
            notes.append(f"{count} of the lists without a piece (not usable when the corpus was packed)")
        if self.split_sources:
            notes.append(
                f"{format_count(len(self.split_sources), 'video')} in several pieces, each of which counts as a video"
            )
        return notes
