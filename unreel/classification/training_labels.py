"""The videos or moments that a classifier learns from: a labelled data set, a list with labels, or marks."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unreel.classification.predictions import NONE_OF_THESE
from unreel.corpus.labels.labelled_set import load_labelled_list
from unreel.corpus.lists import LIST_SUFFIXES
from unreel.errors import InputError
from unreel.evaluation.labelled_videos import LabelSources, list_instances, load_labelled_videos
from unreel.evaluation.leakage import check_train_test, collect_leakage_warnings
from unreel.indexing.concepts.annotations import Annotations
from unreel.indexing.concepts.concept_update import list_concepts, load_marks
from unreel.indexing.index.clip_index import Index, open_index
from unreel.indexing.store.file_names import STORE_JSON
from unreel.io.text import format_count, name_folder, preview_items
from unreel.types import Instance

MIN_EXAMPLES = 5  # of a class: with five folds, each holds one of them out


@dataclass(frozen=True)
class TrainingLabels:
    """Labelled training and test videos (there may be none to test on), and notes on how they were read.

    `has_moments` tells that they are marked moments, each as long as a clip.
    """

    name: str
    train: list[Instance]
    test: list[Instance]
    notes: list[str] = field(default_factory=list)
    has_moments: bool = False

    @property
    def classes(self) -> list[str]:
        return sorted({i.label for i in self.train})


def load_training_labels(
    labels: Path, sources: LabelSources | None = None, concepts: Sequence[str] = (), final: bool = False
) -> TrainingLabels:
    """Labels from a folder in any known layout, a list (CSV with path,label[,group]), or the marks of an index.

    With `final` the test videos train too. Raises InputError, also for fewer than two classes.
    """
    found = read_labels(labels, sources or LabelSources(), concepts)
    if final:
        found = TrainingLabels(found.name, [*found.train, *found.test], [], found.notes, found.has_moments)
    if len(found.classes) < 2:
        raise InputError(
            f"{labels}: a classifier needs videos of two classes or more, and there is {preview_items(found.classes)}"
            "; add videos of another class, or of anything else as a class of their own"
        )
    if found.test:
        check_train_test(found.train, found.test)
    notes = [*found.notes, *describe_classes(found), *collect_leakage_warnings(found.test, found.train)]
    return TrainingLabels(found.name, found.train, found.test, notes, found.has_moments)


def read_labels(labels: Path, sources: LabelSources, concepts: Sequence[str]) -> TrainingLabels:
    """Whichever of the three it is. Raises InputError."""
    if (labels / STORE_JSON).is_file():
        return read_marks(open_index(labels), concepts)
    if concepts:
        raise InputError(f"{labels} is no index, so it has no concepts; leave out --concepts, or name an index")
    if labels.suffix.lower() in LIST_SUFFIXES and not labels.is_dir():
        return read_labelled_list(labels, sources)
    videos = load_labelled_videos(labels, sources)
    return TrainingLabels(videos.name, videos.train, videos.test, videos.notes)


def read_labelled_list(path: Path, sources: LabelSources) -> TrainingLabels:
    """A list of training videos; all of them train unless another list names test videos."""
    if sources.train is not None:
        raise InputError(f"{path} is the training list already; leave out --train")
    labelled = load_labelled_list(path, sources.test)
    train = list_instances(labelled.train, 0)
    return TrainingLabels(path.name, train, list_instances(labelled.test, len(train)), list(labelled.notes))


def read_marks(index: Index, concepts: Sequence[str]) -> TrainingLabels:
    """The moments marked yes for a concept are a class of its name; those marked no alone are "none of these".

    All marks of a video are one group. Raises InputError for a moment marked yes for two concepts.
    """
    known = list_concepts(index)
    missing = [name for name in concepts if name not in known]
    if missing or not known:
        there = f"it has {preview_items(known, 10)}" if known else "it has none; mark hits with `unreel concept`"
        raise InputError(f"{index.folder}: no marks of {preview_items(missing) or 'any concept'}; {there}")
    marks = {name: load_marks(index, name) for name in concepts or known}
    label_by_row = label_rows(index, {name: annotations for name, (annotations, _) in marks.items()})
    instances = [build_moment(index, row, label, n) for n, (row, label) in enumerate(sorted(label_by_row.items()))]
    num_lost = sum(lost for _, lost in marks.values())
    notes = [f"{format_count(num_lost, 'mark')} of moments that the index no longer has are left out"] * (num_lost > 0)
    return TrainingLabels(f"marks of {name_folder(index.folder.resolve())}", instances, [], notes, has_moments=True)


def label_rows(index: Index, marks: dict[str, Annotations]) -> dict[int, str]:
    """The class of each marked row. Raises InputError for a row with two."""
    labels: dict[int, str] = {}
    for name, annotations in marks.items():
        for row in annotations.positives:
            if labels.setdefault(row, name) != name:
                moment = index.rows.get_moment(row)
                where = f"{moment.path}, {moment.start_s:.1f} to {moment.end_s:.1f} s"
                raise InputError(f"{where} is marked yes for {labels[row]} and for {name}; take one mark back")
    others: Iterable[int] = (row for annotations in marks.values() for row in annotations.negatives)
    return {row: NONE_OF_THESE for row in others if row not in labels} | labels


def build_moment(index: Index, row: int, label: str, number: int) -> Instance:
    moment, content = index.rows.get_moment(row), index.rows.content_hashes[index.rows.content_N[row]]
    return Instance(moment.path, number, moment.start_s, moment.end_s, label, group=content)


def describe_classes(found: TrainingLabels) -> list[str]:
    """Notes on classes that few examples show, and on those only in the test list."""
    counts = Counter(i.label for i in found.train)
    few = [f"{name} ({counts[name]})" for name in found.classes if counts[name] < MIN_EXAMPLES]
    new = sorted({i.label for i in found.test} - set(found.classes))
    notes = []
    if few:
        examples = "marks" if found.has_moments else "training videos"
        notes.append(
            f"{preview_items(few, 10)}: fewer than {MIN_EXAMPLES} {examples} of a class teach it poorly and can't tell "
            f"whether its probabilities are right; add {'marks' if found.has_moments else 'videos'}"
        )
    if new:
        notes.append(f"{preview_items(new, 10)}: in the test list alone, so every answer to them counts as wrong")
    return notes
