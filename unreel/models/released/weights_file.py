"""A file of weights of unknown origin, read without running code: all its tensors, and the plain values beside them.

`torch.load(weights_only=True)` rebuilds tensors and plain containers and refuses all else. Beside these only
`argparse.Namespace` is let in, in which many training scripts keep their options: it takes values and runs nothing.
Numbers and arrays of NumPy and paths, which stand beside the weights of whole training states, are dropped unbuilt.
"""

import argparse
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from unreel.errors import InputError, no_weights_error
from unreel.io.checksums import hash_file
from unreel.models.released.foreign_files import explain_foreign_file
from unreel.models.released.tensorflow_checkpoint import read_tensorflow_checkpoint

CODE_NAME = re.compile(r"unsupported global:? (?:GLOBAL )?([\w.]+)", re.IGNORECASE)  # in errors of torch
DROPPED = (  # what torch.save calls values that no network needs
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer", "numpy.dtype", "numpy.ndarray"),
    *(f"pathlib.{kind}Path" for kind in ("Posix", "Windows", "PurePosix", "PureWindows")),
)
MAX_DEPTH = 8  # of containers in each other; released files have three
STRIP = "torch.save(torch.load(FILE, weights_only=False)[KEY], NEW)"


@dataclass(frozen=True)
class WeightsFile:
    """Tensors and plain values (numbers, texts) of a file by the keys that lead to them, joined with dots."""

    path: Path
    tensors: dict[str, Tensor]
    values: dict[str, int | float | str]
    checksum: str


class Dropped:
    """Stands in for a value of `DROPPED`: takes whatever it would be built of and does nothing with it."""

    def __init__(self, *_args: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass


def read_weights_file(path: Path) -> WeightsFile:
    """Read a file of safetensors or of `torch.save`, old or new. Raises InputError, one sentence for whatever it is."""
    if not path.is_file():
        raise no_weights_error(path, "a folder" if path.is_dir() else "no such file")
    try:
        content, checksum = load_content(path), hash_file(path)
    except InputError:
        raise
    except Exception as error:  # safetensors, pickle, zip and torch each raise their own kinds
        raise explain_foreign_file(path) or InputError(explain_refusal(path, error)) from error
    found = [(name, value) for name, value in walk(content) if name]
    tensors = {name: value for name, value in found if isinstance(value, Tensor)}
    if not tensors:
        if any(name.endswith(".weight") for name, value in found if isinstance(value, Dropped)):
            raise InputError(
                f"{path}: its weights are arrays of NumPy, not tensors; save {{name: torch.from_numpy(array)}} of them"
            )
        raise InputError(f"{path}: no tensors there; save the network's state_dict()")
    values = {name: value for name, value in found if isinstance(value, int | float | str)}
    return WeightsFile(path, tensors, values, checksum)


def load_content(path: Path) -> Any:
    """What is in the file; safetensors are known by their header, checkpoints of TensorFlow by their index."""
    with open(path, "rb") as file:
        head = file.read(9)
    if not head:
        raise InputError(f"{path}: an empty file; get it again")
    if path.suffix == ".index":
        return read_tensorflow_checkpoint(path)
    if len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return safetensors.torch.load_file(path)
    let_in: list[Any] = [argparse.Namespace, *((Dropped, name) for name in DROPPED)]
    with torch.serialization.safe_globals(let_in), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about kinds of pickle
        return torch.load(path, map_location="cpu", weights_only=True)


def explain_refusal(path: Path, error: Exception) -> str:
    """One sentence for an error of a reader; what would have to be run is named, not run."""
    text = " ".join(str(error).split())
    if code := CODE_NAME.search(text):
        return (
            f"{path}: it holds {code[1][:80]}, which is code and was not run; if you trust the file, save its weights "
            f"alone: {STRIP}"
        )
    if text.startswith("Weights only load failed") or isinstance(error, KeyError):
        return f"{path}: no file of weights that can be read (damaged, or a pickle of another kind); get it again"
    if isinstance(error, MemoryError | RecursionError):
        return f"{path}: too large or too deeply nested to be read; save the network's state_dict() alone"
    return f"{path}: no file of weights that can be read ({text[:160]}); get it again"


def walk(content: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Values of dictionaries in each other with their joined keys; lists are passed over."""
    if isinstance(content, argparse.Namespace):
        content = vars(content)
    if isinstance(content, dict):
        if depth < MAX_DEPTH:
            for key, value in content.items():
                if isinstance(key, Dropped):
                    continue
                yield from walk(value, f"{name}.{key}" if name else str(key), depth + 1)
    else:
        yield name, content
