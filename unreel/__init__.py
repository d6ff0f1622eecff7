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
    from unreel.corpus.inspection import inspect
    from unreel.corpus.synthetic_motion import make_set
    from unreel.embedding import VideoEncoder as Encoder
    from unreel.embedding import load_encoder
    from unreel.errors import UnreelError
    from unreel.indexing.index.clip_index import open_index
    from unreel.indexing.search.query import SearchQuery
    from unreel.packing.pack import pack
    from unreel.report.pages.run_page import write_report
    from unreel.types import Embeddings, Moment
    from unreel.verbs.evaluation.evaluate import evaluate_retrieval
    from unreel.verbs.indexing.apply import apply
    from unreel.verbs.indexing.cluster import cluster
    from unreel.verbs.indexing.concept import concept
    from unreel.verbs.indexing.embed import embed
    from unreel.verbs.indexing.export import export
    from unreel.verbs.indexing.index import index
    from unreel.verbs.indexing.search import search
    from unreel.verbs.training.pretrain import pretrain
    from unreel.verbs.training.resume import resume

# Resolved on first use, so that `unreel --help` and loader processes don't wait for torch.
_MODULE_OF = {
    "pretrain": "unreel.verbs.training.pretrain",
    "resume": "unreel.verbs.training.resume",
    "evaluate_retrieval": "unreel.verbs.evaluation.evaluate",
    "embed": "unreel.verbs.indexing.embed",
    "index": "unreel.verbs.indexing.index",
    "open_index": "unreel.indexing.index.clip_index",
    "search": "unreel.verbs.indexing.search",
    "cluster": "unreel.verbs.indexing.cluster",
    "concept": "unreel.verbs.indexing.concept",
    "apply": "unreel.verbs.indexing.apply",
    "export": "unreel.verbs.indexing.export",
    "Moment": "unreel.types",
    "SearchQuery": "unreel.indexing.search.query",
    "write_report": "unreel.report.pages.run_page",
    "make_set": "unreel.corpus.synthetic_motion",
    "inspect": "unreel.corpus.inspection",
    "pack": "unreel.packing.pack",
    "load_encoder": "unreel.embedding",
    "Encoder": "unreel.embedding",
    "Embeddings": "unreel.types",
    "UnreelError": "unreel.errors",
}

__all__ = [
    "Embeddings",
    "Encoder",
    "Moment",
    "SearchQuery",
    "UnreelError",
    "apply",
    "cluster",
    "concept",
    "embed",
    "evaluate_retrieval",
    "export",
    "index",
    "inspect",
    "load_encoder",
    "make_set",
    "open_index",
    "pack",
    "pretrain",
    "resume",
    "search",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'unreel' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULE_OF[name]), "VideoEncoder" if name == "Encoder" else name)
