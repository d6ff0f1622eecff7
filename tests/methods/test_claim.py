"""The paper's claim in its smallest form: broken copies of a clip as negatives make an encoder see motion.

make test-slow    # docs/results.md has such figures, of methods that stay near chance too
"""

import statistics
from pathlib import Path

import pytest

import unreel
from unreel.views.view_spec import VIEWS

SEEDS = (0, 1, 2)
STEPS = 480


def r_at_1(out: Path, data: Path, seed: int, **options: object) -> dict[str, float]:
    """R@1 of every row of the retrieval table, after training on the files of train.txt."""
    unreel.pretrain(data / "train.txt", out=out, root=data, quiet=True, seed=seed, steps=STEPS, **options)
    result = unreel.evaluate_retrieval(out, data)
    return {name: row["R@1"] for name, row in result.rows.items()}


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
def test_trained_beats_untrained_and_intra_negatives_beat_none(tmp_path: Path) -> None:
    found: dict[str, list[dict[str, float]]] = {"with": [], "without": []}
    for seed in SEEDS:
        data = tmp_path / f"data{seed}"
        unreel.make_set(data, seed=seed)
        common = {"method": "iic", "backbone": "tiny", "device": "cpu"}
        found["with"].append(r_at_1(tmp_path / f"with{seed}", data, seed, **common))
        found["without"].append(r_at_1(tmp_path / f"without{seed}", data, seed, intra_negatives="none", **common))
    mean = {
        (name, row): statistics.mean(run[row] for run in runs)
        for name, runs in found.items()
        for row in ("joint", "untrained encoder", "chance")
    }
    assert mean["with", "joint"] > mean["with", "untrained encoder"]
    assert mean["with", "joint"] > mean["without", "joint"]
    assert mean["with", "joint"] > 2 * mean["with", "chance"]


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("method", ["motion", "trio"])
def test_a_method_beats_its_own_random_start(method: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    unreel.make_set(data, seed=0)
    found = r_at_1(tmp_path / "run", data, 0, method=method, backbone="tiny", device="cpu")
    trained = next(found[name] for name in ("joint", *VIEWS) if name in found)
    assert trained > found["untrained encoder"]
    assert trained > 1.5 * found["chance"]
