"""Pages are made from the templates beside this file: one file each that opens anywhere and fetches nothing."""

import contextlib
import os
from pathlib import Path
from typing import Any

import jinja2

from unreel.errors import DiskError


def write_html(template: str, context: dict[str, Any], path: Path) -> Path:
    """Write a page, whole or not at all, and return its path. What is no valid text (odd file names) is escaped.

    Raises DiskError.
    """
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    pages = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    text = pages.get_template(template).render(context).encode("utf-8", "backslashreplace")
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(text)
        aside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise DiskError(f"{path}: the page can't be written ({error.strerror})") from error
    return path
