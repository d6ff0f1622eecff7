"""unreel: a folder of unlabelled video in, a video encoder out.

import unreel
unreel.pretrain("videos", out="run")
encoder = unreel.load_encoder("run")
embeddings = encoder.embed("videos")
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from unreel.api import embed, evaluate_retrieval, index, pretrain, resume
    from unreel.errors import UnreelError
    from unreel.models.encoder import Encoder, load_encoder
    from unreel.report.run_page import write_report
    from unreel.types import Embeddings
    from unreel.video.manifest import inspect
    from unreel.video.packing import pack
    from unreel.video.synth import make_set

# Resolved on first use, so that `unreel --help` and loader processes don't wait for torch.
_MODULE_OF = {
    "pretrain": "unreel.api",
    "resume": "unreel.api",
    "evaluate_retrieval": "unreel.api",
    "embed": "unreel.api",
    "index": "unreel.api",
    "write_report": "unreel.report.run_page",
    "make_set": "unreel.video.synth",
    "inspect": "unreel.video.manifest",
    "pack": "unreel.video.packing",
    "load_encoder": "unreel.models.encoder",
    "Encoder": "unreel.models.encoder",
    "Embeddings": "unreel.types",
    "UnreelError": "unreel.errors",
}

__all__ = [
    "Embeddings",
    "Encoder",
    "UnreelError",
    "embed",
    "evaluate_retrieval",
    "index",
    "inspect",
    "load_encoder",
    "make_set",
    "pack",
    "pretrain",
    "resume",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'unreel' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)
