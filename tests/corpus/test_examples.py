"""The examples in the docstrings of corpus and packing run and show what is true."""

import doctest
from pathlib import Path
from types import ModuleType

import pytest

import unreel
from unreel.corpus import discovery, inspection, segments
from unreel.corpus.labels import labelled_set
from unreel.corpus.motion_set import make_set
from unreel.packing import pack, piece_spans

MODULES = [discovery, inspection, segments, make_set, labelled_set, pack, piece_spans]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples(module: ModuleType, motion_set: Path, tmp_path: Path) -> None:
    names = {"unreel": unreel, "videos": motion_set, "out": tmp_path / "out"}
    result = doctest.testmod(module, extraglobs=names)
    assert result.attempted and not result.failed
