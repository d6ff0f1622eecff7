"""The public face of unreel: names, parameters and defaults. A change here is a change for everyone who uses it."""

import inspect
from pathlib import Path
from typing import Any

import unreel

SIGNATURES = {
    "apply": "concept, source, min_probability=0.5, gap_s=0.5, on_progress=..., allow_import=False",
    "apply_classifier": ("classifier, source, out, per='clip', allow_import=False, on_progress=..., **options"),
    "bench": "source=None, method='motion', against='', bench_options=..., **options",
    "choices": "kind",
    "clips": "source, num_frames=16, fps=12.5, size=..., num_clips=1, seed=None",
    "cluster": "index, out, options=None, projection='pca', duplicate_cosine=None, on_progress=...",
    "compare": "evaluations, out=None, group_seeds=True, against='', csv=None, latex=None",
    "concept": "index, name, yes, no=..., discard_marks=False, min_probability=0.5, num_next=10",
    "concepts": "index",
    "embed": "run, source, out, per='video', num_clips=10, on_progress=None, allow_import=False, appearance=''",
    "evaluate": (
        "encoder, run, data, evaluations, sources=None, feature_options=None, on_progress=None, num_clips=10, "
        "allow_import=False, **options"
    ),
    "evaluate_retrieval": (
        "run, data, train=None, test=None, splits=None, num_clips=10, on_progress=None, allow_import=False"
    ),
    "explore": (
        "source, out=None, method='motion', retrain=False, quiet=False, allow_import=False, appearance=None, **options"
    ),
    "export": "index, to, table='unreel', replace=False, nearest='exact'",
    "export_model": "run, to, videos=None, push='', licence='', allow_import=False",
    "import_weights": "file, out, layout='', part='', num_frames=0, size=0, views=...",
    "index": "run, source, out, length_s=0.0, hop_s=0.0, allow_import=False, appearance=''",
    "inspect": (
        "source, root=None, min_frames=2, check='auto', shots=True, on_progress=None, workers=None, limits=None"
    ),
    "load_classifier": "folder, allow_import=False",
    "load_encoder": "path, allow_import=False",
    "make_set": "out, classes=8, videos=40, seed=0, frames=48, size=..., fps=25.0, test_share=0.3, on_progress=None",
    "new_method": "name, out='.'",
    "open_index": "folder, nearest=None",
    "open_video": "path, allow_cut=False",
    "pack": "source, out, settings=None, root=None, workers=1, on_inspect=None, on_progress=None, limits=...",
    "pretrain": "source, out, method='motion', root=None, quiet=False, config=None, **options",
    "resume": "run, quiet=False, allow_import=False, devices=0, shard='as-before', step=None, steps=None",
    "search": "index, query, options=None, encoder=None",
    "sweep": "plan, out=None, jobs=1, csv=None, latex=None, on_end=...",
    "train_classifier": ("run, labels, out, kind='linear', allow_import=False, on_progress=..., **options"),
    "write_report": "run",
}
OPTIONS = {
    "BenchOptions",
    "ClusterOptions",
    "ExtractionOptions",
    "HitOptions",
    "LabelSources",
    "Limits",
    "PackSettings",
}
VALUES = {
    "Classifier",
    "Embeddings",
    "Encoder",
    "MarkedMoments",
    "Moment",
    "MtebModel",
    "Predictions",
    "RowFilter",
    "SearchQuery",
    "UnreelError",
    "VideoVectorizer",
}


def describe_parameter(parameter: inspect.Parameter) -> str:
    """A name, with its default if that is a plain value."""
    stars = {inspect.Parameter.VAR_KEYWORD: "**", inspect.Parameter.VAR_POSITIONAL: "*"}.get(parameter.kind, "")
    default: Any = parameter.default
    if default is inspect.Parameter.empty:
        return stars + parameter.name
    shown = repr(default) if isinstance(default, (str, int, float, type(None))) else "..."
    return f"{parameter.name}={shown}"


def describe_signature(function: Any) -> str:
    return ", ".join(map(describe_parameter, inspect.signature(function).parameters.values()))


def test_the_functions_and_their_parameters() -> None:
    functions = {name: getattr(unreel, name) for name in unreel.__all__}
    found = {name: describe_signature(value) for name, value in functions.items() if inspect.isfunction(value)}
    assert found == SIGNATURES
    assert set(unreel.__all__) - set(found) == OPTIONS | VALUES


def test_names_that_are_not_public_are_refused_and_all_are_listed() -> None:
    assert set(unreel.__all__) <= set(dir(unreel))
    assert not hasattr(unreel, "everything")


def test_type_checkers_may_read_the_package() -> None:
    assert (Path(unreel.__file__).parent / "py.typed").exists()
