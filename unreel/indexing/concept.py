"""A concept out of a few marks: a probe on frozen embeddings that ranks everything and says what to mark next."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unreel.errors import InputError
from unreel.evaluation.probes.logistic_regression import fit_logistic_regression
from unreel.indexing.index.vectors import iterate_blocks, sample_rows
from unreel.io.atomic_write import atomic_write_text, disk_errors

FORMAT_VERSION = 1
REGULARISATION_C = 0.01
MAX_ITERATIONS = 200
NUM_UNLABELLED = 300
UNCERTAIN_PER_SUGGESTION = 10


@dataclass(frozen=True)
class Annotations:
    """Rows that are the concept, and rows that are not."""

    positives: tuple[int, ...]
    negatives: tuple[int, ...] = ()


@dataclass(frozen=True)
class Concept:
    """A linear probe: `weight @ row + bias` is above 0 where the answer is yes. It belongs to one encoder.

    Its weights are also a query: the rows with the greatest inner product are the best ranked.
    """

    name: str
    weight: tuple[float, ...]
    bias: float
    encoder_hash: str
    num_yes: int
    num_no: int

    def score_rows(self, vectors_ND: np.ndarray) -> np.ndarray:
        """Probability of yes, float32 (N,), were yes as frequent as no. Raises InputError for another width."""
        weight_D = np.array(self.weight, np.float32)
        if vectors_ND.ndim != 2 or vectors_ND.shape[1] != len(weight_D):
            raise InputError(f"the concept '{self.name}' is of {len(weight_D)} numbers, not of {vectors_ND.shape[1:]}")
        parts = [block @ weight_D + np.float32(self.bias) for _, block in iterate_blocks(vectors_ND)]
        logit_N = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        return (0.5 * (1 + np.tanh(0.5 * logit_N))).astype(np.float32)  # the sigmoid, without overflow

    def save(self, path: Path) -> None:
        """As JSON, in one piece. Raises DiskError."""
        with disk_errors(path, "the concept can't be written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write_text(path, json.dumps({"unreel_concept": FORMAT_VERSION, **dataclasses.asdict(self)}) + "\n")

    @classmethod
    def load(cls, path: Path, encoder_hash: str) -> "Concept":
        """A saved concept; InputError unless it was made with this encoder and is whole."""
        try:
            kept = json.loads(path.read_text())
            version = kept.pop("unreel_concept")
            if version != FORMAT_VERSION:
                raise InputError(
                    f"{path}: a concept of version {version}, this unreel reads {FORMAT_VERSION}; make it again"
                )
            weight = tuple(float(w) for w in kept.pop("weight"))
            concept = cls(weight=weight, **kept)
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}: no concept to read there ({error}); make it again from marked hits") from error
        if concept.encoder_hash != encoder_hash:
            raise InputError(
                f"{path}: made with another encoder than these embeddings; mark some hits and make it again"
            )
        return concept


def fit_concept(
    name: str, vectors_ND: np.ndarray, annotations: Annotations, encoder_hash: str, seed: int = 0
) -> Concept:
    """A logistic regression on the marked rows, yes and no with equal weight. Raises InputError.

    Rows are scaled by one number, the spread of the embeddings, and stay unit rows in the result. Rows drawn from the
    others stand for no too, all of them for as much as the marked, or for all where no is marked: hits marked no are
    hard ones, and alone they say nothing of the rest. As long as few of the drawn are yes, that costs little.
    Source: Elkan, Noto 2008 (positive and unlabelled).
    """
    yes, no = _split_rows(vectors_ND, annotations)
    rng = np.random.default_rng(seed)
    others = _draw_unlabelled(len(vectors_ND), np.r_[yes, no], rng)
    if not len(no) + len(others):
        raise InputError("every row is marked yes, so there is nothing to tell apart; mark some no")
    sample_MD = sample_rows(vectors_ND, 10_000, rng)
    centre_D, scale = sample_MD.mean(axis=0), 1 / max(float(sample_MD.std(axis=0).mean()), 1e-6)
    x_MD = (np.asarray(vectors_ND[np.r_[yes, no, others]], np.float64) - centre_D) * scale
    is_yes_M = np.arange(len(x_MD)) < len(yes)
    fitted = fit_logistic_regression(
        x_MD, is_yes_M, REGULARISATION_C, MAX_ITERATIONS, _make_sample_weights(len(yes), len(no), len(others))
    )
    weight_D = fitted.coef_[0] * scale
    bias = float(fitted.intercept_[0] - weight_D @ centre_D)
    weight = tuple(float(w) for w in weight_D.astype(np.float32))
    return Concept(name, weight, bias, encoder_hash, len(annotations.positives), len(annotations.negatives))


def _make_sample_weights(num_yes: int, num_no: int, num_unlabelled: int) -> np.ndarray:
    """Weight of each row (M,), 1 on average: half for yes, a quarter for each kind of no that there is, else half."""
    counts = [num_yes, num_no, num_unlabelled]
    shares = [0.5, *(0.25 if num_no and num_unlabelled else 0.5 for _ in range(2))]
    parts = [np.full(n, share / max(n, 1)) for n, share in zip(counts, shares, strict=True)]
    return np.concatenate(parts) * sum(counts)


def _split_rows(vectors_ND: np.ndarray, annotations: Annotations) -> tuple[np.ndarray, np.ndarray]:
    if not annotations.positives:
        raise InputError("a concept needs at least one hit marked yes")
    both = set(annotations.positives) & set(annotations.negatives)
    if both:
        raise InputError(f"row {min(both)} is marked yes and no; take one mark away")
    _require_rows(len(vectors_ND), annotations)
    return np.unique(np.array(annotations.positives, np.int64)), np.unique(np.array(annotations.negatives, np.int64))


def _require_rows(num_rows: int, annotations: Annotations) -> None:
    outside = [row for row in (*annotations.positives, *annotations.negatives) if not 0 <= row < num_rows]
    if outside:
        raise InputError(f"row {outside[0]} is marked, but there are {num_rows} rows; mark hits of this index")


def _draw_unlabelled(num_rows: int, labelled: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows drawn from all that are not marked, in their order, without a list of these: it would be as long as all.

    The n-th unmarked row lies as many rows further on as marked ones come before it.
    """
    labelled = np.sort(labelled)
    left = num_rows - len(labelled)
    nth = np.sort(rng.choice(left, min(NUM_UNLABELLED, left), replace=False)) if left else np.zeros(0, np.int64)
    return nth + np.searchsorted(labelled - np.arange(len(labelled)), nth, side="right")


