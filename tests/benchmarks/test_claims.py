"""The claims of the papers: intervals and verdicts against cases known by hand, the plan, a small run."""

import csv
import dataclasses
import math
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from unreel.evaluation.baselines.trivial_baselines import FRAME_DIFFERENCE
from unreel.evaluation.baselines.untrained_encoder import UNTRAINED_ENCODER
from unreel.evaluation.metrics.paired_test import compare_paired
from unreel.training.job import TrainingJob

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import claims
import claims_report
from claims import Args, Task
from claims_report import CLAIMS, FLOOR_ROW, FLOORS, Claim, Difference, RunScores, bootstrap_difference, compare_rows

NO_GROUPS = [""] * 400


def scores_of(groups: list[str], **by_features: np.ndarray) -> RunScores:
    """The same figures in both layers and columns."""
    columns = {name: {"R@1": values_Q, "mAP": values_Q} for name, values_Q in by_features.items()}
    return RunScores({"pooled": columns, "conv5": columns}, groups, 3.0)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [((0.1, 2.0), "seen"), ((0.0, 2.0), "not seen"), ((-1.0, 0.0), "not seen"), ((-2.0, -0.1), "refuted")],
)
def test_the_verdict_follows_the_interval(interval: tuple[float, float], verdict: str) -> None:
    assert Difference(1.0, *interval).verdict == verdict


