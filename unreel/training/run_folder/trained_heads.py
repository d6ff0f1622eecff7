"""The projection heads that a run has trained, as part of its encoder, for an index by heads."""

import dataclasses
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from unreel.errors import CheckpointError, RunError
from unreel.io.checksums import verify_checksums
from unreel.models.encoder.checkpoint_files import find_checkpoint
from unreel.models.encoder.encoder import Encoder
from unreel.models.heads import HeadSpec
from unreel.training.run_folder.checkpoint import TRAINING_TENSORS_FILE
from unreel.training.run_folder.config import read_config

# Of the method dual: its tensors are method.heads.NAME.layers.N.weight and .bias.
HEAD_PREFIX, HEAD_PARAMETERS = "method.heads.", ("weight", "bias")


def load_encoder_with_heads(encoder: Encoder, path: str | Path) -> Encoder:
    """An encoder and the heads that it was trained with, from its run or checkpoint. Raises CheckpointError."""
    folder = find_checkpoint(Path(path))
    weights, options = read_heads(folder)
    names = ["clip"] + ["series"] * bool(options.get("series") or options.get("shuffle_rank"))
    if set(weights) != {
        f"{name}.layers.{n}.{part}" for name in ("clip", "series") for n in (0, 2) for part in HEAD_PARAMETERS
    }:
        method = encoder.spec.method
        raise CheckpointError(f"{path}: trained by {method}, which has no heads of its own; index it by its features")
    weights = {key: tensor for key, tensor in weights.items() if key.partition(".")[0] in names}  # trained ones
    specs = []
    for name in names:
        first, last = (weights[f"{name}.layers.{layer}.weight"] for layer in (0, 2))
        segments = int(options["segments"]) if name == "series" else 1
        specs.append(HeadSpec(name, first.shape[1], first.shape[0], last.shape[0], segments))
    with_heads = Encoder(dataclasses.replace(encoder.spec, heads=tuple(specs)), encoder.backbone)
    assert with_heads.heads is not None
    with_heads.heads.load_state_dict(weights)
    return with_heads.eval()


def read_heads(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights of all heads in a checkpoint folder, and the method's options. Raises CheckpointError."""
    try:
        verify_checksums(folder, (TRAINING_TENSORS_FILE,))
        with safetensors.safe_open(folder / TRAINING_TENSORS_FILE, "pt") as file:
            names = [name for name in file.keys() if name.startswith(HEAD_PREFIX)]  # noqa: SIM118
            weights = {name.removeprefix(HEAD_PREFIX): file.get_tensor(name) for name in names}
        return weights, read_config(folder.parent.parent)["options"]
    except (OSError, KeyError, ValueError, RunError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{folder}: its heads can't be read ({error}); name the run") from error
