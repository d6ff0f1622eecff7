"""The Python API; the command line calls these functions and prints."""

from unreel.api.benching import bench
from unreel.api.catalogue import common_options, methods
from unreel.api.evaluating import evaluate_retrieval
from unreel.api.training import pretrain, resume, start
from unreel.api.using import embed, index, inflate_encoder

__all__ = [
    "bench",
    "common_options",
    "embed",
    "evaluate_retrieval",
    "index",
    "inflate_encoder",
    "methods",
    "pretrain",
    "resume",
    "start",
]
