"""One query vector from examples and counter-examples, with a weight for each view of the encoder.

A row of an index is its views side by side, each of length 1 / sqrt(V) (`join_views`). So an inner product is the mean
of the views' cosines, and weights on the parts of the query weight these cosines exactly; the index does not change.
"""

import numpy as np

from unreel.errors import InputError


def combine_examples(
    like_PD: np.ndarray, unlike_MD: np.ndarray | None = None, num_views: int = 1, unlike_weight: float = 0.2
) -> np.ndarray:
    """A query float32 (1, D): mean of the examples minus `unlike_weight` times the mean of the counter-examples.

    Each view is scaled to the length of a row's view, so that scores are means of cosines. Raises InputError when there
    is no example, or a view becomes zero.
    Source: Rocchio 1971; Manning, Raghavan, Schütze 2008, ch. 9.1.1, whose 0.15 / 0.75 is our 0.2. The query itself
    is one of the examples here, so there is no third term.
    """
    like_PD = np.atleast_2d(like_PD)
    if not like_PD.size:
        raise InputError("a query needs at least one example; give a clip or mark a hit")
    query_D = like_PD.astype(np.float64).mean(axis=0)
    if unlike_MD is not None and len(unlike_MD):
        query_D -= unlike_weight * np.atleast_2d(unlike_MD).astype(np.float64).mean(axis=0)
    parts_VD = split_views(query_D, num_views)
    length_V = np.linalg.norm(parts_VD, axis=1, keepdims=True)
    if length_V.min() < 1e-6:
        raise InputError("the examples and counter-examples cancel out; remove some of either")
    return (parts_VD / length_V / np.sqrt(num_views)).reshape(1, -1).astype(np.float32)


def make_slider_weights(motion: float) -> np.ndarray:
    """Weights (2,) of appearance (rgb) and motion (residual) for a slider: 0 is appearance alone, 1 motion alone."""
    if not 0 <= motion <= 1:
        raise InputError(f"the weight of motion is between 0 and 1, got {motion:g}")
    return np.array([1 - motion, motion])


def weight_views(query_QD: np.ndarray, weight_V: np.ndarray) -> np.ndarray:
    """Queries float32 (Q, D) whose inner product with a row is the weighted mean of the views' cosines.

    Only the ratios of the weights (V,) count; equal ones change nothing. Raises InputError.
    """
    weight_V = np.asarray(weight_V, np.float64)
    if weight_V.min() < 0 or not 0 < weight_V.sum() < np.inf:
        raise InputError(f"weights of views are 0 or more and not all 0, got {', '.join(f'{w:g}' for w in weight_V)}")
    scaled_V = weight_V / weight_V.sum() * len(weight_V)
    parts_QVD = split_views(np.atleast_2d(query_QD), len(weight_V))
    return (parts_QVD * scaled_V[:, None]).reshape(len(parts_QVD), -1).astype(np.float32)


def split_views(rows: np.ndarray, num_views: int) -> np.ndarray:
    """(..., D) as (..., V, D / V). Raises InputError when D is no multiple of V."""
    if rows.shape[-1] % num_views:
        raise InputError(
            f"rows of dimension {rows.shape[-1]} can't be split into {num_views} views; use their own encoder"
        )
    return rows.reshape(*rows.shape[:-1], num_views, -1)
