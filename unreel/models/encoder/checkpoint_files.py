"""The files of an encoder in a checkpoint (weights, weights of the heads, description), and where a run has them."""

import json
from pathlib import Path
from typing import TypeVar

import safetensors.torch
from torch import Tensor

from unreel.errors import CheckpointError, NeedsImportError, no_encoder_error
from unreel.io.checksums import verify_checksums
from unreel.io.text import parse_json
from unreel.models.encoder.appearance import restore_appearance
from unreel.models.encoder.base_encoders import BASE_ENCODERS, is_base_encoder, list_base_encoders
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.own_code.copies import list_own, save_copies, use_copies

CHECKPOINTS_FOLDER, POINTER_FILE = "checkpoints", "index.json"  # the pointer names the last and the best checkpoint
WEIGHTS_FILE, HEADS_FILE, SPEC_FILE = "encoder.safetensors", "heads.safetensors", "encoder.json"

E = TypeVar("E", bound=Encoder)


def read_encoder(path: str | Path, kind: type[E], allow_import: bool = False) -> E:
    """The encoder, as an instance of `kind`, in a run folder (its best checkpoint, else the last) or in a checkpoint.

    Weights are read from safetensors, so they can hold no code, and all of them must fit. A network of your own is
    imported, and so run as code, only with `allow_import`. Raises CheckpointError, and InputError where the image model
    beside the encoder is not on this machine.
    """
    folder = find_checkpoint(Path(path))
    spec = read_spec(folder)
    for part, name in list_own(name_parts(spec)):
        if not allow_import:
            raise NeedsImportError(
                f"{folder}: its {part.partition(' ')[0]} '{name}' is code outside unreel; if you trust it, add "
                "--allow-import (in Python allow_import=True)"
            )
    use_copies(folder)
    try:
        verify_checksums(folder, (WEIGHTS_FILE,), optional=(SPEC_FILE,))
        weights = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{folder}: the encoder can't be read ({error}); use another checkpoint") from error
    encoder = kind(spec)
    load_weights(encoder, weights, folder)
    if spec.appearance is not None:
        restore_appearance(encoder, spec.appearance, folder)
    return encoder.eval()


def name_parts(spec: EncoderSpec) -> dict[str, str]:
    """What of an encoder may be code of one's own."""
    views = {f"view {number}": name for number, name in enumerate(dict.fromkeys(spec.views.names), 1)}
    return {"backbone": spec.backbone} | views


def load_weights(encoder: Encoder, weights: dict[str, Tensor], folder: Path) -> None:
    """Put the weights, and those of the heads in the folder, into the encoder. Raises CheckpointError."""
    load_network(encoder, weights, folder)
    try:
        if encoder.heads is not None:
            encoder.heads.load_state_dict(safetensors.torch.load_file(folder / HEADS_FILE))
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{folder}: the encoder's heads can't be read ({error}); use another") from error


def load_network(encoder: Encoder, weights: dict[str, Tensor], folder: Path) -> None:
    """Put the weights of the network, read from the folder, into the encoder; all must fit. Raises CheckpointError."""
    try:
        encoder.backbone.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        name = encoder.spec.backbone
        raise CheckpointError(f"{folder}: the weights do not fit a {name} backbone ({first})") from error


def read_spec(folder: Path) -> EncoderSpec:
    """The description of the encoder of a checkpoint, without its weights. Raises CheckpointError."""
    try:
        data = parse_json((folder / SPEC_FILE).read_text())
        if not isinstance(data["backbone"], str):
            raise ValueError(f"its backbone is {data['backbone']!r}, not a name")
        return EncoderSpec.from_json(data)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder}: the encoder's {SPEC_FILE} can't be read ({error}); use another") from error


def find_checkpoint(path: Path) -> Path:
    """The folder of the encoder: `path` itself, the best (else last) checkpoint of a run folder, or that of an encoder
    of the package by its name. Raises CheckpointError."""
    if (path / SPEC_FILE).exists():
        return path
    if is_base_encoder(path):
        return BASE_ENCODERS / path
    pointer = path / CHECKPOINTS_FOLDER / POINTER_FILE
    if not pointer.exists():
        raise no_encoder_error(path, list_base_encoders())
    try:
        names = parse_json(pointer.read_text())
        return pointer.parent / str(names.get("best") or names["last"])
    except (OSError, KeyError, AttributeError, ValueError) as error:
        raise CheckpointError(f"{pointer}: can't be read ({error}); name one of the checkpoints beside it") from error


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Write weights and description into an existing folder; the caller makes it atomic (training/run_folder)."""
    state = clone_shared_tensors(encoder.backbone.state_dict())
    (folder / WEIGHTS_FILE).write_bytes(
        safetensors.torch.save(state)
    )  # save_file would make it unreadable for other users
    if encoder.heads is not None:
        (folder / HEADS_FILE).write_bytes(safetensors.torch.save(clone_shared_tensors(encoder.heads.state_dict())))
    sources = getattr(encoder.backbone, "sources", None)
    save_copies(folder, name_parts(encoder.spec), {"backbone": sources} if sources else {})
    (folder / SPEC_FILE).write_text(json.dumps(encoder.spec.to_json(), indent=2) + "\n")


def clone_shared_tensors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict on the CPU, each tensor with its own memory: safetensors takes no shared (tied) tensors."""
    cloned: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        tensor = tensor.detach().cpu().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        cloned[name] = tensor.clone() if memory in seen else tensor
        seen.add(memory)
    return cloned
