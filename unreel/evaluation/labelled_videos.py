"""Labelled videos: a training and a test list as instances, and a hash of both."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unreel.corpus.labels.labelled_set import LabelledSet, load_labelled_set
from unreel.corpus.lists import VideoEntry
from unreel.io.checksums import new_digest
from unreel.types import Instance
from unreel.video.sources.paths import normalize_path
from unreel.video.sources.source import open_source


@dataclass(frozen=True)
class LabelSources:
    """Where labels and lists come from.

    Args:
        layout: layout of the data, or "auto"; see `unreel data check --help`.
        split: number of the official split.
        train: list of training videos, in place of the data's own.
        test: list of test videos, in place of the data's own.
        splits: folder of UCF101's or HMDB51's official split files.

    >>> sources = unreel.LabelSources(train=videos / "train.txt", test=videos / "test.txt")
    >>> encoder, clips = unreel.load_encoder(run), unreel.ExtractionOptions(num_clips=1)
    >>> list(unreel.evaluate(encoder, run, videos, "knn", sources, clips))
    ['knn']
    """

    layout: str = "auto"
    split: int = 1
    train: Path | None = None
    test: Path | None = None
    splits: Path | None = None


@dataclass
class LabelledVideos:
    """Labelled videos as instances, numbered through both lists, and notes of the data set's own layout."""

    name: str
    train: list[Instance]
    test: list[Instance]
    notes: list[str] = field(default_factory=list)


def load_labelled_videos(data: Path, sources: LabelSources | None = None) -> LabelledVideos:
    """The training and the test list of a labelled data set. Raises InputError."""
    labelled: LabelledSet = load_labelled_set(data, **vars(sources or LabelSources()))
    train = list_instances(labelled.train, 0)
    test = list_instances(labelled.test, len(train))
    notes = list(labelled.notes)
    if labelled.validation:
        count = len(labelled.validation)
        notes.append(f"{count} videos of the validation list are not used: values are chosen on training groups")
    return LabelledVideos(f"{data.resolve().name} ({labelled.name})", train, test, notes)


def list_instances(videos: Sequence[VideoEntry], first_number: int) -> list[Instance]:
    """Whole videos of a list as instances, numbered from `first_number`."""
    return [
        Instance(normalize_path(v.path), first_number + i, 0.0, float("inf"), v.label, v.group)
        for i, v in enumerate(videos)
    ]


def hash_videos(videos: LabelledVideos) -> str:
    """A hash of names, lists, labels, groups and contents of a data set: same hash, same videos."""
    digest = new_digest()
    for name, instances in (("train", videos.train), ("test", videos.test)):
        for instance in instances:
            line = "\t".join((name, Path(instance.path).name, instance.label, instance.group, ""))
            digest.update(line.encode("utf-8", "surrogateescape"))
            digest.update(hash_video_content(instance.path))
    return digest.hexdigest()


def hash_video_content(path: str) -> bytes:
    """The content hash of a file, or the reason why it can't be read."""
    try:
        return open_source(path).hash_content().encode()
    except OSError as error:
        return str(error.strerror or error).encode()
