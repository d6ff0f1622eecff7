"""The claims of the papers as pairs of rows, their verdicts, and the Markdown of `claims.py`.

A claim says that row A is above row B. Its figure is the mean over seeds and test videos of the paired difference,
A - B on the same video, in points, with a 95 % interval over videos (whole recordings where they are known) and seeds.
Where the seeds share their test videos it is that of the paired test (unreel/evaluation/metrics/paired_test.py). Where
each seed has videos of its own, as in the synthetic set, it is a percentile bootstrap over videos and seeds, whose
deviations are stretched by sqrt(n / (n - 1)), because n drawn seeds vary too little by this factor. That was the way
for both before: where seeds differ much, it called 11 of 100 differences that were none (docs/log.md). With one seed
the interval covers test videos only, and the verdict says so.

The rule: the figure is R@1 of the `pooled` feature, all views side by side; a claim is

    seen       when its whole interval is above 0
    refuted    when its whole interval is below 0
    not seen   otherwise

`conv5` and mAP stand beside it. One claim of forty without any effect is seen or refuted by chance.
"""

import functools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from unreel.evaluation.baselines.chance import CHANCE
from unreel.evaluation.baselines.trivial_baselines import COLOUR_HISTOGRAM, FRAME_DIFFERENCE, MEAN_FRAME
from unreel.evaluation.baselines.untrained_encoder import UNTRAINED_ENCODER
from unreel.evaluation.metrics.bootstrap import percentile_interval, sample_counts
from unreel.evaluation.metrics.paired_test import compare_paired
from unreel.evaluation.video_features import JOINT
from unreel.seeding import make_generator

Verdict = Literal["seen", "not seen", "refuted"]
FLOORS = (CHANCE, MEAN_FRAME, COLOUR_HISTOGRAM, FRAME_DIFFERENCE, UNTRAINED_ENCODER)
LAYERS, MAIN_LAYER, MAIN_COLUMN, MEAN_PRECISION = ("pooled", "conv5"), "pooled", "R@1", "mAP"
VIEWS = ("rgb", "residual", JOINT)


METHODS = (
    *("motion", "trio", "iic", "iic-paper", "iic-v2", "cvrl", "dual", "dual-moco"),
    *("simclr", "moco", "byol", "vicreg", "cmc"),
)
"""Rows that are compared with the floors."""


class Claim(NamedTuple):
    """Row `above` is above row `below`, in the words of who says so."""

    sentence: str
    above: str
    below: str


CLAIMS = (
    Claim("IIC: intra-negatives help (ours: frames shuffled, of the batch)", "iic", "iic:intra_negatives=none"),
    Claim(
        "IIC: intra-negatives help (a frame repeated, of the batch)",
        "iic:intra_negatives=repeat",
        "iic:intra_negatives=none",
    ),
    Claim(
        "IIC: intra-negatives help (chunks shuffled, of the batch)",
        "iic:intra_negatives=shuffle",
        "iic:intra_negatives=none",
    ),
    Claim("IIC: intra-negatives help (released arithmetic, repeat)", "iic-paper", "cmc"),
    Claim("IIC: intra-negatives help (released arithmetic, shuffle)", "iic-paper:intra_negatives=shuffle", "cmc"),
    Claim("IICv2 above IIC", "iic-v2", "iic-paper"),
    Claim("ours above the released arithmetic of IIC", "iic", "iic-paper"),
    Claim("CVRL: decreasing P(t) above uniform", "cvrl", "cvrl:pairs=uniform"),
    Claim(
        "CVRL: decreasing P(t) above uniform (power 0.5: short intervals more often)",
        "cvrl:interval_power=0.5",
        "cvrl:pairs=uniform",
    ),
    Claim("CVRL: decreasing P(t) above uniform (power 2)", "cvrl:interval_power=2", "cvrl:pairs=uniform"),
    Claim("CVRL: uniform P(t) above increasing", "cvrl:pairs=uniform", "cvrl:pairs=increasing"),
    Claim("CVRL: decreasing P(t) above increasing", "cvrl", "cvrl:pairs=increasing"),
    Claim(
        "CVRL: decreasing P(t) above its mirror image (power 0.5)",
        "cvrl:interval_power=0.5",
        "cvrl:pairs=mirror,interval_power=0.5",
    ),
    Claim("CVRL: consistent above per-frame augmentation", "cvrl", "cvrl:consistent=false"),
    Claim("CVRL: above SimCLR on frames, inflated", "cvrl", "simclr-frames:backbone=tiny-2d,num_frames=1"),
    Claim("CVRL: above SimCLR on one clip", "cvrl", "simclr"),
    Claim("Dual: shuffle-rank helps (batch)", "dual", "dual:shuffle_rank=false"),
    Claim("Dual: shuffle-rank helps (queue)", "dual-moco", "dual-moco:shuffle_rank=false"),
    Claim("Dual: shuffle-rank helps (in trio)", "trio:rank_weight=0.5", "trio"),
    Claim("IIC: intra-negatives help (in trio)", "trio", "trio:intra_negatives=none"),
    Claim("trio: residual frames as second view help", "trio", "trio:second_view=rgb"),
    Claim(
        "trio above IIC, both without intra-negatives",
        "trio:intra_negatives=none",
        "iic:intra_negatives=none",
    ),
    Claim("IIC, ours: negatives of the batch above older ones of memory", "iic", "iic:num_negatives=1024"),
    Claim(
        "IIC, ours: negatives of the batch above older ones of memory, without intra-negatives",
        "iic:intra_negatives=none",
        "iic:num_negatives=1024,intra_negatives=none",
    ),
    Claim(
        "IIC: intra-negatives help (ours, beside older negatives of memory)",
        "iic:num_negatives=1024",
        "iic:num_negatives=1024,intra_negatives=none",
    ),
    Claim("MoCo: a queue of 8 batches above one of 64", "moco:queue_size=128", "moco"),
    Claim("motion above trio", "motion", "trio"),
    Claim("motion above trio with its augmentation", "motion", "trio:augment=blend"),
    Claim("motion: changed crop, colours and amplitude help", "motion", "motion:augment=crop"),
    Claim("motion: intra-negatives help", "motion:intra_negatives=shuffle-frames", "motion"),
    *(Claim(f"trio above {name}", "trio", name) for name in ("iic", "iic-v2", "cvrl", "dual", "dual-moco")),
    *(Claim(f"trio above the baseline {name}", "trio", name) for name in ("simclr", "moco", "byol", "vicreg", "cmc")),
    *(
        Claim(f"{row} above the floor '{floor}'", row, floor)
        for row in METHODS
        for floor in (FRAME_DIFFERENCE, UNTRAINED_ENCODER)
    ),
)


