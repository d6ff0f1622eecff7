"""The stages of an exploration: inspect, train, index. Each says what it does, and leaves alone what is done."""

import contextlib
import dataclasses
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from unreel.corpus.inspection import require_usable
from unreel.corpus.lists import VideoEntry
from unreel.corpus.manifest import Manifest
from unreel.corpus.manifest_summary import group_by_reason
from unreel.corpus.segments import LONG_VIDEO_SEGMENTS, build_instances
from unreel.corpus.video_files import describe_left_aside
from unreel.errors import InputError
from unreel.evaluation.verdict.verdict_file import read_verdict
from unreel.indexing.store.clip_sampling import SlidingWindow
from unreel.indexing.store.embedding_store import get_appearance, read_store_json
from unreel.indexing.store.file_names import STORE_JSON
from unreel.indexing.store.update import StoreSummary, StoreUpdateOptions
from unreel.io.text import format_count, format_duration, format_path
from unreel.models.encoder.appearance import resolve_model
from unreel.models.encoder.base_encoders import is_base_encoder
from unreel.settings import Settings
from unreel.training.monitors import compare_with_start
from unreel.training.run_folder.config import RunConfig, read_config
from unreel.types import FileFailure, ProgressCallback
from unreel.verbs.exploration.exploration_folder import ExplorationFolder
from unreel.verbs.exploration.inspection_log import inspect_changes
from unreel.verbs.exploration.kept_concepts import keep_concepts
from unreel.verbs.exploration.narration import Narration
from unreel.verbs.indexing.index import update_index
from unreel.verbs.training.pretrain import start_run
from unreel.verbs.training.resume import resume
from unreel.video.sources.paths import real_path

MAX_NAMED_FILES = 3


@dataclass(frozen=True)
class ExploreRequest:
    """What an exploration is asked for.

    `names_options` tells that options of training were given, not left out. `command` goes on with a stopped one.
    `appearance` names an image model beside the encoder; None means that of the index that is there, or none.
    """

    source: Path
    run_config: RunConfig
    retrain: bool = False
    names_options: bool = False
    allow_import: bool = False
    command: str = "the same call"
    appearance: str | None = None

    @property
    def real_source(self) -> Path:
        """The source without links, so that each file has one spelling."""
        return Path(real_path(self.source))

    @property
    def training_options(self) -> dict[str, Any]:
        """The options of training as they are kept in explore.json."""
        config = self.run_config
        parts = {"options": dataclasses.asdict(config.options), "settings": dataclasses.asdict(config.settings)}
        options: dict[str, Any] = json.loads(json.dumps({"method": config.method} | parts))
        return options


class FoundFiles(NamedTuple):
    """The files of a source that may be videos, and the counts of the others by suffix."""

    entries: Sequence[VideoEntry]
    left_aside: Mapping[str, int]


def inspect_videos(
    folder: ExplorationFolder, request: ExploreRequest, found: FoundFiles, narration: Narration
) -> Manifest:
    """Stage 1: the manifest of the source. Raises InputError when no file can be used."""

    @contextlib.contextmanager
    def begin(total: int, num_new: int) -> Iterator[ProgressCallback]:
        new = "" if num_new == total else f", {num_new:,} of them new or changed" if num_new else ", none of them new"
        narration.begin(1, "inspect", format_count(total, "file") + new)
        with narration.measure("inspecting") as advance:
            yield advance

    manifest = inspect_changes(request.real_source, found.entries, found.left_aside, folder.log_path, begin)
    manifest.save(folder.path)
    usable = f"{format_count(len(manifest.videos), 'video')} can be used: {folder.manifest_path}"
    narration.detail(usable + narration.format_elapsed())
    if manifest.left_aside:
        narration.detail(f"left aside: {describe_left_aside(manifest.left_aside)}")
    if manifest.quarantine:
        narration.detail(describe_bad_files(manifest.quarantine))
        for failure in manifest.quarantine[:MAX_NAMED_FILES]:
            narration.detail(f"  {format_path(failure.path, manifest.root)}: {format_path(str(failure))}")
        narration.detail(f"their list: {folder.quarantine_path}")
    require_usable(manifest, max_bad_share=1)
    return manifest


