"""What pyproject.toml can't say: the description on a package index is README.md with links that work there.

An index shows the README without the files around it. With an address `Repository` in [project.urls], its links go
there, at the tag of the version; without one, their text stays and names the file.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?!https?:|#)(?P<file>[^)]+)\)")
IF_PICTURE, IF_FILE = "{address}/raw/v{version}/{file}", "{address}/blob/v{version}/{file}"


def describe_for_index(readme: str, address: str, version: str) -> str:
    """The README with absolute links; with no address, with neither links to files nor pictures."""

    def replace(link: re.Match[str]) -> str:
        if address:
            pattern = IF_PICTURE if link["picture"] else IF_FILE
            place = pattern.format(address=address.rstrip("/"), version=version, file=link["file"])
            return f"{link['picture']}[{link['text']}]({place})"
        if link["picture"]:
            return ""
        return link["text"] if link["text"] == link["file"] else f"{link['text']} ({link['file']})"

    return LINK.sub(replace, readme)


def read_version() -> str:
    """The version that unreel/__init__.py says, without importing it."""
    text = (ROOT / "unreel/__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)[1]


if __name__ == "__main__":
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"].get("urls", {})
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    setup(
        long_description=describe_for_index(readme, urls.get("Repository", ""), read_version()),
        long_description_content_type="text/markdown",
    )
