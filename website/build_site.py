"""Build the documentation site, strictly: any warning, broken link or missing anchor is an error.

    python website/build_site.py [--out build/site]

The pages are docs/**/*.md with CONTRIBUTING.md and CHANGELOG.md, and the references of commands and of Python, which
are made from the code. Nothing is fetched; build/site/index.html opens from the disk, with its search.
"""

import argparse
import os
import re
import shutil
import tempfile
from pathlib import Path

from command_reference import write_command_pages
from python_reference import write_python_pages

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY_PAGES = ("CONTRIBUTING.md", "CHANGELOG.md")
BASE_ENCODERS = "unreel/models/base_encoders"


def gather_pages(folder: Path) -> None:
    """Everything that the site is made of, below `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder, ignore=shutil.ignore_patterns("*.npz", "claims"))
    shutil.copytree(ROOT / "website" / "theme", folder, dirs_exist_ok=True)
    for name in REPOSITORY_PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        (folder / name.lower()).write_text(text.replace("](docs/", "]("), encoding="utf-8")
    for card in (ROOT / BASE_ENCODERS).glob("*/README.md"):
        shutil.copy(card, folder / f"encoder_{card.parent.name}.md")
    for path in folder.glob("*.md"):
        path.write_text(redirect_links(path.read_text(encoding="utf-8")), encoding="utf-8")
    moved = folder / "moved.md"  # thousands of old names, which would be found instead of what is
    moved.write_text(f"---\nsearch:\n  exclude: true\n---\n{moved.read_text(encoding='utf-8')}", encoding="utf-8")
    write_pages(folder / "reference" / "commands", write_command_pages())
    write_pages(folder / "reference" / "python", write_python_pages())


def redirect_links(text: str) -> str:
    """Links that leave docs/ in the repository, to where these pages stand on the site."""
    text = re.sub(rf"\]\(\.\./{BASE_ENCODERS}/([^/]+)/README\.md\)", r"](encoder_\1.md)", text)
    return re.sub(r"\]\(\.\./(CONTRIBUTING|CHANGELOG)\.md", lambda found: f"]({found[1].lower()}.md", text)


def write_pages(folder: Path, pages: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")


def build_site(sources: Path, out: Path) -> int:
    """Exit code of mkdocs, which prints each warning; in its strict mode one is enough to fail."""
    os.environ["NO_MKDOCS_2_WARNING"] = "1"  # pyproject.toml pins mkdocs below 2
    from mkdocs.__main__ import cli

    gather_pages(sources)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "mkdocs.yml")
        config.write_text(f"INHERIT: {ROOT / 'website' / 'mkdocs.yml'}\ndocs_dir: {sources}\nsite_dir: {out}\n")
        code = cli(["build", "--strict", "--config-file", str(config)], standalone_mode=False)
    return int(code or 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site")
    out = parser.parse_args().out.resolve()
    build_site(out.with_name(out.name + "-pages"), out)
    print(out / "index.html")


if __name__ == "__main__":
    main()