@dataclass(frozen=True)
class RunScores:
    """Percent for each test video: layer -> features -> column ("R@1", "mAP") -> (Q,); and the group of each video.

    Features are the names of the retrieval table: views, joint, floors. The views of the floors are those of the
    untrained network. `minutes` is the processor time of training, `options` those of the method, as JSON.
    """

    values: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]
    groups: Sequence[str]
    minutes: float = float("nan")
    options: str = ""

    def find_all_views(self, layer: str) -> str:
        """The name of the features of all views side by side, which is that of the view where there is one."""
        names = [name for name in self.values[layer] if name not in FLOORS]
        return JOINT if JOINT in names else names[0]


class Difference(NamedTuple):
    """A paired difference in points, and its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """By the rule of the module.

        >>> Difference(2.0, 0.5, 3.5).verdict, Difference(2.0, -0.5, 4.5).verdict, Difference(-2.0, -3.0, -1.0).verdict
        ('seen', 'not seen', 'refuted')
        """
        return "seen" if self.low > 0 else "refuted" if self.high < 0 else "not seen"

    def __str__(self) -> str:
        return f"{self.mean:+.1f} ({self.low:+.1f} to {self.high:+.1f})"


@functools.lru_cache(maxsize=16)
def draw_weights(groups: tuple[str, ...], seed: int, draws: int) -> np.ndarray:
    """The weight of each test video in the mean of each draw, (draws, Q)."""
    counts_RQ = sample_counts(len(groups), groups, seed, draws)
    return counts_RQ / counts_RQ.sum(axis=1, keepdims=True)


def resample_means(values_Q: np.ndarray, groups: tuple[str, ...], seed: int, draws: int) -> np.ndarray:
    """The mean in each draw of test videos, (draws,); the same videos for the same groups and seed."""
    return draw_weights(groups, seed, draws) @ values_Q


def bootstrap_difference(
    differences_SQ: Sequence[np.ndarray], groups: Sequence[Sequence[str]], draws: int = 2000
) -> Difference:
    """The mean over seeds and videos of paired differences, a row (Q,) and its groups for each seed; and its interval.

    Each seed has test videos of its own.
    """
    resampled = [
        resample_means(row_Q, tuple(names), seed, draws)
        for seed, (row_Q, names) in enumerate(zip(differences_SQ, groups, strict=True))
    ]
    means_RS = np.stack(resampled, axis=1)
    num_seeds = len(differences_SQ)
    center_R1 = means_RS.mean(axis=1, keepdims=True)
    stretch = np.sqrt(num_seeds / (num_seeds - 1)) if num_seeds > 1 else 0.0
    drawn_RS = make_generator(0, 0, 0, "bootstrap seeds").integers(0, num_seeds, means_RS.shape)
    deviation_RS = np.take_along_axis(means_RS - center_R1, drawn_RS, axis=1)
    mean = statistics.fmean(float(row_Q.mean()) for row_Q in differences_SQ)
    return Difference(mean, *percentile_interval(center_R1[:, 0] + stretch * deviation_RS.mean(axis=1)))


SeedScores = Mapping[str, RunScores]
"""What one seed has so far: the rows that are finished, and the floors under the name FLOOR_ROW."""
FLOOR_ROW = "floors"


def get_pair(scores: SeedScores, claim: Claim, layer: str, column: str) -> tuple[np.ndarray, np.ndarray]:
    """A figure of each test video, (Q,) each: of all views of row `above`; and of row `below`, which may be a floor.

    The untrained network has the views of row `above`.
    """
    above = scores[claim.above]
    views = above.find_all_views(layer)
    if claim.below in FLOORS:
        below = scores[FLOOR_ROW].values[layer][views if claim.below == UNTRAINED_ENCODER else claim.below]
    else:
        below = scores[claim.below].values[layer][scores[claim.below].find_all_views(layer)]
    return above.values[layer][views][column], below[column]


def compare_rows(
    by_seed: Sequence[SeedScores], claim: Claim, layer: str, column: str, same_videos: bool
) -> tuple[Difference, int] | None:
    """The paired difference of a claim and the number of seeds that have both rows; None where none has."""
    needed = {claim.above, FLOOR_ROW if claim.below in FLOORS else claim.below}
    complete = [scores for scores in by_seed if needed <= scores.keys()]
    if not complete:
        return None
    pairs = [get_pair(scores, claim, layer, column) for scores in complete]
    groups = [scores[claim.above].groups for scores in complete]
    if same_videos:
        above_SQ, below_SQ = (np.stack(rows) for rows in zip(*pairs, strict=True))
        found = compare_paired(above_SQ, below_SQ, groups[0])
        return Difference(found.difference, found.low, found.high), len(complete)
    return bootstrap_difference([above_Q - below_Q for above_Q, below_Q in pairs], groups), len(complete)


def format_spread(values: Sequence[float]) -> str:
    """Mean, and standard deviation over seeds where there are several.

    >>> format_spread([20.0, 22.0]), format_spread([20.0]), format_spread([])
    ('21.0 ± 1.4', '20.0', '')
    """
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{deviation}" if values else ""


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def format_scores(by_seed: Sequence[SeedScores], rows: Sequence[str], layer: str) -> str:
    """One layer: the floors, then each finished row; R@1 and mAP of each view and of all, mean ± deviation."""
    header = ["features", *(f"{v}, {c}" for c in (MAIN_COLUMN, MEAN_PRECISION) for v in ("rgb", "residual", "all"))]
    table = [_format_row(by_seed, FLOOR_ROW, name, layer) for name in FLOORS]
    table += [_format_row(by_seed, row, row, layer) for row in rows]
    return format_table([*header, "seeds", "minutes"], [row for row in table if row])


def _format_row(by_seed: Sequence[SeedScores], source: str, row: str, layer: str) -> list[str]:
    """A line of the table of scores; empty for a row without a finished run."""
    runs = [scores[source] for scores in by_seed if source in scores]
    if not runs:
        return []
    cells = []
    for column in (MAIN_COLUMN, MEAN_PRECISION):
        for view in VIEWS:
            columns = [run.values[layer].get(_name_features(run, row, layer, view), {}) for run in runs]
            cells.append(format_spread([float(c[column].mean()) for c in columns if column in c]))
    minutes = "" if row in FLOORS else format_spread([run.minutes for run in runs])
    return [row if row in FLOORS else f"`{row}`", *cells, str(len(runs)), minutes]


def _name_features(run: RunScores, row: str, layer: str, view: str) -> str:
    """The name of the features in a cell: pixels have no views, so they stand under all views only."""
    if row in FLOORS and row != UNTRAINED_ENCODER:
        return row if view == JOINT else ""
    return run.find_all_views(layer) if view == JOINT else view


def format_claims(by_seed: Sequence[SeedScores], same_videos: bool) -> str:
    """Each claim whose rows are finished: paired differences with intervals, and the verdict by the rule."""
    header = ["claim", "rows", "R@1, pooled", "verdict", "R@1, conv5", "mAP, pooled", "mAP, conv5", "seeds"]
    table = []
    for claim in CLAIMS:
        compared = {
            (layer, column): compare_rows(by_seed, claim, layer, column, same_videos)
            for column in (MAIN_COLUMN, MEAN_PRECISION)
            for layer in LAYERS
        }
        if main := compared[MAIN_LAYER, MAIN_COLUMN]:
            others = [str(c[0]) if c else "" for key, c in compared.items() if key != (MAIN_LAYER, MAIN_COLUMN)]
            rows = " − ".join(row if row in FLOORS else f"`{row}`" for row in (claim.above, claim.below))
            verdict = f"**{main[0].verdict}**" + (", one seed" if main[1] == 1 else "")
            table.append([claim.sentence, rows, str(main[0]), verdict, *others, str(main[1])])
    return format_table(header, table)


def format_set(title: str, by_seed: Sequence[SeedScores], rows: Sequence[str], same_videos: bool) -> str:
    """The section of one set of videos."""
    parts = [f"### {title}", "#### Claims", format_claims(by_seed, same_videos)]
    for layer in LAYERS:
        parts += [f"#### All rows, layer `{layer}`", format_scores(by_seed, rows, layer)]
    return "\n\n".join(parts)