def describe_bad_files(failures: tuple[FileFailure, ...]) -> str:
    """`3 files can't be used: 2 damaged, 1 not a video`"""
    reasons = ", ".join(f"{len(files):,} {reason}" for reason, files in group_by_reason(failures).items())
    return f"{format_count(len(failures), 'file')} can't be used: {reasons}"


def train_encoder(folder: ExplorationFolder, request: ExploreRequest, manifest: Manifest, narration: Narration) -> None:
    """Stage 2: train an encoder, go on with its training, or leave it as it is. KeyboardInterrupt when it is stopped.

    The run begins with usable files alone, so that its own quarantine has those that fail in training.
    """
    is_as_requested = folder.requests.get(folder.run.name) == request.training_options
    begins_anew = request.retrain and (folder.is_complete or not is_as_requested)
    if folder.is_trained and not begins_anew:
        narration.begin(2, "train", f"done before, in {folder.run}")
        advise_retraining(folder, request, manifest, narration)
    elif folder.has_run and not begins_anew:
        narration.begin(2, "train", f"go on with {folder.run}")
        if request.names_options and not is_as_requested:
            narration.detail("with the options it was begun with; with --retrain, a new run takes those given now")
        outcome = resume(folder.run, narration.quiet, request.allow_import)
        finish_training(folder, folder.run, outcome["interrupted"], narration)
    else:
        require_two_instances(manifest, request)
        run = folder.find_next_run()
        folder.requests[run.name] = request.training_options
        folder.save()
        narration.begin(2, "train", f"an encoder on {format_count(len(manifest.drop_duplicates()), 'video')}, in {run}")
        narration.detail(describe_budget(request.run_config.settings))
        usable = dataclasses.replace(manifest, quarantine=())
        outcome = start_run(request.source, run, request.run_config, lambda _source: usable, narration.quiet)
        finish_training(folder, run, outcome["interrupted"], narration)


def finish_training(folder: ExplorationFolder, run: Path, was_interrupted: bool, narration: Narration) -> None:
    """Note that a run is trained to its end. Raises KeyboardInterrupt for one that was stopped before."""
    if was_interrupted:
        raise KeyboardInterrupt
    folder.trained.append(run.name)
    folder.save()
    narration.detail(f"trained; report: {run / 'report.html'}{narration.format_elapsed()}")


def tell_verdict(run: Path, source: Path, narration: Narration) -> None:
    """Say whether the encoder of a run is better than what needs no training, and if not, which option helps."""
    verdict = read_verdict(run)
    if verdict is None:
        return
    narration.detail(verdict.sentence)
    if verdict.comparisons and verdict.level != "better":
        narration.detail("With --retrain --minutes M, a new encoder is trained for M minutes, and this one stays.")
        if advice := advise_start(run, source):
            narration.detail(advice)


def advise_start(run: Path, source: Path) -> str:
    """What to say where a run has made the encoder worse that it began with, by the tests without labels; else ""."""
    init, scores = read_config(run)["settings"]["init"], compare_with_start(run)
    if not is_base_encoder(Path(init)) or scores is None or scores[0] <= scores[1]:
        return ""
    return (
        f"Before training, as {init}, the encoder did better in the tests without labels (mean {scores[0]:.1f} %, now "
        f"{scores[1]:.1f} %). To search with that one: unreel index {init} {shlex.quote(str(source))} --out INDEX"
    )


def advise_retraining(
    folder: ExplorationFolder, request: ExploreRequest, manifest: Manifest, narration: Narration
) -> None:
    """Say when the encoder has not seen some videos, or was trained with other options than those given."""
    trained_on = {video.content_hash for video in Manifest.load(folder.run).videos}
    num_new = len({video.content_hash for video in manifest.videos} - trained_on)
    if num_new:
        narration.detail(
            f"it has not seen {format_count(num_new, 'new video')}; with --retrain, a new encoder is trained on all"
        )
    if request.names_options and folder.requests.get(folder.run.name) != request.training_options:
        narration.detail("it was trained with other options; with --retrain, a new encoder is trained with those given")


