"""The hash of an encoder, so that vectors of two encoders are never mixed."""

import hashlib
import json
from typing import Any

from unreel.models.encoder.encoder import Encoder


def describe_encoder(encoder: Encoder) -> dict[str, Any]:
    """What is kept beside embeddings: the encoder's spec and its hash."""
    return {"encoder": encoder.spec.to_json(), "encoder_hash": hash_encoder(encoder)}


def hash_encoder(encoder: Encoder) -> str:
    """SHA-256 of spec and weights, in hex; the same on any device."""
    digest = hashlib.sha256(json.dumps(encoder.spec.to_json(), sort_keys=True).encode())
    heads = {} if encoder.heads is None else {f"heads.{n}": t for n, t in encoder.heads.state_dict().items()}
    for name, tensor in sorted((encoder.backbone.state_dict() | heads).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
