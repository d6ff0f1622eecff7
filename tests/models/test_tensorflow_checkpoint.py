"""Checkpoints of TensorFlow: what was written comes back, kernels with PyTorch's axes; damage is a sentence."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import refused
from tensorflow_files import write_checkpoint

from unreel.errors import InputError
from unreel.models.released.tensorflow_checkpoint import read_tensorflow_checkpoint
from unreel.models.released.weights_file import read_weights_file

RANDOM = np.random.default_rng(3)
VARIABLES = {
    f"model/backbone/layer_with_weights-{n}/{name}": RANDOM.normal(size=shape).astype(dtype)
    for n in range(12)
    for name, shape, dtype in (
        ("kernel", (3, 1, 2, 4, 5), "float32"),
        ("gamma", (300,), "float32"),
        ("_norm1/beta", (2,), "float16"),
    )
} | {"save_counter": np.array(7), "optimizer/iter": np.array(71488, dtype=np.int64)}


@pytest.fixture
def index(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "ckpt-71488.index", VARIABLES)
    return tmp_path / "ckpt-71488.index"


def test_what_was_written_comes_back(index: Path) -> None:
    found = read_tensorflow_checkpoint(index)
    assert found.keys() == {name.replace("/", ".") for name in VARIABLES}
    for name, array in VARIABLES.items():
        expected = torch.from_numpy(array)
        expected = torch.einsum("thwio->oithw", expected) if name.endswith("kernel") else expected
        assert torch.equal(found[name.replace("/", ".")], expected), name


def test_a_damaged_checkpoint_is_a_sentence(index: Path) -> None:
    """Cut anywhere, or with any byte changed, it is refused in one way or still read; no other error comes out."""
    data, chance, refusals = index.read_bytes(), random.Random(5), 0
    for trial in range(300):
        spoilt = bytearray(data)
        if trial % 2:
            del spoilt[chance.randrange(len(data)) :]
        else:
            spoilt[chance.randrange(len(data))] = chance.randrange(256)
        index.write_bytes(spoilt)
        try:
            read_weights_file(index)
        except InputError as error:
            refusals += 1
            assert str(error).startswith(f"{index}: ") and "\n" not in str(error)
    assert refusals > 150


def test_data_that_is_cut_or_gone_is_a_sentence(index: Path, tmp_path: Path) -> None:
    shard = tmp_path / "ckpt-71488.data-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:-9])
    refused("import", index, "--out", tmp_path / "out", says=("ckpt-71488.data-00000-of-00001 is cut off",))
    shard.unlink()
    refused("import", index, "--out", tmp_path / "out", says=("can be read", "ckpt-71488.data-00000-of-00001"))
    index.write_bytes(b"no index at all" * 9)
    refused("import", index, "--out", tmp_path / "out", says=("a text that begins 'no index at all",))
