"""unreel: a folder of unlabelled video in, a video encoder out.

    import unreel

    unreel.pretrain("videos", out="run")
    encoder = unreel.load_encoder("run")
    embeddings = encoder.embed("videos")

Each verb of the command line is a function here: `unreel pretrain` is `unreel.pretrain`.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# The most pixels of a picture that OpenCV opens, as many as a frame of a video may have; it reads this when it loads.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**27))

__version__ = "0.1.0"

if TYPE_CHECKING:
    from unreel.classification.classifier import Classifier
    from unreel.classification.classifier_folder import load_classifier
    from unreel.classification.predictions import Predictions
    from unreel.corpus.inspection import inspect
    from unreel.corpus.motion_set.make_set import make_set
    from unreel.embedding import VideoEncoder as Encoder
    from unreel.embedding import load_encoder
    from unreel.errors import UnreelError
    from unreel.evaluation.feature_protocol import ExtractionOptions
    from unreel.evaluation.labelled_videos import LabelSources
    from unreel.indexing.clustering.clusters import ClusterOptions
    from unreel.indexing.concepts.annotations import MarkedMoments
    from unreel.indexing.concepts.concept_update import list_concepts as concepts
    from unreel.indexing.homes.open_home import open_index
    from unreel.indexing.index.row_filter import RowFilter
    from unreel.indexing.search.query import SearchQuery
    from unreel.indexing.search.results import HitOptions
    from unreel.io.limits import Limits
    from unreel.model_export.mteb_model import MtebModel
    from unreel.model_export.vectorizer import VideoVectorizer
    from unreel.packing.pack import pack
    from unreel.packing.pack_settings import PackSettings
    from unreel.profiling.measure import BenchOptions
    from unreel.report.pages.run_page import write_report
    from unreel.types import Embeddings, Moment
    from unreel.verbs.choices import choices
    from unreel.verbs.classification.apply_classifier import apply_classifier
    from unreel.verbs.classification.train_classifier import train_classifier
    from unreel.verbs.clips import clips
    from unreel.verbs.evaluation.any_protocol import evaluate
    from unreel.verbs.evaluation.compare import compare
    from unreel.verbs.evaluation.evaluate import evaluate_retrieval
    from unreel.verbs.exploration.explore import explore
    from unreel.verbs.indexing.apply import apply
    from unreel.verbs.indexing.cluster import cluster
    from unreel.verbs.indexing.concept import concept
    from unreel.verbs.indexing.embed import embed
    from unreel.verbs.indexing.export import export
    from unreel.verbs.indexing.index import index
    from unreel.verbs.indexing.search import search
    from unreel.verbs.sweep.sweep import sweep
    from unreel.verbs.training.bench import bench
    from unreel.verbs.training.export_model import export_model
    from unreel.verbs.training.import_weights import import_weights
    from unreel.verbs.training.new_method import new_method
    from unreel.verbs.training.pretrain import pretrain
    from unreel.verbs.training.resume import resume
    from unreel.video.decoding.decoder import open_video

# Where each public name is defined. It is imported on first use, so that `import unreel` does not wait for torch.
_DEFINED_IN = {
    "explore": "unreel.verbs.exploration.explore:explore",
    "pretrain": "unreel.verbs.training.pretrain:pretrain",
    "resume": "unreel.verbs.training.resume:resume",
    "new_method": "unreel.verbs.training.new_method:new_method",
    "sweep": "unreel.verbs.sweep.sweep:sweep",
    "bench": "unreel.verbs.training.bench:bench",
    "inspect": "unreel.corpus.inspection:inspect",
    "pack": "unreel.packing.pack:pack",
    "evaluate": "unreel.verbs.evaluation.any_protocol:evaluate",
    "evaluate_retrieval": "unreel.verbs.evaluation.evaluate:evaluate_retrieval",
    "compare": "unreel.verbs.evaluation.compare:compare",
    "embed": "unreel.verbs.indexing.embed:embed",
    "index": "unreel.verbs.indexing.index:index",
    "open_index": "unreel.indexing.homes.open_home:open_index",
    "open_video": "unreel.video.decoding.decoder:open_video",
    "search": "unreel.verbs.indexing.search:search",
    "clips": "unreel.verbs.clips:clips",
    "choices": "unreel.verbs.choices:choices",
    "cluster": "unreel.verbs.indexing.cluster:cluster",
    "concept": "unreel.verbs.indexing.concept:concept",
    "concepts": "unreel.indexing.concepts.concept_update:list_concepts",
    "apply": "unreel.verbs.indexing.apply:apply",
    "train_classifier": "unreel.verbs.classification.train_classifier:train_classifier",
    "load_classifier": "unreel.classification.classifier_folder:load_classifier",
    "apply_classifier": "unreel.verbs.classification.apply_classifier:apply_classifier",
    "export": "unreel.verbs.indexing.export:export",
    "export_model": "unreel.verbs.training.export_model:export_model",
    "import_weights": "unreel.verbs.training.import_weights:import_weights",
    "load_encoder": "unreel.embedding:load_encoder",
    "write_report": "unreel.report.pages.run_page:write_report",
    "make_set": "unreel.corpus.motion_set.make_set:make_set",
    "BenchOptions": "unreel.profiling.measure:BenchOptions",
    "Classifier": "unreel.classification.classifier:Classifier",
    "ClusterOptions": "unreel.indexing.clustering.clusters:ClusterOptions",
    "Embeddings": "unreel.types:Embeddings",
    "Encoder": "unreel.embedding:VideoEncoder",
    "ExtractionOptions": "unreel.evaluation.feature_protocol:ExtractionOptions",
    "HitOptions": "unreel.indexing.search.results:HitOptions",
    "LabelSources": "unreel.evaluation.labelled_videos:LabelSources",
    "Limits": "unreel.io.limits:Limits",
    "MarkedMoments": "unreel.indexing.concepts.annotations:MarkedMoments",
    "Moment": "unreel.types:Moment",
    "MtebModel": "unreel.model_export.mteb_model:MtebModel",
    "PackSettings": "unreel.packing.pack_settings:PackSettings",
    "Predictions": "unreel.classification.predictions:Predictions",
    "RowFilter": "unreel.indexing.index.row_filter:RowFilter",
    "SearchQuery": "unreel.indexing.search.query:SearchQuery",
    "UnreelError": "unreel.errors:UnreelError",
    "VideoVectorizer": "unreel.model_export.vectorizer:VideoVectorizer",
}

__all__ = [
    "BenchOptions",
    "Classifier",
    "ClusterOptions",
    "Embeddings",
    "Encoder",
    "ExtractionOptions",
    "HitOptions",
    "LabelSources",
    "Limits",
    "MarkedMoments",
    "Moment",
    "MtebModel",
    "PackSettings",
    "Predictions",
    "RowFilter",
    "SearchQuery",
    "UnreelError",
    "VideoVectorizer",
    "apply",
    "apply_classifier",
    "bench",
    "choices",
    "clips",
    "cluster",
    "compare",
    "concept",
    "concepts",
    "embed",
    "evaluate",
    "evaluate_retrieval",
    "explore",
    "export",
    "export_model",
    "import_weights",
    "index",
    "inspect",
    "load_classifier",
    "load_encoder",
    "make_set",
    "new_method",
    "open_index",
    "open_video",
    "pack",
    "pretrain",
    "resume",
    "search",
    "sweep",
    "train_classifier",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _DEFINED_IN:
        raise AttributeError(f"module 'unreel' has no attribute '{name}'")
    module, _, attribute = _DEFINED_IN[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
