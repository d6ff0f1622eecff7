"""From a folder of videos to an index that the page can show, in one call that can be repeated."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unreel.corpus.discovery import find_videos
from unreel.corpus.manifest import Manifest
from unreel.errors import InputError
from unreel.io.limits import use_limits
from unreel.io.text import format_count
from unreel.methods.registry import DEFAULT_METHOD
from unreel.models.frozen.catalogue import load_frozen_model
from unreel.training.batches import build_training_limits
from unreel.training.dry_run import validate_config
from unreel.training.run_folder.config import build_run_config
from unreel.training.runtime.auto_settings import resolve_config
from unreel.training.runtime.launch import is_launched
from unreel.training.runtime.signals import end_like_ctrl_c
from unreel.types import FileFailure
from unreel.verbs.exploration.exploration_folder import ExplorationFolder, default_folder, open_exploration
from unreel.verbs.exploration.narration import Narration
from unreel.verbs.exploration.stages import (
    ExploreRequest,
    FoundFiles,
    index_videos,
    inspect_videos,
    tell_verdict,
    train_encoder,
)
from unreel.video.sampling.clip_spec import ClipSpec

PROBE_SIZE = 64  # pixels of a clip that an image model is tried with


@dataclass(frozen=True)
class Exploration:
    """What an exploration has made: its folder, the run with the encoder, the index, and the videos.

    `num_rows` moments are in the index; `left_out` are the files that could not be embedded.
    """

    folder: Path
    run: Path
    index: Path
    manifest: Manifest
    num_rows: int
    left_out: list[FileFailure]


def explore(
    source: str | Path,
    out: str | Path | None = None,
    method: str = DEFAULT_METHOD,
    retrain: bool = False,
    quiet: bool = False,
    allow_import: bool = False,
    appearance: str | None = None,
    **options: Any,
) -> Exploration:
    """Inspect videos, train an encoder on them and index their moments; called again, go on and take in new files.

    The page over the result is `unreel serve INDEX`; the command `unreel explore` opens it.

    Args:
        source: a folder of videos, a text file of paths, a CSV or a packed corpus.
        out: folder for everything that is made; by default NAME.unreel in the working directory.
        method: name of a method or preset, or your own: path/to/file.py:preset, module:preset.
        retrain: train a new encoder although there is one, e.g. when many videos are new; the old one stays.
        quiet: print nothing.
        allow_import: import, and so run, code of your own that the run names as its network or method.
        appearance: an image model whose features stand beside the encoder's in the index: "efficientnet-lite2", or the
            folder of a model of transformers; None leaves it as it is.
        options: fields of the method's Config or of Settings, e.g. minutes=30.

    Returns:
        Where the run and the index lie, the manifest of the videos, and the number of rows.

    Raises:
        InputError: there are fewer than two videos, an option can't be used, or `out` is of other videos.
        RunError: another process works in `out`.
        DiskError: `out` can't be written.

    >>> small = dict(batch_size=4, size=32, workers=0, held_out=0)
    >>> exploration = unreel.explore(videos / "test.txt", out, steps=2, quiet=True, **small)
    >>> len(exploration.manifest.videos), exploration.index.name
    (8, 'index')
    """
    config = build_run_config(method, options)
    request = ExploreRequest(Path(source), config, retrain, bool(options), allow_import, appearance=appearance)
    return run_stages(request, Path(out) if out is not None else None, Narration(quiet=quiet))


def run_stages(request: ExploreRequest, out: Path | None, narration: Narration) -> Exploration:
    """`explore` with its sentences and progress bars. Raises UnreelError, and KeyboardInterrupt with how to go on."""
    require_single_process(request)
    require_appearance(request)
    validate_config(resolve_config(request.run_config))
    left_aside: Counter[str] = Counter()
    path, entries = out or default_folder(request.source), find_videos(request.real_source, left_aside=left_aside)
    limits = build_training_limits(request.run_config.settings)
    with explain_stop(request), use_limits(limits), open_exploration(path, request.real_source) as folder:
        narration.tell(
            f"{request.source}: everything that is made lies in {path}. Ctrl-C stops; the same command goes on."
        )
        manifest = inspect_videos(folder, request, FoundFiles(entries, left_aside), narration)
        train_encoder(folder, request, manifest, narration)
        tell_verdict(folder.run, request.source, narration)
        store = index_videos(folder, request, manifest, narration)
        narration.tell(f"\n{summarize(folder, manifest, store.num_rows)}")
        return Exploration(path, folder.run, folder.index, manifest, store.num_rows, store.left_out)


def summarize(folder: ExplorationFolder, manifest: Manifest, num_moments: int) -> str:
    """One line with the result of all stages, since that of the first has long left the screen."""
    num_bad, num_files = len(manifest.quarantine), len(manifest.quarantine) + len(manifest.videos)
    left_out = f"; {num_bad:,} of {num_files:,} files can't be used, see {folder.quarantine_path}" if num_bad else ""
    found = f"{format_count(num_moments, 'moment')} of {format_count(len(manifest.videos), 'video')}"
    return f"{folder.path} is complete: {found}{left_out}"


def require_appearance(request: ExploreRequest) -> None:
    """Raise InputError for an image model that can't be loaded: before hours of training, not after."""
    if request.appearance:
        load_frozen_model(request.appearance, ClipSpec(), (PROBE_SIZE, PROBE_SIZE), num_images=1)


def require_single_process(request: ExploreRequest) -> None:
    """Raise InputError where several processes would work on one folder."""
    if is_launched() or request.run_config.settings.devices > 1:
        raise InputError(
            "explore works in one process; for several, use unreel pretrain --devices and unreel index --devices"
        )


@contextlib.contextmanager
def explain_stop(request: ExploreRequest) -> Iterator[None]:
    """Ctrl-C and SIGTERM end with the command that goes on."""
    with end_like_ctrl_c():
        try:
            yield
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(f"stopped; what is done is kept. Go on with: {request.command}") from stop
