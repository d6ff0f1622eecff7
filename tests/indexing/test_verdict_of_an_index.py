"""What an index knows of its encoder's verdict, and how the scores of hits are shown."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from unreel.cli.indexing.search import print_hit_table
from unreel.errors import CheckpointError
from unreel.evaluation.verdict.decision import FloorComparison, Verdict
from unreel.evaluation.verdict.verdict_file import copy_verdict, read_verdict, write_verdict
from unreel.indexing.index.approximate.ann_index import AnnIndex
from unreel.indexing.index.row_table import RowTable
from unreel.indexing.search.results import Hit, HitOptions, search_by_vector
from unreel.serve.state import describe_verdict
from unreel.types import Moment

LOSS = FloorComparison("moment", "frame difference", 60.0, 70.0, -15.0, -5.0)
BAD, GOOD = (Verdict((loss,), "90 videos") for loss in (LOSS, FloorComparison("moment", "x", 90.0, 70.0, 15.0, 25.0)))
HITS = [Hit(f"{n}.mp4", 0.0, 1.0, score=score, rows=(n,), typical_score=0.96) for n, score in enumerate((1.0, 0.99))]


def make_run(folder: Path, steps: tuple[int, ...] = (10, 20)) -> Path:
    for step in steps:
        (folder / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)
        (folder / "checkpoints" / f"step-{step:08d}" / "encoder.json").write_text("{}")
    (folder / "config.json").write_text("{}")
    names = {"last": f"step-{steps[-1]:08d}", "best": None, "best_step": None}
    (folder / "checkpoints" / "index.json").write_text(json.dumps(names))
    return folder


def test_an_index_takes_the_verdict_about_its_own_checkpoint(tmp_path: Path) -> None:
    run, index = make_run(tmp_path / "run"), tmp_path / "index"
    index.mkdir()
    copy_verdict(run, index)
    assert not (index / "verdict.json").exists()
    write_verdict(run, BAD, "step-00000020")
    copy_verdict(run, index)
    assert read_verdict(index) == BAD and describe_verdict(index) == {
        "level": "not better",
        "headline": "Not better than subtracting frames",
        "explanation": BAD.explanation,
    }
    copy_verdict(run / "checkpoints" / "step-00000010", index)
    assert read_verdict(index) is None, "the verdict is about another checkpoint, and the old copy is gone"
    assert describe_verdict(index) is None
    copy_verdict(run / "checkpoints" / "step-00000020", index)
    assert read_verdict(index) == BAD
    with pytest.raises(CheckpointError):
        copy_verdict(tmp_path, index)


@pytest.mark.parametrize("verdict", [GOOD, None])
def test_hits_are_shown_with_their_likeness(verdict: Verdict | None, capsys: pytest.CaptureFixture[str]) -> None:
    print_hit_table(HITS, verdict)
    printed = capsys.readouterr()
    assert [line.split()[:2] for line in printed.out.splitlines()] == [
        ["row", "likeness"],
        ["0", "1.00"],
        ["1", "0.75"],
    ]
    assert "0 is a typical moment" in printed.err


def test_hits_are_shown_with_their_percentiles_and_the_part_of_the_query(capsys: pytest.CaptureFixture[str]) -> None:
    part = Moment("film.mp4", 61.0, 61.6)
    print_hit_table([dataclasses.replace(HITS[0], percentile=93.4, query_moment=part), HITS[1]], GOOD)
    printed = capsys.readouterr()
    header, first, second = printed.out.splitlines()
    assert header.split()[:4] == ["row", "likeness", "closer", "than"] and header.endswith("of the query")
    assert first.split() == ["0", "1.00", "93", "%", "0:00.0", "0:01.0", "0.mp4", "1:01.0", "to", "1:01.6"]
    assert second.split() == ["1", "0.75", "0:00.0", "0:01.0", "1.mp4"] and "third nearest video" in printed.err


def test_hits_of_an_encoder_below_its_floors_have_ranks_alone(capsys: pytest.CaptureFixture[str]) -> None:
    print_hit_table(HITS, BAD)
    printed = capsys.readouterr()
    assert [line.split() for line in printed.out.splitlines()[1:]] == [
        [str(n - 1), str(n), "0:00.0", "0:01.0", f"{n - 1}.mp4"] for n in (1, 2)
    ]
    assert printed.out.split()[:2] == ["row", "rank"] and "Not better than subtracting frames" in printed.err


def test_likeness_is_relative_to_the_rows_of_the_index() -> None:
    rng = np.random.default_rng(0)
    vectors_ND = (1.0 + 0.05 * rng.normal(size=(300, 8))).astype(np.float32)
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    names = [f"{n}.mp4" for n in range(300)]
    rows = RowTable.from_columns(names, [""] * 300, names, np.zeros(300), np.ones(300))
    options = HitOptions(num_hits=300, gap_s=-1)
    hits = search_by_vector(AnnIndex.build(vectors_ND), rows, vectors_ND[7], options, None, lambda n: vectors_ND[n])
    assert min(hit.score for hit in hits) > 0.9, "cosines lie close together"
    assert hits[0].rows == (7,) and hits[0].likeness == pytest.approx(1.0, abs=1e-4)
    likeness = [hit.likeness for hit in hits if hit.likeness is not None]
    assert likeness == sorted(likeness, reverse=True) and likeness[150] < 0.2 and min(likeness) == 0.0
    assert Hit("a.mp4", score=0.5, rows=(0,)).likeness is None, "a probability is no cosine"
    assert Hit("a.mp4", score=1.0, rows=(0,), typical_score=1.0).likeness == 0.0, "all moments are alike"
