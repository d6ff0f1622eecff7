"""Every command and every piece of Python of the documentation runs, page by page; what does not is on a list."""

import re
import runpy
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import stand_ins
import tyro
from documented import ROOT
from page_blocks import Block, read_all_blocks
from page_folder import Sources, fill_folder, run_block, run_in_shell
from page_words import replace_words

BLOCKS = read_all_blocks()

WITH_REPORT = ("docs/tutorial.md",)  # of which it makes a picture
NEEDS_BROWSER = ("python website/", "python benchmarks/map.py")


def is_run(block: Block) -> bool:
    return block.kind in ("shell", "python") and not block.text.startswith(tuple(stand_ins.NOT_RUN))


PAGES = sorted({block.page for block in BLOCKS if is_run(block)})


def can_run(block: Block) -> bool:
    """Not where a browser is missing, or pandas or Ray: `make test-slow` installs them."""
    if block.text.startswith(NEEDS_BROWSER) and not shutil.which("chromedriver"):
        return False
    needs = {"to_pandas": "pandas", "--engine ray": "ray"}
    return is_run(block) and all(find_spec(name) for words, name in needs.items() if words in block.text)


@pytest.fixture
def sources(page: str, motion_set: Path, small_run: Path, request: pytest.FixtureRequest) -> Sources:
    asks_database = any("postgres:" in block.text for block in BLOCKS if block.page == page)
    return Sources(motion_set, small_run, request.getfixturevalue("postgres") if asks_database else "")


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("page", [pytest.param(p, marks=[pytest.mark.report] * (p in WITH_REPORT)) for p in PAGES])
def test_the_commands_of_a_page_run(
    page: str, sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fill_folder(page, BLOCKS, sources)
    failed = [run_block(block, sources) for block in BLOCKS if block.page == page and can_run(block)]
    said = "\n\n".join(filter(None, failed))
    assert not said, said
    assert [made for made in stand_ins.MAKES.get(page, ()) if not Path(made).exists()] == []


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_what_make_demo_calls_leads_to_the_report_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make demo` sets up an environment, then calls this script; the picture is made as its own script says."""
    monkeypatch.chdir(tmp_path)
    fill_folder("", [], Sources(tmp_path, tmp_path, ""))
    done = run_in_shell('BIN="$PWD/bin" sh examples/demo.sh demo')
    assert done.code == 0 and "report: demo/explored/run/report.html" in done.out, done
    if shutil.which("chromedriver"):
        picture = Path("docs/report.jpg")
        picture.unlink()
        done = run_in_shell("python website/report_picture.py demo/explored/run docs/report.jpg")
        assert done.code == 0 and picture.exists(), done


SCRIPTS = sorted({block.text for block in BLOCKS if block.kind == "shell" and block.text.startswith("python ")})


class Accepted(BaseException):
    """Raised in place of what a script does, after its arguments were parsed."""


@pytest.mark.parametrize("command", [text for text in SCRIPTS if "benchmarks/" in text])
def test_a_script_accepts_its_command(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every benchmark, also those that only a GPU or days could run."""
    path, *words = shlex.split(command)[1:]
    real = tyro.cli

    def parse(*args: Any, **options: Any) -> None:
        real(*args, **options)
        raise Accepted

    monkeypatch.setattr(tyro, "cli", parse)
    monkeypatch.setattr(sys, "argv", [path, *words])
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    with pytest.raises(Accepted):
        runpy.run_path(str(ROOT / path), run_name="__main__")


def test_every_block_is_run_or_listed_with_its_reason() -> None:
    not_run = [block for block in BLOCKS if not is_run(block)]
    unknown = [block.place for block in not_run if not is_listed(block)]
    assert unknown == [], "not a known program, nor in NO_COMMANDS, NOT_RUN or SAVED of tests/website/stand_ins.py"


def is_listed(block: Block) -> bool:
    shown = stand_ins.NO_COMMANDS.get(block.page, ())
    listed = (block.page, block.kind) in stand_ins.SAVED or (block.text.startswith(tuple(shown)) and bool(shown))
    return listed or (block.kind in ("shell", "python") and block.text.startswith(tuple(stand_ins.NOT_RUN)))


def test_lists_name_what_the_pages_have() -> None:
    """An entry that no command needs any more is to be removed."""
    texts = [block.text for block in BLOCKS]
    commands = "\n".join(texts)
    assert [start for start in stand_ins.NOT_RUN if not any(text.startswith(start) for text in texts)] == []
    assert [word for word, put in stand_ins.WORDS.items() if replace_words(commands, {word: put}) == commands] == []
    assert [shown for shown in stand_ins.PYTHON if shown not in commands] == []
    assert [text for text in stand_ins.SAYS if text not in texts] == []
    assert [name for name in stand_ins.SCRIPTS if f"benchmarks/{name}.py" not in commands] == []
    for page, starts in stand_ins.NO_COMMANDS.items():
        found = [block.text for block in BLOCKS if block.page == page and block.kind == "text"]
        assert [start for start in starts if not any(text.startswith(start) for text in found)] == []
    lying = [*stand_ins.LABELLED, *stand_ins.OFFICIAL, *stand_ins.BOXES, *stand_ins.PACKED, *stand_ins.RUNS]
    lying += [*stand_ins.INDEXES, *stand_ins.TABLES, *stand_ins.OWN_METHODS, *stand_ins.WEIGHTS, *stand_ins.LISTS]
    shown_or_put = commands + "\n".join([*stand_ins.WORDS.values(), *stand_ins.PYTHON.values()])
    assert [name for name in lying if not re.search(rf"\b{re.escape(name)}\b", shown_or_put)] == []
