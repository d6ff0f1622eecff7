"""The Python API; the command line calls these functions and prints."""

from unreel.api.benching import bench
from unreel.api.catalogue import list_common_options, list_methods
from unreel.api.evaluating import evaluate_retrieval
from unreel.api.training import pretrain, resume, start_run
from unreel.api.using import embed, index, inflate_encoder

__all__ = [
    "bench",
    "embed",
    "evaluate_retrieval",
    "index",
    "inflate_encoder",
    "list_common_options",
    "list_methods",
    "pretrain",
    "resume",
    "start_run",
]
