"""Whether pre-training saw the videos of an evaluation."""

from dataclasses import dataclass
from pathlib import Path

from unreel.corpus.manifest import MANIFEST_FILE, Manifest
from unreel.errors import UnreelError
from unreel.evaluation.labelled_videos import LabelledVideos
from unreel.evaluation.leakage import find_duplicates
from unreel.models.encoder.checkpoint_files import CHECKPOINTS_FOLDER
from unreel.training.run_folder.config import CONFIG_FILE
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
    """A sentence for each list with videos that were in pre-training, by path or by content."""
    run_folder = find_run_folder(run_folder)
    if not (run_folder / MANIFEST_FILE).is_file():
        return [Contamination(f"whether pre-training saw these videos is not known: {run_folder} has no manifest")]
    try:
        manifest = Manifest.load(run_folder)
    except UnreelError as error:
        return [Contamination(f"whether pre-training saw these videos is not known: {error}")]
    seen = [Instance(v.path, n, 0.0, float("inf")) for n, v in enumerate(manifest.videos)]
    sentences = []
    for name, instances, meaning in (
        ("test", videos.test, "seen without labels; figures on videos it has not seen may be lower"),
        ("training", videos.train, "as the papers do: pre-training on the training list, without its labels"),
    ):
        if shared := find_duplicates(seen, instances):
            text = f"{len(shared)} of {len(instances)} {name} videos were in pre-training ({meaning})"
            sentences.append(Contamination(text, is_expected=name == "training"))
    return sentences
