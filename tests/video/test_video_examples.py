"""The examples in the docstrings of video run and show what is true."""

import doctest
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import unreel
from unreel import seeding
from unreel.types import Instance
from unreel.video.decoding import decoder, packet_index, probe, writer
from unreel.video.loading import clip_dataset
from unreel.video.reading import frame_reader, frame_times, picture_types
from unreel.video.sampling import batch_sampler, clip_sampling, clip_spec, pair_sampling, timeline
from unreel.video.sources import iso_boxes, source

MODULES = [seeding, source, iso_boxes, decoder, frame_reader, frame_times, packet_index, probe, writer, clip_dataset]
MODULES += [picture_types, batch_sampler, clip_sampling, clip_spec, pair_sampling, timeline]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples(module: ModuleType, short_videos: list[Instance], tmp_path: Path) -> None:
    video = Path(short_videos[0].path)
    names = {"unreel": unreel, "np": np, "video": video, "videos": video.parent, "out": tmp_path}
    result = doctest.testmod(module, extraglobs=names)
    assert result.attempted and not result.failed
