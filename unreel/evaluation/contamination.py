"""Whether pre-training saw the videos of an evaluation."""

from dataclasses import dataclass
from pathlib import Path

from unreel.corpus.manifest import MANIFEST_FILE, Manifest
from unreel.errors import InputError, UnreelError
from unreel.evaluation.labelled_videos import LabelledVideos
from unreel.evaluation.leakage import find_duplicates
from unreel.models.encoder.base_encoders import is_base_encoder
from unreel.models.encoder.checkpoint_files import CHECKPOINTS_FOLDER
from unreel.settings.network import INIT_WORDS, NO_WEIGHTS
from unreel.training.run_folder.config import CONFIG_FILE, read_config
from unreel.types import Instance


@dataclass(frozen=True)
class Contamination:
    """A sentence on what pre-training saw; `is_expected` for the training list, which the papers pre-train on too."""

    text: str
    is_expected: bool = False


def find_run_folder(path: Path) -> Path:
    """The run that a checkpoint belongs to; the path itself where there is none."""
    parent = path.resolve().parent
    return parent.parent if parent.name == CHECKPOINTS_FOLDER and (parent.parent / CONFIG_FILE).is_file() else path


def find_contamination(run_folder: Path, videos: LabelledVideos) -> list[Contamination]:
    """A sentence for each list with videos that were in pre-training, by path or by content.

    A run that began with the weights of another has seen the videos of both.
    """
    try:
        seen = list_seen_videos(run_folder)
    except UnreelError as error:
        return [Contamination(f"whether pre-training saw these videos is not known: {error}")]
    sentences = []
    for name, instances, meaning in (
        ("test", videos.test, "seen without labels; figures on videos it has not seen may be lower"),
        ("training", videos.train, "as the papers do: pre-training on the training list, without its labels"),
    ):
        if shared := find_duplicates(seen, instances):
            text = f"{len(shared)} of {len(instances)} {name} videos were in pre-training ({meaning})"
            sentences.append(Contamination(text, is_expected=name == "training"))
    return sentences


def list_seen_videos(run_folder: Path) -> list[Instance]:
    """The videos that a run has seen, and those of the run that it began with. Raises UnreelError if not known."""
    if is_base_encoder(run_folder):
        return []  # it has seen synthetic clips alone
    run_folder = find_run_folder(run_folder)
    if not (run_folder / MANIFEST_FILE).is_file():
        raise InputError(f"{run_folder} has no manifest")
    seen = [Instance(v.path, n, 0.0, float("inf")) for n, v in enumerate(Manifest.load(run_folder).videos)]
    init = read_initial_weights(run_folder)
    if init in INIT_WORDS:
        return seen
    if not Path(init).is_dir():
        raise InputError(f"the run began with {init}, which names no videos")
    return seen + list_seen_videos(Path(init))


def read_initial_weights(run_folder: Path) -> str:
    """The setting `init` of a run; "none" for one of an earlier version, which had none, and where it can't be read."""
    try:
        return str(read_config(run_folder)["settings"].get("init") or NO_WEIGHTS)
    except (UnreelError, KeyError, TypeError, AttributeError):
        return NO_WEIGHTS
