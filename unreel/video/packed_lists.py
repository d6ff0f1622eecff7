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

from unreel.errors import DiskError, InputError
from unreel.video.addresses import LISTS
from unreel.video.lists import Listed
from unreel.video.packed import Corpus, open_corpus, read_file

T = TypeVar("T")


def read_beside(source: Path, read: Callable[[Path, "Pieces"], T]) -> tuple[T, "Pieces"]:
    """What `read` finds in the tree of the originals, and who exchanges its videos. Raises InputError, DiskError."""
    corpus = open_corpus(source)
    with originals(corpus) as tree:
        pieces = Pieces(corpus, tree)
        try:
            return read(tree, pieces), pieces
        except InputError as error:
            raise InputError(pieces.named(str(error))) from error


@contextmanager
def originals(corpus: Corpus) -> Iterator[Path]:
    """A tree of empty files under the names of the originals, with their lists, that goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="unreel-") as folder:
        tree = Path(folder)
        try:
            for name in {*corpus.column("source"), *corpus.about["unpacked"]}:
                if not Path(name).is_absolute():
                    (tree / name).parent.mkdir(parents=True, exist_ok=True)
                    (tree / name).touch()
            for name in corpus.about["lists"]:
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                (tree / name).write_bytes(_moved(read_file(corpus.root, f"{LISTS}/{name}"), corpus, tree))
        except OSError as error:
            raise DiskError(f"{corpus.root}: its lists can't be laid out ({error})") from error
        yield tree


def _moved(text: bytes, corpus: Corpus, tree: Path) -> bytes:
    """A list whose full paths name the originals where they were, with those in the tree."""
    return text.replace(os.fsencode(f"{corpus.about['root']}/"), os.fsencode(f"{tree}/"))


class Pieces:
    """Exchanges originals, in the tree or by the path that they had when they were packed, for their pieces."""

    def __init__(self, corpus: Corpus, tree: Path) -> None:
        self.corpus, self.tree = corpus, tree
        self.rows: dict[str, list[int]] = {}
        for row, source in enumerate(corpus.column("source")):
            self.rows.setdefault(source, []).append(row)
        self.lost: list[str] = []
        self.cut: set[str] = set()

    def beside(self, given: Path | None) -> Path | None:
        """A list of the person's own, or a copy in the tree where its full paths name the originals."""
        if given is None or not Path(given).is_file():
            return given
        text = Path(given).read_bytes()
        moved = _moved(text, self.corpus, self.tree)
        if moved == text:
            return given
        folder = Path(tempfile.mkdtemp(prefix=".", dir=self.tree))
        (folder / Path(given).name).write_bytes(moved)
        return folder / Path(given).name

    def exchanged(self, items: list[Listed]) -> list[Listed]:
        """The pieces of each video, with its label; pieces of one video are a group. Videos without one are noted."""
        found: list[Listed] = []
        for item in items:
            source = self.source(item.path)
            rows = self.rows.get(source, [])
            if not rows:
                self.lost.append(source)
            if len(rows) > 1:
                self.cut.add(source)
            group = item.group or (source if len(rows) > 1 else "")
            found += [replace(item, path=Path(self.corpus.address(row)), group=group) for row in rows]
        return found

    def begins(self, path: Path) -> list[tuple[float, str]]:
        """Where each piece of a video begins, in seconds, and its address; [] for one without."""
        source = self.source(path)
        rows = self.rows.get(source, [])
        if len(rows) > 1:
            self.cut.add(source)
        return [(self.corpus.value(row, "start_s"), self.corpus.address(row)) for row in rows]

    def source(self, path: Path) -> str:
        """The name of an original in the corpus."""
        for root in (self.tree, Path(self.corpus.about["root"])):
            if path.is_relative_to(root):
                return path.relative_to(root).as_posix()
        return str(path)

    def named(self, text: str) -> str:
        """A sentence with the corpus in place of the tree."""
        return text.replace(str(self.tree), self.corpus.root)

    def notes(self) -> list[str]:
        """What differs from the originals."""
        said = []
        if self.lost:
            said.append(f"{len(self.lost)} videos of the lists have no piece (could not be used when packing)")
        if self.cut:
            said.append(f"{len(self.cut)} videos were packed in pieces, each of which counts as a video here")
        return said
