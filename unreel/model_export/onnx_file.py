"""An encoder as a file of ONNX."""

import contextlib
import importlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unreel.errors import InputError
from unreel.model_export.clip_description import INPUT, OUTPUTS
from unreel.model_export.graph import EncoderGraph
from unreel.model_export.parity import RunModel


def import_onnx(name: str) -> Any:
    """onnx, onnxscript or onnxruntime. Raises InputError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"--to onnx needs the package {name} ({error}): pip install 'unreel[export]'") from error


def write_onnx(graph: EncoderGraph, clips: Tensor, path: Path) -> None:
    """Export a graph whose batch may have any size; weights stand in the file itself. Raises InputError."""
    for name in ("onnx", "onnxscript"):
        import_onnx(name)
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings(), quiet_logging():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        torch.onnx.export(
            graph,
            (clips[:2],),
            path,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes={INPUT: {0: batch}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )


@contextlib.contextmanager
def quiet_logging() -> Iterator[None]:
    """Without the exporter's words about packages that it could use too."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def load_onnx(path: Path) -> RunModel:
    """The file as a function, run by ONNX Runtime on one thread. Raises InputError."""
    runtime = import_onnx("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = max(1, torch.get_num_threads())
    options.log_severity_level = 3  # errors alone
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features, embedding = session.run(list(OUTPUTS), {INPUT: frames})
        return features, embedding

    return run
