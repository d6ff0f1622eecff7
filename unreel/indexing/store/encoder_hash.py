"""The hash of an encoder, so that vectors of two encoders are never mixed."""

import json
import socket
from dataclasses import dataclass
from typing import Any

from unreel.errors import InputError
from unreel.indexing.store.clip_sampling import ClipSampling
from unreel.models.encoder.encoder import Encoder
from unreel.models.frozen.frozen_model import hash_tensors
from unreel.training.runtime.auto_settings import choose_device


@dataclass(frozen=True)
class SameEncoder:
    """The encoder of a checkpoint as another machine loads it."""

    clip_sampling: ClipSampling
    checkpoint: str
    allow_import: bool
    encoder_hash: str

    def load(self) -> Encoder:
        """On the device of that machine. Raises CheckpointError, and InputError where it is another encoder there."""
        encoder = self.clip_sampling.load_encoder(self.checkpoint, self.allow_import)
        if hash_encoder(encoder) != self.encoder_hash:
            raise InputError(
                f"{self.checkpoint}: another encoder on {socket.gethostname()} than where the command runs",
                "put the run on a disk that all machines have at the same path",
            )
        return encoder.to(choose_device("auto"))


def describe_encoder(encoder: Encoder) -> dict[str, Any]:
    """What is kept beside embeddings: the encoder's spec and its hash."""
    return {"encoder": encoder.spec.to_json(), "encoder_hash": hash_encoder(encoder)}


def hash_encoder(encoder: Encoder) -> str:
    """SHA-256 of spec and weights, in hex; the same on any device."""
    heads = {} if encoder.heads is None else {f"heads.{n}": t for n, t in encoder.heads.state_dict().items()}
    spec = json.dumps(encoder.spec.to_json(), sort_keys=True).encode()
    return hash_tensors(encoder.backbone.state_dict() | heads, spec)
