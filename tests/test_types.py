"""Values that pass between rooms: failures of files, and batches of clips."""

import pytest
import torch

from unreel.errors import VideoError
from unreel.types import Clips, FileFailure


@pytest.mark.parametrize(
    ("reason", "detail", "text"), [("missing", "", "missing"), ("damaged", "a: b", "damaged: a: b")]
)
def test_a_failure_is_written_and_read_back(reason: str, detail: str, text: str) -> None:
    failure = FileFailure.from_error(VideoError("a.mp4", reason, detail))
    assert failure == FileFailure("a.mp4", reason, detail) and str(failure) == text
    assert FileFailure.parse("a.mp4", text) == failure
    assert str(failure.to_error()) == str(VideoError("a.mp4", reason, detail))


def test_truncated_clips_keep_their_failures_and_their_random_draws() -> None:
    failure = FileFailure("a.mp4", "missing")
    rows = torch.arange(4)
    clips = Clips(torch.zeros(4, 1, 2, 8, 8, 3), rows, rows, rows.double(), 3, [failure])
    assert clips.truncate(4) is clips and clips.rng_index_B is rows
    clips.draw_B = rows + 10
    first = clips.truncate(2)
    assert (first.frames.shape[0], first.epoch, first.failures) == (2, 3, [failure])
    assert first.index_B.tolist() == [0, 1] and first.rng_index_B.tolist() == [10, 11]
