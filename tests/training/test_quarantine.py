"""The quarantine list of a run."""

from pathlib import Path

import pytest
from runs import table

from unreel.errors import DiskError, InputError
from unreel.training.run_folder.quarantine import RunQuarantine
from unreel.types import FileFailure


def test_failing_files_are_written_down_once(tmp_path: Path) -> None:
    quarantine = RunQuarantine(tmp_path, num_files=10, max_bad_share=0.2)
    quarantine.add([])
    assert not quarantine.path.exists()
    quarantine.add([FileFailure("a, b.mp4", "damaged", "frame 3: bad, very\nbad"), FileFailure("a, b.mp4", "damaged")])
    quarantine.add([FileFailure("a, b.mp4", "damaged"), FileFailure("c.mp4", "missing")])
    assert table(quarantine.path) == [
        {"path": "a, b.mp4", "reason": "damaged", "detail": "frame 3: bad, very\nbad"},
        {"path": "c.mp4", "reason": "missing", "detail": ""},
    ]


def test_more_than_the_allowed_share_stops_the_run(tmp_path: Path) -> None:
    quarantine = RunQuarantine(tmp_path, num_files=10, max_bad_share=0.2)
    quarantine.add([FileFailure("a.mp4", "missing"), FileFailure("b.mp4", "missing")])  # a fifth is allowed
    quarantine.add([FileFailure("a.mp4", "missing")])
    with pytest.raises(InputError, match=r"3 of 10 files.*--max-bad-share 0\.2.*quarantine\.csv"):
        quarantine.add([FileFailure("c.mp4", "truncated", "moov")])
    assert [row["path"] for row in table(quarantine.path)] == ["a.mp4", "b.mp4", "c.mp4"]


def test_what_the_inspection_and_earlier_attempts_found_counts(tmp_path: Path) -> None:
    (tmp_path / "quarantine.csv").write_text("path,reason,detail\na.mp4,missing,\nb.mp4,missing,\n")
    quarantine = RunQuarantine(tmp_path, num_files=10, max_bad_share=0.2)
    quarantine.add([])
    quarantine.add([FileFailure("b.mp4", "missing")])
    with pytest.raises(InputError, match="3 of 10"):
        quarantine.add([FileFailure("c.mp4", "missing")])
    assert len(table(quarantine.path)) == 3


def test_a_quarantine_list_that_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"quarantine\.csv"):
        RunQuarantine(tmp_path / "gone", 10, 0.2).add([FileFailure("a.mp4", "missing")])


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"a,b\n1,2\n", b"path\n" + b"x" * 140_000 + b"\n"])
def test_rubbish_in_the_list_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "quarantine.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"quarantine\.csv: not the list that unreel wrote .*; remove it"):
        RunQuarantine(tmp_path, num_files=10, max_bad_share=0.2)
