"""What several tests of video share."""

import numpy as np
import pytest

from unreel.types import Instance
from unreel.video.decoding.writer import write_video

NUM_SHORT_FRAMES = 20


@pytest.fixture(scope="session")
def short_videos(tmp_path_factory: pytest.TempPathFactory) -> list[Instance]:
    """Eight videos of 20 frames, each of its own brightness."""
    folder = tmp_path_factory.mktemp("plain")
    for video in range(8):
        write_video(
            folder / f"{video}.mp4",
            (np.full((32, 48, 3), 20 * video + k, np.uint8) for k in range(NUM_SHORT_FRAMES)),
            25.0,
        )
    return [Instance(str(folder / f"{video}.mp4"), video, 0.0, float("inf")) for video in range(8)]
