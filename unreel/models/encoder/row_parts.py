"""How the rows of an index are made up: parts side by side, each of a length that says how much it counts.

Part p of a row has length sqrt(weight of p), and the weights add up to 1. So an inner product of two rows is the
weighted mean of the cosines of their parts, for a search as for clusters and outliers. Views and heads of an encoder
weigh the same. Where a frozen image model stands beside them, weights are measured when the index is built, without
labels, and kept, since a change would make saved concepts mean something else:

    weight of p  =  share of p / spread of p, scaled to a sum of 1

From features of appearance the mean of the index is subtracted before: what all its pictures share tells nothing
(docs/results.md: one to five points of mAP).

The spread is the standard deviation of the part's cosines between different contents: cosines of an image model
differ little, and would not be heard beside those of a motion encoder. The share of appearance follows from the mean c
of its cosines between different contents before that: where everything looks alike, as before a fixed camera, looks
tell little.

    share of appearance  =  5 (1 - c)^2 / (5 (1 - c)^2 + c^2),    share of motion  =  the rest

The 5 and the squares are fitted to two points: on the training lists of JHMDB (c 0.63) and Weizmann (c 0.85) shares of
0.6 to 0.7 and of 0.1 are best (docs/results.md).
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unreel.errors import InputError
from unreel.io.atomic_write import atomic_write_text
from unreel.io.text import parse_json
from unreel.models.encoder.spec import APPEARANCE, EncoderSpec
from unreel.models.encoder.view_weights import compute_view_weights

MIN_CONTENTS = 5  # with fewer, all parts weigh the same
MIN_REST = 1e-6  # of a unit vector without the mean
MIN_SPREAD = 0.01  # a part whose cosines differ less tells nothing, and is not to drown the others
SHARE_LIMITS = (0.1, 0.9)  # of motion: a little of the other part helps everywhere (docs/results.md)
DEFAULT_MOTION_WEIGHT = 0.5


@dataclass(frozen=True)
class RowParts:
    """Names and widths of the parts of a row, the spread of each, the share of motion in their default weights, and
    what is subtracted from appearance of unit length: its mean, or nothing."""

    names: tuple[str, ...]
    widths: tuple[int, ...]
    spreads: tuple[float, ...]
    motion_weight: float = DEFAULT_MOTION_WEIGHT
    appearance_mean: tuple[float, ...] = ()

    @classmethod
    def make_equal(cls, names: Sequence[str], widths: Sequence[int]) -> "RowParts":
        """Parts that weigh the same."""
        return cls(tuple(names), tuple(widths), (1.0,) * len(names))

    @property
    def has_appearance(self) -> bool:
        """Whether weights were measured, so that rows of a store have other lengths than those of the index."""
        return APPEARANCE in self.names

    @property
    def is_measured(self) -> bool:
        """Whether the weights come from enough contents, so that they are kept."""
        return set(self.spreads) != {1.0}

    @property
    def has_fitting_mean(self) -> bool:
        """Whether the mean is one of unit vectors of this width, or there is none."""
        width = self.widths[self.names.index(APPEARANCE)]
        mean_w = np.array(self.appearance_mean)
        return not len(mean_w) or (len(mean_w) == width and bool(np.linalg.norm(mean_w) < 1))

    @property
    def weight_P(self) -> np.ndarray:
        """The weights of the parts in an inner product of two rows, (P,)."""
        if not self.has_appearance:
            return np.full(len(self.names), 1 / len(self.names))
        return self.weigh(self.motion_weight)

    def weigh(self, motion_weight: float) -> np.ndarray:
        """The weights (P,) of the parts for a position of the slider, 1 in all. Raises InputError."""
        weight_P = compute_view_weights(self.names, motion_weight) / np.array(self.spreads)
        scaled_P: np.ndarray = weight_P / weight_P.sum()
        return scaled_P

    def split(self, rows: np.ndarray) -> list[np.ndarray]:
        """The parts of rows (..., D). Raises InputError when D is another number."""
        return split_parts(rows, self.widths)

    def set_lengths(self, rows: np.ndarray) -> np.ndarray:
        """Rows (..., D) of a store or of a query as this index compares them: float32, appearance without its mean, and
        each part of the length that it has here."""
        if not self.has_appearance:
            return rows
        split = self.split(rows)
        if self.appearance_mean:
            place = self.names.index(APPEARANCE)
            split[place] = subtract_mean(split[place], np.array(self.appearance_mean))
        return scale_parts(split, np.sqrt(self.weight_P))

    def to_store(self, rows: np.ndarray) -> np.ndarray:
        """Rows (..., D) of this index as they were in the store, each part of equal length, float32: what `set_lengths`
        of another index or of a classifier takes."""
        if not self.has_appearance:
            return rows
        split = self.split(rows)
        if self.appearance_mean:
            place = self.names.index(APPEARANCE)
            split[place] = add_mean(split[place], np.array(self.appearance_mean))
        return scale_parts(split, np.full(len(split), len(split) ** -0.5))

    def save(self, path: Path) -> None:
        """Raises DiskError."""
        atomic_write_text(path, json.dumps(dataclasses.asdict(self), indent=2) + "\n")


def split_parts(rows: np.ndarray, widths: Sequence[int]) -> list[np.ndarray]:
    """Rows (..., D) as parts side by side. Raises InputError when the widths do not add up to D."""
    if rows.shape[-1] != sum(widths):
        raise InputError(
            f"rows of dimension {rows.shape[-1]} are not made of parts of {', '.join(map(str, widths))}; use the "
            "encoder of the index"
        )
    return np.split(rows, np.cumsum(widths)[:-1].tolist(), axis=-1)


def scale_parts(parts: Sequence[np.ndarray], length_P: np.ndarray) -> np.ndarray:
    """Rows float32 (..., D) of parts that have these lengths; a part of zeros stays zero."""
    scaled = []
    for part, length in zip(parts, length_P, strict=True):
        part = part.astype(np.float64)
        scaled.append(part * (length / np.maximum(np.linalg.norm(part, axis=-1, keepdims=True), 1e-12)))
    return np.concatenate(scaled, axis=-1).astype(np.float32)


def subtract_mean(part: np.ndarray, mean_w: np.ndarray) -> np.ndarray:
    """What remains of a part (..., width), made of unit length, float64; all of it where nothing would remain."""
    unit = make_unit(part)
    rest = unit - mean_w
    return np.where(np.linalg.norm(rest, axis=-1, keepdims=True) < MIN_REST, unit, rest)


def add_mean(part: np.ndarray, mean_w: np.ndarray) -> np.ndarray:
    """The part of unit length of which `subtract_mean` left this direction: on the line from the mean, of length 1."""
    direction = make_unit(part)
    along = (direction @ mean_w)[..., None]
    result: np.ndarray = mean_w + (np.sqrt(along**2 + 1 - mean_w @ mean_w) - along) * direction
    return result


def make_unit(part: np.ndarray) -> np.ndarray:
    part = part.astype(np.float64)
    unit: np.ndarray = part / np.maximum(np.linalg.norm(part, axis=-1, keepdims=True), 1e-12)
    return unit


def measure_weights(equal: RowParts, parts: Sequence[np.ndarray], content_n: np.ndarray) -> RowParts:
    """The same parts with the spreads, the share of motion and the mean of appearance that some rows have: each part
    (n, width) of any length, and the number of each row's content. Without an image model, or with few contents, the
    parts weigh the same."""
    if not equal.has_appearance or len(np.unique(content_n)) < MIN_CONTENTS:
        return equal
    is_other_nn = content_n[:, None] != content_n[None]
    unit = [make_unit(part) for part in parts]
    place = equal.names.index(APPEARANCE)
    likeness = float((unit[place] @ unit[place].T)[is_other_nn].mean())
    mean_w = unit[place].mean(axis=0).astype(np.float32).astype(np.float64)
    if np.linalg.norm(mean_w) > 1 - MIN_REST:
        mean_w = np.zeros(0)  # all pictures look the same: nothing would remain
    else:
        unit[place] = make_unit(subtract_mean(unit[place], mean_w))
    spreads = tuple(max(float((part_nw @ part_nw.T)[is_other_nn].std()), MIN_SPREAD) for part_nw in unit)
    return dataclasses.replace(
        equal,
        spreads=spreads,
        motion_weight=compute_motion_share(likeness),
        appearance_mean=tuple(mean_w.tolist()),
    )


def compute_motion_share(likeness: float) -> float:
    """The share of motion where the appearance of different contents has this mean cosine.

    >>> round(compute_motion_share(0.63), 2), round(compute_motion_share(0.85), 2)
    (0.37, 0.87)
    """
    looks, motion = 5 * (1 - likeness) ** 2, max(likeness, 0.0) ** 2
    return round(float(np.clip(motion / (looks + motion), *SHARE_LIMITS)), 2)


def load_parts(path: Path, spec: EncoderSpec, num_columns: int) -> RowParts:
    """The parts of an index; read from a file where weights were measured. Raises InputError."""
    equal = RowParts.make_equal(spec.part_names, spec.compute_part_widths(num_columns))
    if not equal.has_appearance:
        return equal
    try:
        data = parse_json(path.read_text())
        parts = dataclasses.replace(
            equal,
            spreads=tuple(map(float, data["spreads"])),
            motion_weight=float(data["motion_weight"]),
            appearance_mean=tuple(map(float, data.get("appearance_mean", ()))),
        )
        same_parts = (data["names"], data["widths"]) == (list(parts.names), list(parts.widths))
        is_whole = same_parts and len(parts.spreads) == len(parts.names)
        is_whole = is_whole and min(parts.spreads) > 0 and parts.weight_P.min() > 0 and parts.has_fitting_mean
    except (OSError, ValueError, KeyError, TypeError, InputError) as error:
        raise InputError(f"{path}: half an index, the weights of its parts can't be read ({error})") from error
    if not is_whole:
        raise InputError(f"{path}: half an index, its weights do not fit the parts {', '.join(parts.names)}")
    return parts
