"""Writes pages from the Jinja templates in templates/: each is one file that opens anywhere and loads nothing."""

from pathlib import Path
from typing import Any

import jinja2

from unreel.io.atomic_write import atomic_write_bytes, disk_errors


def write_html(template: str, context: dict[str, Any], path: Path) -> Path:
    """Write a page, whole or not at all, and return its path; characters that are not valid UTF-8 are escaped.

    Raises DiskError.
    """
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    pages = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    text = pages.get_template(template).render(context).encode("utf-8", "backslashreplace")
    with disk_errors(path, "the page can't be written"):
        atomic_write_bytes(path, text, sync=False)
    return path


def flatten_options(options: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A nested dict as pairs of `outer.inner` and value."""
    lines = []
    for name, value in options.items():
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        lines += flatten_options(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, text)]
    return lines
