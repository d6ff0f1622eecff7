"""The lists of a packed corpus: read by the very code that reads them beside the originals.

That code looks for files. So for as long as it reads, there is a tree of empty files under the originals' names, with
the lists that were packed along among them; what it finds is then exchanged for the pieces.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from unreel.corpus.lists import VideoEntry
from unreel.errors import DiskError, InputError
from unreel.video.sources.packed_corpus import PackedCorpus, open_packed_corpus, read_corpus_file
from unreel.video.sources.paths import LISTS_FOLDER

T = TypeVar("T")


def read_packed_lists(source: Path, read_lists: Callable[[Path, "PieceMapping"], T]) -> tuple[T, "PieceMapping"]:
    """What `read` finds in the tree of the originals, and who exchanges its videos. Raises InputError, DiskError."""
    corpus = open_packed_corpus(source)
    with placeholder_tree(corpus) as tree:
        pieces = PieceMapping(corpus, tree)
        try:
            return read_lists(tree, pieces), pieces
        except InputError as error:
            raise InputError(pieces.restore_paths(str(error))) from error


@contextmanager
def placeholder_tree(corpus: PackedCorpus) -> Iterator[Path]:
    """A tree of empty files under the names of the originals, with their lists, that goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="unreel-") as folder:
        tree = Path(folder)
        try:
            for name in {*corpus.get_column("source"), *corpus.description["unpacked"]}:
                if not Path(name).is_absolute():
                    (tree / name).parent.mkdir(parents=True, exist_ok=True)
                    (tree / name).touch()
            for name in corpus.description["lists"]:
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                (tree / name).write_bytes(
                    _relocate_paths(read_corpus_file(corpus.root, f"{LISTS_FOLDER}/{name}"), corpus, tree)
                )
        except OSError as error:
            raise DiskError(f"{corpus.root}: its lists can't be laid out ({error})") from error
        yield tree


def _relocate_paths(text: bytes, corpus: PackedCorpus, tree: Path) -> bytes:
    """A list whose full paths name the originals where they were, with those in the tree."""
    return text.replace(os.fsencode(f"{corpus.description['root']}/"), os.fsencode(f"{tree}/"))


class PieceMapping:
    """Exchanges originals, in the tree or by the path that they had when they were packed, for their pieces."""

    def __init__(self, corpus: PackedCorpus, tree: Path) -> None:
        self.corpus, self.tree = corpus, tree
        self.rows_by_source: dict[str, list[int]] = {}
        for row, source in enumerate(corpus.get_column("source")):
            self.rows_by_source.setdefault(source, []).append(row)
        self.sources_without_pieces: list[str] = []
        self.split_sources: set[str] = set()

    def relocate_list(self, list_path: Path | None) -> Path | None:
        """A list of the person's own, or a copy in the tree where its full paths name the originals."""
        if list_path is None or not Path(list_path).is_file():
            return list_path
        text = Path(list_path).read_bytes()
        moved = _relocate_paths(text, self.corpus, self.tree)
        if moved == text:
            return list_path
        folder = Path(tempfile.mkdtemp(prefix=".", dir=self.tree))
        (folder / Path(list_path).name).write_bytes(moved)
        return folder / Path(list_path).name

    def map_to_pieces(self, items: list[VideoEntry]) -> list[VideoEntry]:
        """The pieces of each video, with its label; pieces of one video are a group. Videos without one are noted."""
        found: list[VideoEntry] = []
        for item in items:
            source = self.get_source_name(item.path)
            rows = self.rows_by_source.get(source, [])
            if not rows:
                self.sources_without_pieces.append(source)
            if len(rows) > 1:
                self.split_sources.add(source)
            group = item.group or (source if len(rows) > 1 else "")
            found += [replace(item, path=Path(self.corpus.piece_path(row)), group=group) for row in rows]
        return found

    def find_piece_starts(self, path: Path) -> list[tuple[float, str]]:
        """Where each piece of a video begins, in seconds, and its address; [] for one without."""
        source = self.get_source_name(path)
        rows = self.rows_by_source.get(source, [])
        if len(rows) > 1:
            self.split_sources.add(source)
        return [(self.corpus.get_value(row, "start_s"), self.corpus.piece_path(row)) for row in rows]

    def get_source_name(self, path: Path) -> str:
        """The name of an original in the corpus."""
        for root in (self.tree, Path(self.corpus.description["root"])):
            if path.is_relative_to(root):
                return path.relative_to(root).as_posix()
        return str(path)

    def restore_paths(self, text: str) -> str:
        """A sentence with the corpus in place of the tree."""
        return text.replace(str(self.tree), self.corpus.root)

    def describe_differences(self) -> list[str]:
        """What differs from the originals."""
        said = []
        if self.sources_without_pieces:
            said.append(
                f"{len(self.sources_without_pieces)} videos of the lists have no piece (could not be used when packing)"
            )
        if self.split_sources:
            said.append(f"{len(self.split_sources)} videos were packed in pieces, each of which counts as a video here")
        return said
