"""Commands become small and nothing else; blocks are read in order, to their last line."""

import shlex
from pathlib import Path

import pytest
from page_blocks import read_blocks
from page_words import add_options, make_small, replace_words

FEW = "--steps 2 --size 32 --batch-size 4 --workers 0 --threads 1"


@pytest.mark.parametrize(
    ("shown", "run"),
    [
        ("explore videos --minutes 5 --no-open", f"explore videos --no-open -- {FEW}"),
        ("explore videos -- --method cvrl --size 112", "explore videos -- --method cvrl --size 32 --steps 2"),
        ("pretrain A --out B --batch-size 1024 --fps 50", "pretrain A --out B --batch-size 4 --fps 50 --steps 2"),
        ("pretrain --resume RUN", "pretrain --resume RUN"),
        ("synth videos --classes 4 --videos 12", "synth videos --classes 4 --videos 4"),
        ("synth videos --videos 2", "synth videos --videos 2"),
        ("search INDEX VIDEO --from 12", "search INDEX VIDEO --from 12"),
    ],
)
def test_small_commands_differ_in_size_alone(shown: str, run: str) -> None:
    assert " ".join(make_small(shlex.split(shown))).startswith(run)


def test_names_are_replaced_as_whole_words() -> None:
    assert replace_words("a FILE and FILE.csv, x/FILE", {"FILE": "f"}) == "a f and f.csv, x/FILE"
    assert add_options("python benchmarks/step.py --rounds 5", "step").endswith(
        "--rounds 1 --methods iic --size 32 --batch-size 4"
    )


def test_blocks_are_read_in_order(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        'Text\n\n    unreel a x|y  # of two\n    # a comment\n    A="1\n    2"\n    unreel b \\\n      --c\n\n'
        "    a tree\n\nText\n\n    $ unreel d\n    what it says\n\n1. so\n\n        unreel import [--a B]\n"
        "               [--c D]\n\n```python\nimport e\n\ne.f()\n```\n\n    #!/bin/sh\n    g\n"
    )
    assert [(block.line, block.kind, block.text) for block in read_blocks(page)] == [
        (3, "shell", "unreel a x"),
        (3, "shell", "unreel a y"),
        (5, "shell", 'A="1\n2"\nunreel b --c'),
        (10, "text", "a tree"),
        (14, "shell", "unreel d"),
        (19, "shell", "unreel import --a B --c D"),
        (23, "python", "import e\n\ne.f()"),
        (28, "shell", "#!/bin/sh\ng"),
    ]
