"""Pages are made from the templates beside this file: one file each that opens anywhere and fetches nothing."""

from pathlib import Path
from typing import Any

import jinja2

from unreel.io.atomic_write import atomic_write_bytes, disk_errors


def write_html(template: str, context: dict[str, Any], path: Path) -> Path:
    """Write a page, whole or not at all, and return its path. What is no valid text (odd file names) is escaped.

    Raises DiskError.
    """
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    pages = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    text = pages.get_template(template).render(context).encode("utf-8", "backslashreplace")
    with disk_errors(path, "the page can't be written"):
        atomic_write_bytes(path, text, sync=False)
    return path
