"""The hash of an encoder, so that vectors of two encoders are never mixed."""

import json
from typing import Any

from unreel.models.encoder.encoder import Encoder
from unreel.models.frozen.frozen_model import hash_tensors


def describe_encoder(encoder: Encoder) -> dict[str, Any]:
    """What is kept beside embeddings: the encoder's spec and its hash."""
    return {"encoder": encoder.spec.to_json(), "encoder_hash": hash_encoder(encoder)}


def hash_encoder(encoder: Encoder) -> str:
    """SHA-256 of spec and weights, in hex; the same on any device."""
    heads = {} if encoder.heads is None else {f"heads.{n}": t for n, t in encoder.heads.state_dict().items()}
    spec = json.dumps(encoder.spec.to_json(), sort_keys=True).encode()
    return hash_tensors(encoder.backbone.state_dict() | heads, spec)
