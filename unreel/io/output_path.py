"""Checks of the place that a command will write to, made before hours are spent."""

import errno
import tempfile
from pathlib import Path

from unreel.errors import DiskError, InputError


def require_new_path(path: Path, advice: str = "choose another --out") -> Path:
    """The path. Raises InputError when a file or folder is there already."""
    if path.exists():
        raise InputError(f"{path} exists already; nothing was changed: {advice}")
    return path


def require_writable_path(path: Path) -> None:
    """Make the folder of a file to write. Raises DiskError when nothing can be written there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
    except FileExistsError as error:
        raise DiskError(f"{path}: nothing can be written there (a file stands in the place of a folder)") from error
    except OSError as error:
        raise DiskError(f"{path}: nothing can be written there ({error.strerror})") from error
