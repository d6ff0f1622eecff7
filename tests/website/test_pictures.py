"""Every figure of the documentation is a picture that a command makes, and stands on a page."""

import re

import pytest
from documented import ROOT, list_pages

PICTURES = sorted(
    p for p in (ROOT / "docs").rglob("*") if p.suffix in (".png", ".jpg", ".jpeg", ".svg", ".gif", ".webp")
)
SCRIPTS = [*ROOT.glob("website/*.py"), *ROOT.glob("examples/*"), *ROOT.glob("benchmarks/*.py")]


@pytest.mark.parametrize("name", [picture.name for picture in PICTURES])
def test_a_script_names_the_picture_that_it_makes(name: str) -> None:
    makers = [
        path for path in SCRIPTS if re.search(rf"(?<![\w-]){re.escape(name)}\b", path.read_text(encoding="utf-8"))
    ]
    assert len(makers) == 1, f"docs/{name}: exactly one script is to make it, and to name it"
    maker = makers[0].relative_to(ROOT).as_posix()
    commands = "\n".join(path.read_text(encoding="utf-8") for path in [makers[0], *list_pages()])
    assert f"python {maker} " in commands, f"docs/{name}: neither a page nor {maker} shows the command"


def test_pages_show_the_pictures_that_are_there() -> None:
    texts = [page.read_text(encoding="utf-8") for page in list_pages()]
    shown = {name for text in texts for name in re.findall(r"!\[[^\]]*\]\((?:docs/)?([^)/]+)\)", text)}
    assert shown == {picture.name for picture in PICTURES}
