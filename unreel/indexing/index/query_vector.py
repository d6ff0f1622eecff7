"""One query vector from examples and counter-examples, with a weight for each part of a row.

A row of an index is its parts side by side (row_parts.py). An inner product is the weighted mean of the parts' cosines,
and factors on the parts of the query change these weights exactly; the index does not change.
"""

import numpy as np

from unreel.errors import InputError
from unreel.models.encoder.row_parts import RowParts, scale_parts


def combine_examples(
    like_PD: np.ndarray,
    unlike_MD: np.ndarray | None = None,
    parts: RowParts | None = None,
    unlike_weight: float = 0.2,
) -> np.ndarray:
    """A query float32 (1, D): mean of the examples minus `unlike_weight` times the mean of the counter-examples.

    Each part is scaled to the length of a row's part, so that scores are means of cosines. Raises InputError when there
    is no example, or a part becomes zero.
    Source: Rocchio 1971; Manning, Raghavan, Schütze 2008, ch. 9.1.1, whose 0.15 / 0.75 is our 0.2. The query itself
    is one of the examples here, so there is no third term.
    """
    like_PD = np.atleast_2d(like_PD)
    if not like_PD.size:
        raise InputError("a query needs at least one example; give a clip or mark a hit")
    query_D = like_PD.astype(np.float64).mean(axis=0)
    if unlike_MD is not None and len(unlike_MD):
        query_D -= unlike_weight * np.atleast_2d(unlike_MD).astype(np.float64).mean(axis=0)
    parts = parts or RowParts.make_equal(("",), (len(query_D),))
    split = parts.split(query_D)
    if min(float(np.linalg.norm(part)) for part in split) < 1e-6:
        raise InputError("the examples and counter-examples cancel out; remove some of either")
    return scale_parts(split, np.sqrt(parts.weight_P))[None]


def weight_parts(query_QD: np.ndarray, motion_weight: float, parts: RowParts) -> np.ndarray:
    """Queries float32 (Q, D) whose inner product with a row is the mean of the parts' cosines, weighted for a position
    of the slider. At the default position nothing changes. Raises InputError."""
    factor_P = parts.weigh(motion_weight) / parts.weight_P
    split = zip(parts.split(np.atleast_2d(query_QD)), factor_P, strict=True)
    return np.concatenate([part_Qw * factor for part_Qw, factor in split], axis=1).astype(np.float32)


def keep_part(query_QD: np.ndarray, parts: RowParts, number: int) -> np.ndarray:
    """Queries float32 (Q, D) with zeros in all parts but one, whose cosine alone then counts."""
    split = parts.split(np.atleast_2d(query_QD))
    kept = [part_Qw * float(n == number) for n, part_Qw in enumerate(split)]
    return np.concatenate(kept, axis=1).astype(np.float32)
