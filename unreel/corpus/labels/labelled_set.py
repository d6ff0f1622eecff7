"""Loading a labelled data set for evaluation: which videos train, which test, their classes and groups.

No video is decoded. Official lists come from the user's own download.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from unreel.corpus.labels.layouts import read_layout
from unreel.corpus.labels.listed_dataset import SUBSETS, DatasetRequest, ListedDataset, infer_subset_labels
from unreel.corpus.labels.packed_lists import PieceMapping, read_data_lists
from unreel.corpus.labels.validation import Problem, ValidationReport, require_valid, validate
from unreel.corpus.lists import FileFinder, VideoEntry, read_list
from unreel.errors import InputError


@dataclass(frozen=True)
class LabelledSet:
    """Training, validation (may be []) and test videos; `notes` say what was decided or left out."""

    name: str
    root: Path
    train: list[VideoEntry]
    validation: list[VideoEntry]
    test: list[VideoEntry]
    notes: list[str]


def load_labelled_set(
    data: Path,
    layout: str = "auto",
    split: int = 1,
    train: Path | None = None,
    test: Path | None = None,
    splits: Path | None = None,
    seed: int = 0,
) -> LabelledSet:
    """A labelled data set below `data`, its lists found there, in the folder `splits`, or given as `train` and `test`.

    `split` is the number of an official split, `seed` draws the test part where no list gives one. A packed corpus has
    the lists and the drawn test part of its originals. Raises InputError when the layout is unknown or ambiguous, a
    list can't be read, or `validate_labelled_set` reports a problem.

    >>> dataset = load_labelled_set(videos)
    >>> dataset.name, len(dataset.train), len(dataset.test)
    ('lists', 16, 8)
    """
    request = _make_request(data, split, train, test, splits, seed)
    dataset, pieces = read_data_lists(data, lambda pieces: _load(layout, _relocate(request, pieces)))
    if pieces is None:
        return dataset
    entries = {subset: pieces.map_to_pieces(getattr(dataset, subset)) for subset in SUBSETS}
    notes = [*map(pieces.restore_paths, dataset.notes), *pieces.describe_differences()]
    return LabelledSet(dataset.name, Path(data), entries["train"], entries["validation"], entries["test"], notes)


def validate_labelled_set(
    data: Path,
    layout: str = "auto",
    split: int = 1,
    train: Path | None = None,
    test: Path | None = None,
    splits: Path | None = None,
    seed: int = 0,
) -> ValidationReport:
    """What a labelled data set has and what it lacks; `load_labelled_set` takes it if the report `is_valid`.

    The parameters are those of `load_labelled_set`. Lists that can't be read are a problem of the report, no error.
    """
    request = _make_request(data, split, train, test, splits, seed)
    report, pieces = read_data_lists(data, lambda pieces: _validate(layout, _relocate(request, pieces)))
    if pieces is None:
        return report
    problems = [Problem(*map(pieces.restore_paths, problem)) for problem in report.problems]
    return replace(report, root=Path(data), problems=problems, notes=[*map(pieces.restore_paths, report.notes)])


def _make_request(
    data: Path, split: int, train: Path | None, test: Path | None, splits: Path | None, seed: int
) -> DatasetRequest:
    paths = [None if path is None else Path(path) for path in (train, test, splits)]
    return DatasetRequest(Path(data), split, paths[0], paths[1], paths[2], seed)


def _relocate(request: DatasetRequest, pieces: PieceMapping | None) -> DatasetRequest:
    return request if pieces is None else pieces.relocate_request(request)


def _load(layout: str, request: DatasetRequest) -> LabelledSet:
    dataset = read_layout(layout, request)
    entries, notes = require_valid(dataset)
    return LabelledSet(dataset.name, dataset.root, entries["train"], entries["validation"], entries["test"], notes)


def _validate(layout: str, request: DatasetRequest) -> ValidationReport:
    try:
        return validate(read_layout(layout, request))
    except InputError as error:
        return ValidationReport(layout, request.data, problems=[Problem(str(error), "correct this, then check again")])


def load_labelled_list(path: Path, test: Path | None = None) -> LabelledSet:
    """The videos of one list, all for training, and of another one for tests if it is named.

    Paths are relative to the folder of the list; labels and groups are its own, else those of the folders. Raises
    InputError for a list that can't be read, and for what `validate_labelled_set` calls a problem.
    """
    root, lists = path.parent, {"train": path} | ({"test": test} if test else {})
    entries = {subset: read_list(file, FileFinder(root)) for subset, file in lists.items()}
    dataset = ListedDataset(
        path.name,
        root,
        {"train": [], "test": []} | infer_subset_labels(entries, root),
        {subset: str(file) for subset, file in lists.items()},
        needs_test=test is not None,
    )
    valid, notes = require_valid(dataset)
    return LabelledSet(dataset.name, root, valid["train"], [], valid["test"], notes)
