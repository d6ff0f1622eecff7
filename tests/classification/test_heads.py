"""Heads by themselves: each gives log-probabilities, and comes back from its tensors equal to the bit."""

from typing import Any

import numpy as np
import pytest
import torch

from unreel.classification.classifier_folder import HEADS
from unreel.classification.heads.attentive import AttentiveTrainer
from unreel.classification.heads.finetuned import FinetunedHead
from unreel.classification.heads.head import Head
from unreel.classification.heads.knn import KnnTrainer
from unreel.classification.heads.linear import LinearTrainer
from unreel.errors import CheckpointError
from unreel.evaluation.probes.attentive_pooling import MapTokenizer
from unreel.evaluation.protocols.attentive_probe import AttentiveProtocol
from unreel.evaluation.protocols.knn import KnnProtocol
from unreel.evaluation.protocols.linear_probe import build_linear_scorer

CLASS_N = np.arange(24) % 3
CLIPS_NVD = np.random.default_rng(0).standard_normal((24, 2, 16)).astype(np.float32)
CLIPS_NVD[np.arange(24), :, CLASS_N] += 3
HELD_N = np.arange(24) >= 18


def build(kind: str) -> Any:
    """The trainer of a kind."""
    if kind == "linear":
        return LinearTrainer.for_clips(CLIPS_NVD, seed=0)
    if kind == "knn":
        return KnnTrainer(KnnProtocol())
    return AttentiveTrainer(AttentiveProtocol(epochs=4), MapTokenizer(4, 16))


def fit(kind: str) -> Head:
    if kind == "finetuned":
        return FinetunedHead(torch.from_numpy(CLIPS_NVD[:3, 0]), torch.zeros(3), normalize=True)
    trainer = build(kind)
    head: Head = trainer.fit(CLIPS_NVD, CLASS_N, 3, trainer.choose(CLIPS_NVD, CLASS_N, HELD_N))
    return head


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_gives_probabilities_and_comes_back_equal(kind: str) -> None:
    head = fit(kind)
    assert head.kind == kind
    scores = head.score(CLIPS_NVD[:, 0])
    assert np.exp(scores).sum(axis=1) == pytest.approx(np.ones(24), abs=1e-5) and scores.shape == (24, 3)
    if kind in ("linear", "knn"):
        assert (scores.argmax(axis=1) == CLASS_N).mean() > 0.9
    again = HEADS[kind].from_saved(head.to_json(), head.to_tensors(), 3)
    assert np.array_equal(again.score(CLIPS_NVD[:, 0]), scores)
    with pytest.raises(CheckpointError):
        HEADS[kind].from_saved(head.to_json(), {n: t[..., :-1] for n, t in head.to_tensors().items()}, 3)


def test_the_linear_head_is_the_probe_of_evaluate_linear() -> None:
    trainer = build("linear")
    values = trainer.choose(CLIPS_NVD, CLASS_N, HELD_N)
    head = trainer.fit(CLIPS_NVD[~HELD_N], CLASS_N[~HELD_N], 3, values)
    scorer = build_linear_scorer(trainer.protocol, trainer.kind, 3)
    probe = scorer(CLIPS_NVD[~HELD_N], CLASS_N[~HELD_N], CLIPS_NVD[HELD_N], [values])[0]
    own = np.exp(head.score(CLIPS_NVD[HELD_N].reshape(-1, 16))).reshape(6, 2, 3).mean(axis=1)
    assert own == pytest.approx(probe, abs=1e-6)


def test_no_class_is_impossible_by_votes() -> None:
    scores = np.exp(fit("knn").score(CLIPS_NVD[:, 0]))
    assert scores.min() > 0.01, "as if one more neighbour had voted for all classes alike"
