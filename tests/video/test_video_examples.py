"""The examples in the docstrings of video run and show what is true."""

import doctest
from pathlib import Path
from types import ModuleType

import pytest

from unreel import seeding
from unreel.types import Instance
from unreel.video.decoding import decoder, packet_index, probe, writer
from unreel.video.loading import clip_dataset
from unreel.video.sampling import batch_sampler, clip_sampling, clip_spec, pair_sampling, timeline
from unreel.video.sources import source

MODULES = [seeding, source, decoder, packet_index, probe, writer, clip_dataset]
MODULES += [batch_sampler, clip_sampling, clip_spec, pair_sampling, timeline]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples(module: ModuleType, short_videos: list[Instance], tmp_path: Path) -> None:
    result = doctest.testmod(module, extraglobs={"video": Path(short_videos[0].path), "out": tmp_path})
    assert result.attempted and not result.failed
