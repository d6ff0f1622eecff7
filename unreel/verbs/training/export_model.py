"""Write an encoder for other programs."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from unreel.embedding import VideoEncoder, load_encoder
from unreel.errors import InputError
from unreel.io.atomic_write import atomic_folder, atomic_write_text, disk_errors, move_into_place
from unreel.io.output_path import require_new_path, require_writable_path
from unreel.model_export.clip_description import describe_model
from unreel.model_export.destination import HUB, ModelDestination
from unreel.model_export.graph import EncoderGraph
from unreel.model_export.hub_folder import import_hub, push_folder, write_hub_folder
from unreel.model_export.onnx_file import load_onnx, write_onnx
from unreel.model_export.parity import measure_difference, read_clips, require_parity
from unreel.model_export.torch_export_file import load_torch_export, write_torch_export

WRITERS = {"onnx": (write_onnx, load_onnx), "torch-export": (write_torch_export, load_torch_export)}
ANOTHER_PLACE = "choose another place"


@dataclass(frozen=True)
class ModelExport:
    """What was written: the file or folder, how far it is from the encoder at most, measured on which clips, and the
    address of the repository it was pushed to."""

    place: Path
    difference: float
    num_clips: int
    clips: str
    address: str = ""


def export_model(
    run: str | Path,
    to: str,
    videos: str | Path | None = None,
    push: str = "",
    licence: str = "",
    allow_import: bool = False,
) -> ModelExport:
    """Write an encoder for other programs, and measure that it computes the same.

    Args:
        run: a run, a checkpoint or an imported encoder, or "base".
        to: KIND:PLACE, "onnx:FILE.onnx", "torch-export:FILE.pt2" or "hub:FOLDER"; must not exist yet.
        videos: whose clips the written model is compared on; by default those of the training, else drawn ones.
        push: "USER/NAME" to upload a hub folder to, as a private repository of Hugging Face.
        licence: of the weights in a hub folder: a file, or a name such as "mit".
        allow_import: import, and so run, the code of your own that the checkpoint names as its network.

    Returns:
        Where the model is, and the largest difference. A model of which any embedding differs by more than 1e-4 is not
        written.

    Raises:
        InputError: the encoder can't be exported in this way, a package is missing, or the model differs.
        CheckpointError: there is no encoder.
        DiskError: the model can't be written.

    >>> unreel.export_model("base", f"hub:{out}").difference
    0.0
    """
    destination, run = ModelDestination.parse(to), Path(run)
    require_new_path(destination.place, ANOTHER_PLACE)
    if destination.kind == HUB:
        return export_hub_folder(run, destination.place, push, licence, allow_import)
    if push or licence:
        raise InputError(f"--to {destination.kind}: only a hub folder is pushed and has a licence; use --to hub:FOLDER")
    require_new_path(destination.description, ANOTHER_PLACE)
    require_writable_path(destination.place)
    encoder = load_encoder(run, allow_import)
    clips, source = read_clips(encoder, None if videos is None else Path(videos), run)
    difference = write_model(encoder, clips, destination, source)
    return ModelExport(destination.place, difference, len(clips), source)


def export_hub_folder(run: Path, folder: Path, push: str, licence: str, allow_import: bool) -> ModelExport:
    """The folder of a model hub, which loads equal to the bit, and its upload. Raises UnreelError."""
    if push:
        import_hub()
    encoder = load_encoder(run, allow_import)
    with (
        disk_errors(folder, "the encoder can't be written", errors=(OSError, SafetensorError)),
        atomic_folder(folder) as temporary,
    ):
        write_hub_folder(encoder, run, licence, temporary)
    address = push_folder(folder, push) if push else ""
    return ModelExport(folder, 0.0, 0, "", address)


def write_model(encoder: VideoEncoder, clips: Tensor, destination: ModelDestination, source: str) -> float:
    """Write a file and its description once it is known to compute the same; returns the largest difference."""
    write, load = WRITERS[destination.kind]
    with (
        disk_errors(destination.place, "the model can't be written"),
        tempfile.TemporaryDirectory(prefix=".unreel-", dir=destination.place.parent) as folder,
    ):
        temporary = Path(folder) / destination.place.name
        write(EncoderGraph(encoder), clips, temporary)
        difference = measure_difference(encoder, load(temporary), clips)
        require_parity(difference, destination.kind)
        parity = {"largest_difference": difference, "clips": len(clips), "of": source}
        about = describe_model(encoder) | {"file": destination.place.name, "parity": parity}
        move_into_place(temporary, destination.place)
        atomic_write_text(destination.description, json.dumps(about, indent=2) + "\n")
    return difference
