"""A concept: a linear probe on frozen embeddings, trained on a few marked rows; it ranks all rows."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unreel.errors import InputError
from unreel.evaluation.probes.logistic_regression import fit_logistic_regression
from unreel.indexing.concepts.annotations import Annotations
from unreel.indexing.index.vectors import project_rows, sample_rows
from unreel.io.atomic_write import atomic_write_text, disk_errors
from unreel.io.text import parse_json

FORMAT_VERSION = 1
REGULARISATION_C = 0.01
MAX_ITERATIONS = 200
NUM_UNLABELLED = 300


@dataclass(frozen=True)
class Concept:
    """A linear probe of one encoder's rows: the answer is yes where `weight @ row + bias` is above 0.

    Its weights are also a query: the rows with the largest inner product rank highest.
    """

    name: str
    weight: tuple[float, ...]
    bias: float
    encoder_hash: str
    num_yes: int
    num_no: int

    def score_rows(self, vectors_ND: np.ndarray) -> np.ndarray:
        """Probability of yes, float32 (N,), assuming yes is as frequent as no. Raises InputError for another D."""
        weight_D = np.array(self.weight, np.float32)
        if vectors_ND.ndim != 2 or vectors_ND.shape[1] != len(weight_D):
            raise InputError(f"the concept '{self.name}' is of {len(weight_D)} numbers, not of {vectors_ND.shape[1:]}")
        logit_N = project_rows(vectors_ND, weight_D) + np.float32(self.bias)
        return (0.5 * (1 + np.tanh(0.5 * logit_N))).astype(np.float32)  # the sigmoid, without overflow

    def to_json(self) -> str:
        return json.dumps({"unreel_concept": FORMAT_VERSION, **dataclasses.asdict(self)}) + "\n"

    def save(self, path: Path) -> None:
        """Write JSON, whole or not at all. Raises DiskError."""
        with disk_errors(path, "the concept can't be written"):
            path.parent.mkdir(exist_ok=True)
            atomic_write_text(path, self.to_json())

    @classmethod
    def load(cls, path: Path, encoder_hash: str) -> "Concept":
        """Read a saved concept. Raises InputError when it is damaged or of another encoder."""
        try:
            text = path.read_text()
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: no concept to read there ({error}); make it again from marked hits") from error
        return cls.from_json(text, str(path), encoder_hash)

    @classmethod
    def from_json(cls, text: str, place: str, encoder_hash: str) -> "Concept":
        """A concept from its JSON, which lies at `place`. Raises InputError as `load` does."""
        try:
            data = parse_json(text)
            version = data.pop("unreel_concept")
            if version != FORMAT_VERSION:
                raise InputError(
                    f"{place}: a concept of version {version}, this unreel reads {FORMAT_VERSION}; make it again"
                )
            weight = tuple(float(w) for w in data.pop("weight"))
            counts = {name: int(data[name]) for name in ("num_yes", "num_no")}
            concept = cls(weight=weight, **{**data, **counts, "bias": float(data["bias"]), "name": str(data["name"])})
            if not np.isfinite((*weight, concept.bias)).all():
                raise ValueError("its weights are not finite")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{place}: no concept to read there ({error}); make it again from marked hits") from error
        if concept.encoder_hash != encoder_hash:
            raise InputError(
                f"{place}: made with another encoder than these embeddings; mark some hits and make it again"
            )
        return concept


def fit_concept(
    name: str, vectors_ND: np.ndarray, annotations: Annotations, encoder_hash: str, seed: int = 0
) -> Concept:
    """Logistic regression on the marked rows, with equal total weight for yes and no. Raises InputError.

    Rows drawn at random from the unmarked ones count as no too, with half of the weight of no, or all of it when none
    is marked no: hits marked no are hard cases, and alone say nothing about other rows. A few yes among the drawn
    rows do little harm. Training scales rows by the spread of the embeddings; the result applies to unit rows.
    Source: Elkan, Noto 2008 (positive and unlabelled).
    """
    yes, no = _split_rows(vectors_ND, annotations)
    rng = np.random.default_rng(seed)
    others = _draw_unlabelled(len(vectors_ND), np.r_[yes, no], rng)
    if not len(no) + len(others):
        raise InputError("every row is marked yes, so there is nothing to distinguish; mark some no")
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
    """Weights (M,), 1 on average: half for yes, a quarter for each kind of no, or half when there is one kind."""
    counts = [num_yes, num_no, num_unlabelled]
    shares = [0.5, *(0.25 if num_no and num_unlabelled else 0.5 for _ in range(2))]
    parts = [np.full(n, share / max(n, 1)) for n, share in zip(counts, shares, strict=True)]
    return np.concatenate(parts) * sum(counts)


def _split_rows(vectors_ND: np.ndarray, annotations: Annotations) -> tuple[np.ndarray, np.ndarray]:
    if not annotations.positives:
        raise InputError("a concept needs at least one hit marked yes")
    both = set(annotations.positives) & set(annotations.negatives)
    if both:
        raise InputError(f"row {min(both)} is marked yes and no; remove one mark")
    require_rows(len(vectors_ND), annotations)
    return np.unique(np.array(annotations.positives, np.int64)), np.unique(np.array(annotations.negatives, np.int64))


def require_rows(num_rows: int, annotations: Annotations) -> None:
    """Raise InputError for a marked row that does not exist."""
    outside = [row for row in (*annotations.positives, *annotations.negatives) if not 0 <= row < num_rows]
    if outside:
        raise InputError(f"row {outside[0]} is marked, but there are {num_rows} rows; mark hits of this index")


def _draw_unlabelled(num_rows: int, labelled: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Unmarked rows drawn at random, in their order, without a list of all unmarked rows.

    The number of the n-th unmarked row is n plus the number of marked rows before it.
    """
    labelled = np.sort(labelled)
    count = num_rows - len(labelled)
    nth = np.sort(rng.choice(count, min(NUM_UNLABELLED, count), replace=False)) if count else np.zeros(0, np.int64)
    return nth + np.searchsorted(labelled - np.arange(len(labelled)), nth, side="right")
