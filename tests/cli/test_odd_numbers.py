"""Numbers that no option can have are refused in one line, or by the parser, and nothing is made."""

from pathlib import Path

import pytest
from commands import call

HUGE = "99999999999999999999999"
ODD_NUMBERS = [
    ("search", "--count", ["0", "-1", "nan", "1e23"]),
    ("search", "--from", ["-1", "nan", "inf", "1e23"]),
    ("search", "--to", ["0", "-1", "nan"]),
    ("search", "--motion", ["-1", "nan", "inf", "1e23"]),
    ("search", "--fold", ["nan"]),
    ("search", "--gap-s", ["nan"]),
    ("concept", "--above", ["-1", "nan", "1e23"]),
    ("concept", "--count", ["-1", "inf"]),
    ("concept", "--next", ["-1", "nan"]),
    ("pack", "--workers", ["-1", "nan", HUGE]),
    ("pack", "--short-side", ["0", "-1", HUGE]),
    ("pack", "--gop", ["0", "-1", HUGE]),
    ("pack", "--crf", ["-1", "nan", "1e23"]),
    ("pack", "--psnr-db", ["-1", "nan", "inf"]),
    ("pack", "--segment-s", ["0", "-1", "nan"]),
    ("pack", "--shard-mb", ["0", "-1", "nan"]),
    ("serve", "--port", ["-1", "nan", HUGE]),
    ("serve", "--upload-mb", ["0", "-1", "nan"]),
    ("serve", "--upload-s", ["0", "-1", "nan"]),
    ("serve", "--cache-gb", ["-1", "nan"]),
]


@pytest.mark.parametrize(("command", "option", "values"), ODD_NUMBERS, ids=lambda value: str(value)[:20])
def test_numbers_that_no_option_can_have(
    command: str, option: str, values: list[str], motion_index: Path, motion_set: Path, tmp_path: Path
) -> None:
    video = next(motion_set.rglob("*.mp4"))
    words = {
        "search": [motion_index, video],
        "concept": [motion_index, "odd", "--yes", "1", "--no", "3"],
        "pack": [motion_set, tmp_path / "packed"],
        "serve": [motion_index],
    }
    for value in values:
        done = call(command, *words[command], f"{option}={value}")
        lines = [line for line in done.err.splitlines() if line.strip()]
        assert done.code == 2 and "Traceback" not in done.err, (value, done)
        if len(lines) == 1:
            told = (option, f"got {value}", f"got {float(value)}", f"got {float(value):g}", f" {float(value):g} s")
            assert lines[0].startswith("unreel:") and any(word in lines[0] for word in told), done.err
        else:  # the parser's box
            assert option in done.err, done.err
    assert not list(tmp_path.iterdir()) and not list(motion_index.glob("concepts/odd*"))
