"""Which rows of a table are baselines, and one sentence on each."""

from collections.abc import Iterable

from unreel.evaluation.baselines import appearance
from unreel.evaluation.baselines.chance import CHANCE, GUESS_DESCRIPTIONS, RANKING_CHANCE_DESCRIPTION
from unreel.evaluation.baselines.trivial_baselines import PIXEL_DESCRIPTIONS
from unreel.evaluation.baselines.untrained_encoder import UNTRAINED_DESCRIPTION, UNTRAINED_ENCODER
from unreel.evaluation.video_features import VideoFeatures

RANKING_DESCRIPTIONS = {
    CHANCE: RANKING_CHANCE_DESCRIPTION,
    **PIXEL_DESCRIPTIONS,
    UNTRAINED_ENCODER: UNTRAINED_DESCRIPTION,
}
CLASSIFIER_DESCRIPTIONS = RANKING_DESCRIPTIONS | GUESS_DESCRIPTIONS
TRIVIAL_ROWS = frozenset(CLASSIFIER_DESCRIPTIONS)


def is_baseline(row: str, features: VideoFeatures) -> bool:
    """Whether a row did not learn from the user's videos: every row that is not the encoder's own."""
    return row == CHANCE or any(key.source == row for key in features.vectors)


def describe_baseline(row: str) -> str:
    """What a baseline is; a row that is none of ours is a frozen model, named by its row."""
    return (RANKING_DESCRIPTIONS | appearance.DESCRIPTIONS).get(row, "a model from elsewhere, frozen")


def describe_classifier_baselines(rows: Iterable[str]) -> dict[str, str]:
    """The rows of a classifier's table that did not learn, with one sentence on each."""
    known = CLASSIFIER_DESCRIPTIONS | appearance.DESCRIPTIONS
    return {name: known[name] for name in rows if name in known}
