"""Apply a classifier to a folder, into a CSV that goes on."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from unreel.classification.calibration import Unit
from unreel.classification.classifier import Classifier
from unreel.classification.classifier_folder import load_classifier
from unreel.classification.prediction_store import require_own_csv, update_scores
from unreel.classification.predictions import PredictionOptions, Predictions, make_predictions, write_predictions
from unreel.indexing.store.file_names import STORE_JSON
from unreel.indexing.store.update import StoreUpdateOptions
from unreel.io.output_path import require_new_path, require_writable_path
from unreel.types import ProgressCallback


def apply_classifier(
    classifier: str | Path | Classifier,
    source: str | Path,
    out: str | Path,
    per: Unit = "clip",
    allow_import: bool = False,
    on_progress: ProgressCallback = lambda _done, _total: None,
    **options: Any,
) -> Predictions:
    """Say what the videos of a folder show, in a CSV with seconds, class and calibrated probability.

    Work is kept in a store beside the CSV (OUT.store), so a call that was killed goes on, and the same call again takes
    new files alone.

    Args:
        classifier: a folder that `train_classifier` wrote, or one that `load_classifier` has read.
        source: a video, a folder or a list; or an index by the same encoder, which needs no decoding.
        out: the CSV.
        per: a row for each "clip" that slides over the videos, or for each "video".
        allow_import: import, and so run, the code of your own that the classifier's encoder names as its network.
        on_progress: called with the work done and its total.
        options: `hop_s`, seconds from one clip to the next (0 means half a clip); `num_clips`, evenly spread clips
            whose mean is a video's answer (10); `threshold`, least probability (0 to 1) of an answer, in place of the
            classifier's own.

    Returns:
        The rows of the CSV, with the files that could not be read in `failures`.

    Raises:
        InputError: the classifier, `source` or an option can't be used, or `out` holds something else.
        DiskError: `out` can't be written.

    >>> classifier = unreel.train_classifier(run, videos, out / "classifier", num_clips=2)
    >>> said = unreel.apply_classifier(out / "classifier", videos / "test.txt", out / "classes.csv", per="video")
    >>> len(said), (out / "classes.csv").read_text().splitlines()[0]
    (8, 'video,start_s,end_s,class,probability,likeliest')
    """
    wanted = PredictionOptions.from_named(per=per, **options)
    update_options = StoreUpdateOptions(allow_import=allow_import, progress_bar=lambda _label: nullcontext(on_progress))
    predictions, _ = apply_with_options(classifier, source, Path(out), wanted, update_options)
    return predictions


def apply_with_options(
    classifier: str | Path | Classifier,
    source: str | Path,
    out: Path,
    options: PredictionOptions,
    update_options: StoreUpdateOptions,
) -> tuple[Predictions, int]:
    """`apply_classifier` with a progress bar for each stage of the work, and the rank of this process; 0 writes."""
    require_own_csv(out)
    if not isinstance(classifier, Classifier):
        classifier = load_classifier(classifier, update_options.allow_import)
    calibration, rank = classifier.choose_calibration(options), 0
    if (Path(source) / STORE_JSON).is_file():
        require_new_path(out)
        require_writable_path(out)
        scores, left_out = classifier.score_index(Path(source)), []
    else:
        scores, summary = update_scores(classifier, source, out, options, update_options)
        left_out, rank = summary.left_out, summary.rank
    predictions = make_predictions(scores, classifier.classes, calibration, options.per, left_out)
    if rank == 0:
        write_predictions(predictions, out)
    return predictions, rank