def suggest_rows(
    concept: Concept,
    vectors_ND: np.ndarray,
    annotations: Annotations,
    count: int = 10,
    allowed_N: np.ndarray | None = None,
) -> np.ndarray:
    """Which rows to mark next, int64, of those allowed: of the rows nearest to the border those that are least alike.

    Ten times as many uncertain rows are taken, then one after the other the farthest from all that is marked or chosen.
    Source: Lewis and Gale 1994 (uncertainty sampling); Sener and Savarese 2018 (greedy k-centres).
    """
    _require_rows(len(vectors_ND), annotations)
    marked = np.array(sorted({*annotations.positives, *annotations.negatives}), np.int64)
    doubt_N = np.abs(concept.score_rows(vectors_ND) - 0.5)
    doubt_N[marked] = np.inf
    if allowed_N is not None:
        doubt_N[~allowed_N] = np.inf
    unmarked = int(np.isfinite(doubt_N).sum())
    pool = np.argsort(doubt_N, kind="stable")[: min(UNCERTAIN_PER_SUGGESTION * count, unmarked)]
    pool_PD = np.asarray(vectors_ND[pool], np.float32)
    near_P = (pool_PD @ np.asarray(vectors_ND[marked], np.float32).T).max(axis=1, initial=-np.inf)
    chosen: list[int] = []
    while len(chosen) < min(count, len(pool)):
        farthest = int(np.argmin(near_P))
        chosen.append(farthest)
        near_P = np.maximum(near_P, pool_PD @ pool_PD[farthest])
        near_P[chosen] = np.inf
    return pool[chosen]