def require_two_instances(manifest: Manifest, request: ExploreRequest) -> None:
    """Raise InputError where there is nothing to compare with."""
    segment_s = request.run_config.settings.segment_s
    if len(build_instances(manifest, segment_s)) >= 2:
        return
    num_files = len(manifest.videos)
    found = f"one video of {format_duration(manifest.videos[0].duration_s)} can be used"
    if num_files > 1:
        found = f"{num_files:,} files can be used, all with the same content"
    longer = (
        f" of more than {format_duration(LONG_VIDEO_SEGMENTS * segment_s)}" if segment_s else ", cut by --segment-s"
    )
    raise InputError(
        f"{request.source}: {found}. Training compares videos with each other, so it needs two, or one "
        f"recording{longer}: add some and run the same command again. Without training, an encoder that was trained on "
        f"other videos can index it: unreel index RUN {request.source} --out INDEX"
    )


def describe_budget(settings: Settings) -> str:
    """How long the training is to take, in the words of its settings; the training itself says the time."""
    if settings.minutes is not None:
        return f"this is to take {format_duration(60 * settings.minutes)}, with its report"
    if settings.steps:
        return f"this takes {format_count(settings.steps, 'step')}"
    if settings.epochs:
        return f"this takes {format_count(settings.epochs, 'epoch')}"
    return "this takes as long as these videos need; --minutes M sets a limit"


def choose_appearance(folder: ExplorationFolder, request: ExploreRequest) -> str:
    """The image model that is asked for, else that of the index there is or of the one before it, else none ("").

    Raises InputError where the index there is has another.
    """
    if request.appearance is not None:
        require_appearance_of_index(folder.index, request.appearance)
        return request.appearance
    for number in (folder.number, folder.number - 1):
        store = folder.get_numbered("index", number)
        if number > 0 and (store / STORE_JSON).exists():
            return str(get_appearance(read_store_json(store)).get("model", ""))
    return ""


def require_appearance_of_index(index: Path, model: str) -> None:
    """Raise InputError where an index has another image model than the one asked for, "" for none."""
    if not (index / STORE_JSON).exists():
        return
    own = str(get_appearance(read_store_json(index)).get("model", ""))
    if own != (resolve_model(model) if model else ""):
        made = f"with the image model {own}" if own else "without an image model"
        raise InputError(
            f"{index} was made {made}. Ask for the same; or delete that folder, with its concepts, and the same "
            "command makes it anew"
        )


def index_videos(
    folder: ExplorationFolder, request: ExploreRequest, manifest: Manifest, narration: Narration
) -> StoreSummary:
    """Stage 3: bring the index up to date, and take the concepts of an earlier encoder's index along."""
    narration.begin(3, "index", f"the moments of {format_count(len(manifest.videos), 'video')}, in {folder.index}")
    sampling = SlidingWindow(appearance=choose_appearance(folder, request))
    if sampling.appearance:
        narration.detail(f"with the looks that {sampling.appearance} sees beside the motion, which takes longer")
    options = StoreUpdateOptions(1, request.allow_import, narration.measure)
    store = update_index(folder.run, request.real_source, folder.index, sampling, options).store
    moments = f"{format_count(store.num_rows, 'moment')} of {format_count(store.num_videos, 'video')}"
    new = f", {store.num_embedded or 'none'} of them new"
    is_update = folder.is_complete and store.num_embedded < store.num_videos  # at first all are new, but for doubles
    narration.detail(f"{moments}{new * is_update}{narration.format_elapsed()}")
    quarantined = {failure.path for failure in manifest.quarantine}
    further = [failure for failure in store.left_out if failure.path not in quarantined]
    for failure in further[:MAX_NAMED_FILES]:
        narration.detail(f"left out: {format_path(failure.path, manifest.root)}: {format_path(str(failure))}")
    if len(further) > MAX_NAMED_FILES:
        narration.detail(f"... and {len(further) - MAX_NAMED_FILES:,} more, see {folder.index / 'left_out.csv'}")
    if folder.number > 1:
        keep_concepts(folder.get_numbered("index", folder.number - 1), folder.index, narration)
    if not folder.is_complete:
        folder.indexed.append(folder.run.name)
        folder.save()
    return store
