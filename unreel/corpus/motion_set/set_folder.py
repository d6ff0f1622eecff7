"""The folder of a synthetic set: checked settings, the split of its videos, and synth.json, which records both."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unreel.errors import InputError
from unreel.io.text import parse_json

SETTINGS_FILE = "synth.json"


def assign_split(number: int, test_share: float) -> str:
    """The split of a video: test videos are spread evenly, so that a longer set keeps the splits of a shorter one."""
    return "test" if int((number + 1) * test_share + 0.5) > int(number * test_share + 0.5) else "train"


def check_settings(rules: Iterable[tuple[bool, str]], size: tuple[int, int], test_share: float, seed: int) -> None:
    """Raise InputError with the message of the first rule (holds, message) that does not hold."""
    common_rules = [
        (min(size) >= 32 and not any(s % 2 for s in size), f"size={size}: height and width must be even, 32 or more"),
        (0 <= test_share < 1, f"test_share={test_share}: must be at least 0 and less than 1"),
        (seed >= 0, f"seed={seed}: must be 0 or more"),
    ]
    for holds, message in [*rules, *common_rules]:
        if not holds:
            raise InputError(message)


def claim_folder(out: Path, settings: dict[str, Any]) -> None:
    """Make the folder, or take one that is empty or holds this set, complete or not. Raises InputError for another."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a new folder for the synthetic set")
    path = out / SETTINGS_FILE
    if not path.exists() and out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty and holds no synthetic set; name a new folder")
    if path.exists() and (present := _read_settings(path)) != settings:
        raise InputError(f"{out} holds a synthetic set of other settings ({present}); name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    write_settings(out, settings, complete=False)


def write_settings(out: Path, settings: dict[str, Any], complete: bool = True, **extra: Any) -> None:
    """Write synth.json; `complete` is False while videos are missing."""
    content = {"settings": settings, "complete": complete, **extra}
    (out / SETTINGS_FILE).write_text(json.dumps(content, indent=1) + "\n")


def _read_settings(path: Path) -> object:
    try:
        return parse_json(path.read_text())["settings"]
    except (ValueError, KeyError, TypeError):
        return "not readable"
