"""What is said while one file is read for long."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from commands import succeeds
from odd_videos import fields_apart
from rich.console import Console

from unreel.cli import progress_bar
from unreel.video.sources import long_read
from unreel.video.sources.long_read import LongRead, tell_of_long_reads


def test_lines_after_five_seconds_and_every_thirty() -> None:
    now_s, said = [0.0], list[Sequence[str]]()
    with tell_of_long_reads(said.append):
        progress = LongRead("videos/a\tb.avi", "decoded once", 200, lambda: now_s[0])
    for second in range(100):
        now_s[0] = float(second)
        progress.advance(2 * second)
    assert said == [
        ["95 s left", "5 % of a\\tb.avi", "decoded once"],
        ["65 s left", "35 % of a\\tb.avi", "decoded once"],
        ["35 s left", "65 % of a\\tb.avi", "decoded once"],
        ["5 s left", "95 % of a\\tb.avi", "decoded once"],
    ]


def test_nobody_is_told_where_nobody_listens() -> None:
    progress = LongRead("a.avi", "decoded once", 10, iter([0.0]).__next__)
    progress.advance(5)  # does not even look at the clock


def test_inspect_says_how_far_a_file_is_that_it_decodes_for_its_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(long_read, "FIRST_LINE_S", 0.0)
    fields_apart(tmp_path / "fields.ts", 12, False)
    succeeds("inspect", tmp_path / "fields.ts", "--out", tmp_path / "manifest")
    said = capfd.readouterr().err
    assert "time left: unknown  0 % of fields.ts  decoded once to find its frames\n" in said


@pytest.mark.parametrize(
    ("width", "said"), [(80, "95 s left  5 % of xxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxx.avi"), (20, "95 s left")]
)
def test_a_line_fits_a_terminal(
    width: int, said: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    console = Console(stderr=True, force_terminal=True, width=width)
    monkeypatch.setattr(progress_bar, "stderr_console", console)
    now_s = iter([0.0, 5.0])
    with tell_of_long_reads(progress_bar.write_line):
        LongRead("x" * 100 + ".avi", "decoded once to find its frames", 100, now_s.__next__).advance(5)
    assert capfd.readouterr().err == f"\r\033[K{said}\n"
