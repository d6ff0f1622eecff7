"""A labelled data set as its lists give it, nothing checked; and the request that says which one to read."""

from dataclasses import dataclass, field
from pathlib import Path

from unreel.corpus.discovery import infer_labels
from unreel.corpus.lists import VideoEntry

SUBSETS = ("train", "validation", "test")
SUBSET_TITLES = {"train": "training", "validation": "validation", "test": "test"}
LIST_SUBFOLDERS = ("", "ucfTrainTestlist", "testTrainMulti_7030_splits", "annotations", "labels", "splits")


@dataclass(frozen=True)
class DatasetRequest:
    """Which data set to read: its folder, the number of its official split, and where its lists are.

    `train` and `test` are lists of the user; `splits` is the folder of the official lists, by default `data` itself;
    `seed` draws the test part where no list gives one.
    """

    data: Path
    split: int = 1
    train: Path | None = None
    test: Path | None = None
    splits: Path | None = None
    seed: int = 0

    @property
    def list_folders(self) -> list[Path]:
        """The folders in which lists may lie."""
        return [self.list_folder / name for name in LIST_SUBFOLDERS]

    @property
    def list_folder(self) -> Path:
        return self.data if self.splits is None else self.splits

    def find_list(self, *names: str) -> Path | None:
        """The first file with one of these names in the folders of lists."""
        paths = (folder / name for folder in self.list_folders for name in names)
        return next((path for path in paths if path.is_file()), None)

    def matches_list(self, *patterns: str) -> bool:
        """Whether a folder of lists has a file that matches one of these patterns."""
        return any(next(folder.glob(p), None) is not None for folder in self.list_folders for p in patterns)


@dataclass
class ListedDataset:
    """The videos of each part as the lists give them; one that is not found keeps the path of the list.

    `sources` are the lists, `classes` the class names that `classes_source` gives. Missing videos and empty classes
    are problems, or only notes where the data set allows them; so is an empty test list.
    """

    name: str
    root: Path
    entries: dict[str, list[VideoEntry]]
    sources: dict[str, str]
    notes: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    classes_source: str = ""
    allows_missing_videos: bool = False
    allows_empty_classes: bool = False
    needs_test: bool = True


def infer_subset_labels(entries: dict[str, list[VideoEntry]], root: Path) -> dict[str, list[VideoEntry]]:
    """Entries with the labels and groups that the layout gives, found over all parts together."""
    labelled = iter(infer_labels([entry for part in entries.values() for entry in part], root))
    return {subset: [next(labelled) for _ in part] for subset, part in entries.items()}
