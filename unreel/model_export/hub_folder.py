"""An encoder as a folder for a model hub: weights, descriptions, card and licence; and its upload."""

import importlib
import json
import os
from pathlib import Path
from typing import Any

import torch

from unreel.embedding import VideoEncoder, load_encoder
from unreel.errors import CheckpointError, InputError
from unreel.io.checksums import write_checksums
from unreel.model_export.clip_description import describe_as_timm, describe_model
from unreel.model_export.model_card import NO_LICENCE, write_model_card
from unreel.models.encoder.base_encoders import BASE_ENCODERS
from unreel.models.encoder.checkpoint_files import HEADS_FILE, SPEC_FILE, WEIGHTS_FILE, find_checkpoint, save_encoder
from unreel.models.released.import_report import PRETRAINING_FILE

CARD_FILE, DESCRIPTION_FILE, LICENCE_FILE = "README.md", "config.json", "LICENSE"
UNSTATED = "The author has named no licence for these weights. Ask before you use them.\n"


def write_hub_folder(encoder: VideoEncoder, run: Path, licence: str, folder: Path) -> None:
    """Fill an existing folder, which `load_encoder` then reads as the same encoder. Raises InputError, OSError."""
    about, (name, text) = describe_model(encoder), read_licence(licence, run)
    save_encoder(encoder, folder)
    description = describe_as_timm(encoder, name) | about
    (folder / DESCRIPTION_FILE).write_text(json.dumps(description, indent=2) + "\n")
    (folder / CARD_FILE).write_text(write_model_card(run, about, name))
    (folder / LICENCE_FILE).write_text(text)
    kept = find_checkpoint(run) / PRETRAINING_FILE
    if kept.is_file():
        (folder / PRETRAINING_FILE).write_bytes(kept.read_bytes())
    names = [name for name in (WEIGHTS_FILE, HEADS_FILE, SPEC_FILE) if (folder / name).exists()]
    write_checksums(folder, names)
    require_equal(encoder, folder)


def read_licence(licence: str, run: Path) -> tuple[str, str]:
    """The hub's name of a licence, and the text of LICENSE: of a file, else of a name such as "mit" or "apache-2.0".

    The encoders that come with unreel have its licence. Raises InputError.
    """
    if not licence and find_checkpoint(run).parent == BASE_ENCODERS:
        licence = "apache-2.0"
    if not licence:
        return NO_LICENCE, UNSTATED
    path = Path(licence)
    try:
        if path.is_file():
            return NO_LICENCE, path.read_text()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the licence can't be read ({error})") from error
    if not licence.replace("-", "").replace(".", "").isalnum():
        raise InputError(f"'{licence}' is neither a file nor a name of a licence such as mit or apache-2.0")
    return licence.lower(), f"SPDX-License-Identifier: {licence}\n"


def require_equal(encoder: VideoEncoder, folder: Path) -> None:
    """Raises CheckpointError unless the folder loads as the same encoder, equal to the bit."""
    again = load_encoder(folder, allow_import=True)
    state, found = encoder.backbone.state_dict(), again.backbone.state_dict()
    same = state.keys() == found.keys() and all(torch.equal(state[name].cpu(), found[name]) for name in state)
    if not same or again.spec != encoder.spec:
        raise CheckpointError(f"{folder}: what was written does not load as the same encoder; nothing was kept")


def import_hub() -> Any:
    """huggingface_hub. Raises InputError where it is not installed."""
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise InputError(f"--push needs huggingface_hub ({error}): pip install 'unreel[export]'") from error


def push_folder(folder: Path, repository: str) -> str:
    """Upload a folder as the private repository "USER/NAME", made where it is new; returns its address.

    The hub is that of HF_ENDPOINT, the token that of HF_TOKEN or of `hf auth login`. Raises InputError.
    """
    hub = import_hub()
    try:
        api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
        address = api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Encoder made by unreel")
    except Exception as error:  # of the library, of requests, of the hub
        text = " ".join(str(error).split())[:200]
        raise InputError(
            f"{repository}: the hub did not take {folder}, which is kept ({text}); check the name, the connection and "
            "`hf auth login`"
        ) from error
    return str(address)
