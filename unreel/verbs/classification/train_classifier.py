"""Train a classifier on labels or marks."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from unreel.classification.classifier import Classifier
from unreel.classification.classifier_folder import load_classifier, save_classifier
from unreel.classification.training import ClassifierOptions, Kind, fit_classifier
from unreel.classification.training_labels import load_training_labels
from unreel.embedding import load_encoder
from unreel.evaluation.contamination import find_contamination
from unreel.evaluation.labelled_videos import LabelledVideos, hash_videos
from unreel.indexing.embedding_provenance import describe_checkpoint
from unreel.indexing.store.clip_sampling import add_appearance
from unreel.io.atomic_write import atomic_folder, disk_errors
from unreel.io.output_path import require_new_path, require_writable_path
from unreel.provenance.record import collect_provenance, write_provenance
from unreel.report.pages.classifier_page import write_classifier_page
from unreel.training.runtime.auto_settings import choose_device
from unreel.types import ProgressCallback


def train_classifier(
    run: str | Path,
    labels: str | Path,
    out: str | Path,
    kind: Kind = "linear",
    allow_import: bool = False,
    on_progress: ProgressCallback = lambda _done, _total: None,
    **options: Any,
) -> Classifier:
    """Train a classifier into the folder `out`, calibrated on held-out training groups, with report.html.

    Args:
        run: a run folder, one of its checkpoints, or "base", the encoder that comes with unreel.
        labels: a labelled data set in a layout that `unreel data check` knows, a CSV with path,label[,group], or an
            index with marked concepts.
        out: the new folder.
        kind: "linear", "knn" or "attentive" on frozen features, or "finetuned": the whole network.
        allow_import: import, and so run, the code of your own that the checkpoint names as its network.
        on_progress: called with the work done and its total.
        options: `sources`, the layout of the labels and lists in place of the data's own (LabelSources); `concepts` of
            the index to learn (all that are marked); `num_clips`, evenly spread clips per video (10); `appearance`, an
            image model beside the encoder, as in `unreel.embed`, for "linear" and "knn"; `final`, train on the test
            videos too, so that figures are those of held-out groups alone; `seed` of held-out groups and of all that
            training draws; and for "finetuned" recipe="small" and fields of the recipe, such as epochs or lr.

    Returns:
        The classifier, as `load_classifier` reads it.

    Raises:
        InputError: the labels or an option can't be used, or `out` exists.
        CheckpointError: the encoder can't be loaded.

    >>> classifier = unreel.train_classifier(run, videos, out, kind="knn", num_clips=2)
    >>> (out / "report.html").exists(), 0 <= classifier.about["measured"]["test"]["video"]["ece"] <= 100
    (True, True)
    """
    wanted = ClassifierOptions.from_named(kind=kind, **options)
    return train_with_options(run, labels, Path(out), wanted, allow_import, on_progress)


def train_with_options(
    run: str | Path,
    labels: str | Path,
    out: Path,
    options: ClassifierOptions,
    allow_import: bool = False,
    on_progress: ProgressCallback = lambda _done, _total: None,
) -> Classifier:
    """`train_classifier` with its options in one."""
    run, out = Path(run), require_new_path(out)
    found = load_training_labels(Path(labels), options.sources, options.concepts, options.final)
    if found.has_moments:  # each is as long as a clip
        options = replace(options, num_clips=1)
    encoder = add_appearance(load_encoder(run, allow_import), options.appearance).to(choose_device("auto"))
    require_writable_path(out)
    with say_what_is_left(out):
        classifier = fit_classifier(encoder, found, options, on_progress)
    videos = LabelledVideos(found.name, found.train, found.test)
    each_once = replace(videos, train=list({i.path: i for i in found.train}.values()))  # of which many may be marked
    classifier.about["warnings"] += [seen.text for seen in find_contamination(run, each_once)]
    record = describe_classifier_training(run, labels, videos, options)
    with disk_errors(out, "the classifier can't be written"), atomic_folder(out, sync=True) as folder:
        save_classifier(classifier, folder)
        write_provenance(folder, record)
        write_classifier_page(folder, out.name)
    return load_classifier(out, allow_import=True)


@contextlib.contextmanager
def say_what_is_left(out: Path) -> Iterator[None]:
    """A stop says that nothing is kept of the training: a classifier appears whole, at its end."""
    try:
        yield
    except KeyboardInterrupt as stop:
        left = f"stopped; {out} is written at the end alone, so the same command begins anew"
        raise KeyboardInterrupt(left) from stop


def describe_classifier_training(
    run: Path, labels: str | Path, videos: LabelledVideos, options: ClassifierOptions
) -> dict[str, Any]:
    """The record of what made a classifier."""
    data = {"source": str(labels), "videos": len(videos.train) + len(videos.test), "hash": hash_videos(videos)}
    settings = {
        "kind": options.kind,
        "num_clips": options.num_clips,
        "seed": options.seed,
        "recipe": dict(options.finetuning),
    }
    return collect_provenance(encoder=describe_checkpoint(run), data=data, settings=settings)
