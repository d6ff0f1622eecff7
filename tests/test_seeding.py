"""Draws are functions of (seed, epoch, index, stream): pure, independent, uniform."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest

from unreel.seeding import draw_uniforms, make_generator


def first_draws(**which: object) -> np.ndarray:
    """The first number of a row of generators that differ in one argument."""
    base: dict[str, object] = {"seed": 3, "epoch": 5, "index": 7, "stream": "start"}
    ((name, values),) = which.items()
    return np.array([make_generator(**base | {name: v}).random() for v in values])  # type: ignore[arg-type, attr-defined]


def test_same_arguments_same_numbers_whatever_happened_before() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    first = make_generator(1, 2, 3, "crop").random(5)
    make_generator(1, 2, 4, "crop").random(100)
    torch.manual_seed(1)
    np.random.seed(1)
    np.testing.assert_array_equal(make_generator(1, 2, 3, "crop").random(5), first)


def test_numbers_do_not_depend_on_the_process() -> None:
    """A stream's name must not go through `hash`, which every process salts."""
    code = "from unreel.seeding import draw_uniforms; print(draw_uniforms(1, 2, [3, 4], 'crop', 3).tolist())"
    env = os.environ | {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert out.strip() == str(draw_uniforms(1, 2, [3, 4], "crop", 3).tolist())


def test_captured_numbers() -> None:
    """A change here changes every run that was ever recorded."""
    assert make_generator(0, 0, 0, "start").random() == 0.05708688462070999


@pytest.mark.parametrize("which", ["seed", "epoch", "index"])
def test_neighbouring_arguments_give_uniform_unrelated_numbers(which: str) -> None:
    draws = first_draws(**{which: range(4000)})
    assert kstest(draws, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 3.5 / np.sqrt(len(draws))


def test_arguments_do_not_stand_in_for_each_other() -> None:
    numbers = {make_generator(*which, "start").random() for which in np.ndindex(6, 6, 6)}
    assert len(numbers) == 6**3


def test_streams_differ_and_are_unrelated() -> None:
    names = ["start", "order", "negatives", "intra", "clip0/crop", "clip1/crop", "clip0/jitter", "hold-out"]
    rows = np.stack([draw_uniforms(0, 0, range(2000), name, 1)[:, 0].numpy() for name in names])
    related = np.corrcoef(rows) - np.eye(len(names))
    assert np.abs(related).max() < 4 / np.sqrt(2000)


def test_a_row_depends_on_its_own_index_alone() -> None:
    alone = {i: draw_uniforms(9, 4, [i], "crop", 6)[0] for i in (0, 3, 8, 50)}
    for batch in ([0, 3, 8, 50], [50, 8], [3, 3, 0, 50, 8, 1, 2]):
        rows = draw_uniforms(9, 4, batch, "crop", 6)
        assert rows.shape == (len(batch), 6) and rows.dtype == torch.float32
        for i, row in zip(batch, rows, strict=True):
            assert i not in alone or torch.equal(row, alone[i])
        assert torch.equal(rows, draw_uniforms(9, 4, torch.tensor(batch), "crop", 6))


def test_no_rows_for_an_empty_batch() -> None:
    assert draw_uniforms(0, 0, [], "crop", 3).shape == (0, 3)
    assert draw_uniforms(0, 0, torch.zeros(0, dtype=torch.int64), "crop", 3).shape == (0, 3)


def test_uniforms_are_uniform_in_zero_to_one() -> None:
    u = draw_uniforms(0, 0, range(2000), "crop", 50).numpy()
    assert u.min() >= 0 and u.max() < 1
    assert chisquare(np.histogram(u, 100, (0, 1))[0]).pvalue > 0.001
    columns = np.corrcoef(u[:, :10].T) - np.eye(10)
    assert np.abs(columns).max() < 4 / np.sqrt(2000)
