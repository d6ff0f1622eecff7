"""Instances as columns: the sequence that was put in."""

import pickle

import numpy as np
import pytest

from unreel.rows import instance_rows
from unreel.rows.instance_rows import InstanceRows
from unreel.types import Instance

INSTANCES = [
    Instance(f"/v/{n // 3}.mp4", n // 3, 2.5 * (n % 3), 2.5 * (n % 3) + 2.5, "ab"[n % 2], f"g{n % 4}", float(n > 12))
    for n in range(17)
]


@pytest.mark.parametrize("block", [4, 65_536])
def test_a_sequence_of_the_same_instances(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_rows, "BLOCK_ROWS", block)
    rows = InstanceRows.from_instances(INSTANCES)
    assert len(rows) == 17 and list(rows) == INSTANCES and rows == INSTANCES and rows == INSTANCES
    assert [rows[n] for n in range(-17, 17)] == INSTANCES * 2 and rows[3:9] == INSTANCES[3:9] and rows[:0] == []
    assert rows.select(np.arange(17) % 2 == 0) == INSTANCES[::2] and rows.select(np.array([5, 5, 1]))[1] == INSTANCES[5]
    assert InstanceRows.from_instances(rows) is rows and rows != INSTANCES[:-1]
    with pytest.raises(IndexError):
        rows[17]


def test_another_process_gets_the_videos_in_use_alone() -> None:
    rows = InstanceRows.from_instances(INSTANCES)
    assert rows[0] and pickle.loads(pickle.dumps(rows)) == INSTANCES
    some = pickle.loads(pickle.dumps(rows.select(np.array([9, 3, 9]))))
    assert some == [INSTANCES[9], INSTANCES[3], INSTANCES[9]] and len(some.videos) == 2


def test_files_are_found_by_path_and_recordings_by_their_start() -> None:
    rows = InstanceRows.from_instances(INSTANCES).select(slice(2, None))
    assert rows.find_paths(["/v/1.mp4", "/v/9.mp4"]).tolist() == [1, 2, 3]
    assert rows.recording_start_s_N.tolist() == [i.offset_s + i.start_s for i in INSTANCES[2:]]
    assert len(InstanceRows.from_instances(())) == 0


def test_one_value_for_all_takes_no_memory() -> None:
    rows = InstanceRows.from_instances(INSTANCES)
    whole = InstanceRows(rows.videos, rows.row_N, rows.video_N, np.broadcast_to(0.0, 17), rows.end_s_N)
    assert whole.select(np.arange(17) > 3).start_s_N.strides == (0,)
    assert whole.select(np.arange(17) > 3).start_s_N.tolist() == [0.0] * 13