def test_the_interval_of_one_seed_is_that_of_the_mean_over_videos() -> None:
    values_Q = np.random.default_rng(0).normal(3.0, 10.0, 400)
    found = bootstrap_difference([values_Q], [NO_GROUPS])
    half = 1.96 * values_Q.std() / math.sqrt(400)
    assert found.mean == pytest.approx(values_Q.mean())
    assert found.low == pytest.approx(values_Q.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(values_Q.mean() + half, abs=0.15 * half)


def test_the_interval_over_seeds_is_stretched_for_their_small_number() -> None:
    """Three seeds that differ by a constant: 1 of 27 draws takes the lowest three times, which is more than 2.5 %."""
    rows = [np.full(400, value) for value in (-1.0, 0.0, 1.0)]
    found = bootstrap_difference(rows, [NO_GROUPS] * 3)
    assert found == pytest.approx((0.0, -math.sqrt(1.5), math.sqrt(1.5)))


def test_seeds_that_share_their_videos_are_compared_by_the_paired_test() -> None:
    rng, recordings = np.random.default_rng(0), [f"recording {n // 4}" for n in range(400)]
    a_SQ, b_SQ = rng.normal(5.0, 10.0, (3, 400)), rng.normal(3.0, 10.0, (3, 400))
    by_seed = [
        {"a": scores_of(recordings, rgb=a_Q), "b": scores_of(recordings, rgb=b_Q)}
        for a_Q, b_Q in zip(a_SQ, b_SQ, strict=True)
    ]
    claim, expected = Claim("a above b", "a", "b"), compare_paired(a_SQ, b_SQ, recordings)
    found = compare_rows(by_seed, claim, "pooled", "R@1", same_videos=True)
    assert found == ((expected.difference, expected.low, expected.high), 3)
    own_videos = compare_rows(by_seed, claim, "pooled", "R@1", same_videos=False)
    assert own_videos is not None and own_videos[0] == bootstrap_difference([*(a_SQ - b_SQ)], [recordings] * 3)


def test_whole_groups_are_drawn() -> None:
    values_Q = np.random.default_rng(0).normal(3.0, 10.0, 400)
    one_group = bootstrap_difference([values_Q], [["recording"] * 400])
    assert one_group == pytest.approx((values_Q.mean(),) * 3)


def test_only_seeds_with_both_rows_are_compared() -> None:
    rng = np.random.default_rng(0)
    better, worse = rng.normal(5.0, 1.0, 400), rng.normal(0.0, 1.0, 400)
    of = {"a": scores_of(NO_GROUPS, rgb=better), "b": scores_of(NO_GROUPS, rgb=worse)}
    by_seed = [of, {"a": of["a"]}, of]
    claim = Claim("a above b", "a", "b")
    found = compare_rows(by_seed, claim, "pooled", "R@1", same_videos=True)
    assert found is not None
    difference, num_seeds = found
    assert num_seeds == 2 and difference.verdict == "seen"
    assert difference.mean == pytest.approx((better - worse).mean())
    back = compare_rows(by_seed, Claim("b above a", "b", "a"), "pooled", "R@1", same_videos=True)
    assert back is not None and back[0].verdict == "refuted"
    assert compare_rows([{"a": of["a"]}], claim, "pooled", "R@1", same_videos=True) is None


def test_the_untrained_network_has_the_views_of_the_row_it_is_compared_with() -> None:
    run, joint_run = scores_of(["", ""], rgb=np.array([3.0, 3.0])), scores_of(["", ""], joint=np.array([3.0, 3.0]))
    floors = scores_of(["", ""], rgb=np.zeros(2), joint=np.ones(2), **{FRAME_DIFFERENCE: np.full(2, 2.0)})
    for row, floor, expected in (
        (run, UNTRAINED_ENCODER, 3.0),
        (joint_run, UNTRAINED_ENCODER, 2.0),
        (run, FRAME_DIFFERENCE, 1.0),
    ):
        claim = Claim("", "row", floor)
        found = compare_rows([{"row": row, FLOOR_ROW: floors}], claim, "conv5", "mAP", same_videos=True)
        assert found is not None and found[0].mean == expected
        assert compare_rows([{"row": row}], claim, "conv5", "mAP", same_videos=True) is None


def test_the_tables_show_figures_and_verdicts() -> None:
    floors = {name: np.full(400, 1.0) for name in FLOORS if name != UNTRAINED_ENCODER}
    floors |= {"rgb": np.full(400, 10.0), "residual": np.full(400, 11.0), "joint": np.full(400, 12.0)}
    seed = {
        FLOOR_ROW: scores_of(NO_GROUPS, **floors),
        "trio": scores_of(NO_GROUPS, rgb=np.full(400, 20.0), residual=np.full(400, 21.0), joint=np.full(400, 30.0)),
        "simclr": scores_of(NO_GROUPS, rgb=np.full(400, 15.0)),
    }
    text = claims_report.format_set("A set", [seed, seed], ["trio", "simclr", "moco"], same_videos=True)
    assert "| `trio` | 20.0 ± 0.0 | 21.0 ± 0.0 | 30.0 ± 0.0 |" in text
    assert "| `simclr` | 15.0 ± 0.0 |  | 15.0 ± 0.0 |" in text and "`moco`" not in text
    assert "| untrained encoder | 10.0 ± 0.0 | 11.0 ± 0.0 | 12.0 ± 0.0 |" in text
    assert "| frame difference |  |  | 1.0 ± 0.0 |" in text
    sentence = "| trio above the baseline simclr | `trio` − `simclr` | +15.0 (+15.0 to +15.0) | **seen**"
    assert f"{sentence} |" in text
    alone = claims_report.format_set("A set", [seed], ["trio"], same_videos=True)
    assert f"{sentence}, one seed |" in alone


def test_the_plan_is_seed_by_seed_and_each_row_comes_on_all_sets_at_once() -> None:
    plan = claims.plan_tasks(["jhmdb", "synth8"], ["trio", "iic"], [0, 1])
    assert [task.seed for task in plan] == [0] * 6 + [1] * 6
    assert plan[:4] == [
        *(Task("jhmdb", FLOOR_ROW, 0), Task("synth8", FLOOR_ROW, 0)),
        *(Task("jhmdb", "trio", 0), Task("synth8", "trio", 0)),
    ]


def test_every_row_of_a_claim_is_trained_and_has_a_claim() -> None:
    compared = {row for claim in CLAIMS for row in (claim.above, claim.below)}
    assert compared - set(FLOORS) == set(claims.ROWS)
    assert len(set(claims.ROWS)) == len(claims.ROWS)


@pytest.mark.parametrize("row", claims.ROWS)
def test_every_row_has_the_same_budget(row: str) -> None:
    settings = claims.build_config(row, 3000, 2).settings
    own = claims.parse_options(row.partition(":")[2])
    assert (settings.steps, settings.seed) == (3000, 2)
    for name, value in claims.BUDGET.items():
        assert getattr(settings, name) == own.get(name, value)


def test_the_sets_are_those_that_are_named() -> None:
    args = Args(Path("out"), weizmann=Path("w"), synthetic=True, classes=(8, 14))
    assert claims.list_sets(args) == ["weizmann", "synth8", "synth14"]
    assert "claims.py OUT --weizmann WEIZMANN --synthetic --classes 8 14 --steps" in claims.describe_budget(args)
    assert [claims.is_drawn_by_seed(name) for name in claims.list_sets(args)] == [False, True, True]
    assert claims.get_data(args, Task("weizmann", "trio", 0)) == Path("w")


def test_only_the_marked_part_of_a_page_is_replaced() -> None:
    page = f"before\n{claims.MARKS[0]}\nold\n{claims.MARKS[1]}\nafter\n"
    replaced = claims.replace_marked(page, "new")
    assert replaced == f"before\n{claims.MARKS[0]}\n\nnew\n{claims.MARKS[1]}\nafter\n"
    assert claims.replace_marked(replaced, "new") == replaced
    with pytest.raises(claims.InputError, match="no marks"):
        claims.replace_marked("a page", "new")


@pytest.mark.parametrize("args", [Args(Path("out")), Args(Path("out"), synthetic=True, only=("trioo",))])
def test_what_can_not_be_run_is_refused(args: Args) -> None:
    with pytest.raises(claims.InputError, match="nothing to train on|unknown row 'trioo'"):
        claims.main(args)


def test_a_stopped_run_goes_on_and_a_finished_one_is_kept(
    motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "KEPT_STEPS", (1,))
    for name, value in {"size": 32, "num_frames": 4, "batch_size": 4}.items():
        monkeypatch.setitem(claims.BUDGET, name, value)
    args = Args(tmp_path / "whole", jhmdb=motion_set, steps=2, seeds=(0,), only=("trio", "simclr"), num_clips=1)
    assert claims.main(args) == 0

    def stop_before_step_two(job: TrainingJob) -> None:
        def interrupt(*_: object) -> None:
            if job.state.step == 1:
                os.kill(os.getpid(), signal.SIGINT)

        job.method.register_forward_pre_hook(interrupt)

    stopped = Args(tmp_path / "stopped", jhmdb=motion_set, steps=3, seeds=(0,), only=("trio",), num_clips=1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(claims, "keep_encoders", stop_before_step_two)
        claims.main(stopped)
    run = claims.get_folder(stopped, Task("jhmdb", "trio", 0))
    assert (run / "checkpoints/step-00000002").exists() and not (run / claims.SCORES_FILE).exists()
    assert claims.main(stopped) == 0
    assert [folder.name for folder in (run / "encoders").iterdir()] == ["step-00000003"], "step 1 had passed"

    whole = claims.get_folder(args, Task("jhmdb", "trio", 0)) / "encoders"
    first, last = ((whole / name / "encoder.safetensors").read_bytes() for name in ("step-00000001", "step-00000002"))
    assert first != last
    with (args.out / "claims.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {(line["row"], line["features"]) for line in lines if line["row"] != FLOOR_ROW} == {
        *(("trio", view) for view in ("rgb", "residual", "joint")),
        ("simclr", "rgb"),
    }
    monkeypatch.setattr(claims, "train_row", None)  # nothing is trained again
    monkeypatch.setattr(claims, "score_encoder", None)
    assert claims.main(args) == 0

    kept = dataclasses.replace(args, scores=tmp_path / "kept", out=tmp_path / "elsewhere")  # another day
    for task in claims.plan_tasks(["jhmdb"], ["trio", "simclr"], [0]):
        path = claims.get_scores_path(kept, task)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(claims.get_scores_path(args, task), path)
    assert claims.main(kept) == 0
    assert (kept.out / "claims.csv").read_text() == (args.out / "claims.csv").read_text()
    page = tmp_path / "page.md"
    page.write_text("\n".join(claims.MARKS))
    some = dataclasses.replace(kept, show=True, seeds=(0, 1), only=(), docs=page)  # rows and seeds that are not done
    assert claims.main(some) == 0
    assert "`trio`" in page.read_text() and "`cvrl`" not in page.read_text() and "--show" in page.read_text()

    path = claims.get_scores_path(kept, Task("jhmdb", "trio", 0))
    shutil.copy(claims.get_scores_path(args, Task("jhmdb", "simclr", 0)), path)
    assert claims.run_task(kept, Task("jhmdb", "trio", 0)).startswith(f"FAILED {Task('jhmdb', 'trio', 0)}: {path}: of")
