"""Reliance on motion: what an encoder still finds when motion, or the order of frames, is removed from the clips.

Every source sees intact and perturbed clips (views/perturb.py). "Both": training and test clips are perturbed alike, so
the figure shows what can be recognised without the removed cue. "Query only": perturbed test clips against intact
training clips, so the figure shows how far the features move.
"""

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from unreel.errors import InputError, unknown_name_error
from unreel.evaluation.baselines.chance import CHANCE
from unreel.evaluation.baselines.descriptions import describe_baseline
from unreel.evaluation.feature_extraction import FeatureExtractor
from unreel.evaluation.feature_protocol import Evaluation, ExtractionOptions, FeatureProtocol
from unreel.evaluation.leakage import check_train_test, collect_warnings
from unreel.evaluation.metrics.bootstrap import bootstrap_intervals
from unreel.evaluation.metrics.cosine_ranking import QueryGallery, rank_first_correct
from unreel.evaluation.metrics.motion_reliance import (
    Reliance,
    compute_draw_chance,
    compute_probe_chance,
    compute_reliance,
    compute_variance_ratio,
)
from unreel.evaluation.probes.logistic_regression import fit_linear_probe
from unreel.evaluation.protocol_description import describe_failures
from unreel.evaluation.protocols.options import MotionOptions
from unreel.evaluation.result import Result
from unreel.evaluation.video_features import ENCODER, INTACT, JOINT, FeatureKey, VideoFeatures
from unreel.io.text import format_count
from unreel.models.encoder.encoder import Encoder
from unreel.views.perturb import PERTURBATIONS

RECALL_AT_1, PROBE_ACCURACY, BOTH_SIDES, QUERY_ONLY = "R@1", "probe", "both", "query only"
CUE_CONDITIONS = {"motion": "frozen", "order": "shuffled"}  # a cue, and the condition that removes it
ConditionHits = dict[str, dict[str, np.ndarray]]
"""Condition -> column -> 1.0 for each test video that is right, else 0.0; (Q,)."""
VarianceRatios = dict[str, dict[str, float | None]]
"""Source and layer -> view, or all views joined -> variance ratio."""


def format_row_name(source: str, condition: str) -> str:
    return f"{source}, {condition}"


def format_column(metric: str, sides: str) -> str:
    return f"{metric} {sides}"


BAR_COLUMN = format_column(RECALL_AT_1, BOTH_SIDES)  # the column that pages draw


@dataclass(frozen=True)
class MotionProtocol:
    """The layer (pixels have their own), the probe's C, and the bootstrap."""

    layer: str = "pooled"
    c: float = 10.0
    draws: int = 1000
    seed: int = 0


def build_perturbed_extractor(
    extractor: FeatureExtractor, conditions: Sequence[str], lead_in: int, seed: int = 0, with_intact: bool = True
) -> FeatureExtractor:
    """The same extractor on perturbed clips, whose keys carry the `condition`, and on intact ones first if wanted.

    Random draws depend on a video's pixels, not on its number: otherwise the n-th videos of the training and of the
    test list would be shuffled alike, and the same video differently in another list.
    """
    for name in conditions:
        if name not in PERTURBATIONS:
            raise unknown_name_error("condition", name, PERTURBATIONS)

    def extract(clips: np.ndarray, number: int) -> dict[FeatureKey, dict[str, np.ndarray]]:
        features = dict(extractor(clips, number)) if with_intact else {}
        content_number = zlib.crc32(clips[:, lead_in].tobytes())
        for name in conditions:
            perturbed = extractor(PERTURBATIONS[name](clips, lead_in, seed, content_number), number)
            features |= {key._replace(condition=name): views for key, views in perturbed.items()}
        return features

    return extract


def evaluate_motion(train: VideoFeatures, test: VideoFeatures, protocol: MotionProtocol | None = None) -> Result:
    """R@1 and a linear probe of every source that saw perturbed clips, and how much of it needs motion and order.

    `extras` has "reliance" (source -> cue -> R@1 or probe -> `Reliance`), "variance_ratio" (of the test videos whose
    clips were kept), "said" (sentences about these figures), and "conditions" (row -> source and condition). Raises
    InputError for lists that can't be compared, and for missing features of perturbed clips.
    """
    protocol = protocol or MotionProtocol()
    check_train_test(train.instances, test.instances)
    keys = group_keys(train, test, protocol.layer)
    hits = {source: compute_hits(train, test, by_condition, protocol.c) for source, by_condition in keys.items()}
    chance = {
        RECALL_AT_1: compute_draw_chance(train.labels, test.labels),
        PROBE_ACCURACY: compute_probe_chance(train.labels, test.labels),
    }
    reliances = {source: compute_reliances(h, chance, test.groups, protocol) for source, h in hits.items()}
    ratios = compute_variance_ratios(test)
    result = Result("motion", "Without motion or order, percent", {}, format_caption(train, test), {})
    conditions = {}
    for source, by_condition in hits.items():
        for condition, columns in by_condition.items():
            row = add_row(result, source, condition, columns, test.groups, protocol)
            conditions[row] = {"source": source, "condition": condition}
    result.rows[CHANCE] = {
        format_column(metric, sides): 100.0 * float(chance[metric].mean())
        for metric in (RECALL_AT_1, PROBE_ACCURACY)
        for sides in (BOTH_SIDES, QUERY_ONLY)
    }
    result.floors[CHANCE] = "R@1: a random ranking; probe: a draw from the training classes or the largest of them"
    result.protocol = describe_protocol(train, test, keys, protocol)
    result.warnings = collect_warnings(test.instances, train.instances, (1,))
    result.extras = {
        "reliance": {
            source: {cue: {metric: r.to_json() for metric, r in scores.items()} for cue, scores in cues.items()}
            for source, cues in reliances.items()
        },
        "variance_ratio": ratios,
        "said": compose_sentences(result.rows, reliances, ratios),
        "conditions": conditions,
    }
    return result


def add_row(
    result: Result,
    source: str,
    condition: str,
    columns: dict[str, np.ndarray],
    groups: Sequence[str],
    protocol: MotionProtocol,
) -> str:
    """Add one row and return its name."""
    name = format_row_name(source, condition)
    result.rows[name] = {title: 100.0 * float(hit_Q.mean()) for title, hit_Q in columns.items()}
    both = {title: 100.0 * hit_Q for title, hit_Q in columns.items() if title.endswith(BOTH_SIDES)}
    result.intervals[name] = bootstrap_intervals(both, groups, protocol.seed, protocol.draws)
    if source != ENCODER:
        result.floors[name] = describe_baseline(source) if condition == INTACT else f"{source}, {condition} clips"
    return name


def group_keys(train: VideoFeatures, test: VideoFeatures, layer: str) -> dict[str, dict[str, FeatureKey]]:
    """Sources that saw perturbed clips -> condition -> key, the encoder first; at `layer`, or else at its first one."""
    shared = [key for key in train.vectors if key in test.vectors]
    groups: dict[str, dict[str, FeatureKey]] = {}
    for source in dict.fromkeys(key.source for key in shared):
        layers = list(dict.fromkeys(key.layer for key in shared if key.source == source))
        source_layer = layer if layer in layers else layers[0]
        by_condition = {key.condition: key for key in shared if (key.source, key.layer) == (source, source_layer)}
        if INTACT in by_condition and len(by_condition) > 1:
            groups[source] = {name: by_condition[name] for name in (INTACT, *PERTURBATIONS) if name in by_condition}
    if not groups:
        raise InputError("there are no features of perturbed clips; extract them with build_perturbed_extractor")
    return dict(sorted(groups.items(), key=lambda item: item[0] != ENCODER))


def compute_hits(train: VideoFeatures, test: VideoFeatures, keys: dict[str, FeatureKey], c: float) -> ConditionHits:
    """Which test videos one source gets right, by nearest neighbour and by probe, under each condition."""
    galleries = {name: train.vectors[key] for name, key in keys.items()}
    probes = {name: fit_linear_probe(vectors_ND, train.labels, c) for name, vectors_ND in galleries.items()}
    truth, hits = np.array(test.labels), {}
    for name, key in keys.items():
        query_QD, train_conditions = test.vectors[key], {BOTH_SIDES: name, QUERY_ONLY: INTACT}
        columns = {}
        for sides, condition in train_conditions.items():
            rank_Q = rank_first_correct(QueryGallery(query_QD, galleries[condition]), test.labels, train.labels)
            columns[format_column(RECALL_AT_1, sides)] = rank_Q == 0
        for sides, condition in train_conditions.items():
            columns[format_column(PROBE_ACCURACY, sides)] = probes[condition](query_QD) == truth
        hits[name] = {title: hit_Q.astype(np.float64) for title, hit_Q in columns.items()}
    return hits


def compute_reliances(
    hits: ConditionHits, chance: dict[str, np.ndarray], groups: Sequence[str], protocol: MotionProtocol
) -> dict[str, dict[str, Reliance]]:
    """Cue -> R@1 or probe -> share lost by one source, with training and test clips perturbed alike."""
    return {
        cue: {
            metric: compute_reliance(
                hits[INTACT][format_column(metric, BOTH_SIDES)],
                hits[condition][format_column(metric, BOTH_SIDES)],
                chance[metric],
                groups,
                protocol.seed,
                protocol.draws,
            )
            for metric in (RECALL_AT_1, PROBE_ACCURACY)
        }
        for cue, condition in CUE_CONDITIONS.items()
        if condition in hits
    }


def compute_variance_ratios(features: VideoFeatures) -> VarianceRatios:
    """Variance ratio of each view, and of all views joined, by source and layer, where intact clips were kept.

    Crops of a clip are averaged first: they differ by place, not by time.
    """
    ratios: VarianceRatios = {}
    for key, rows_NVD in features.clip_vectors.items():
        if key.condition == INTACT:
            num_videos, num_clips = features.spans_s.shape[:2]
            clips_NVD = rows_NVD.reshape(num_videos, num_clips, -1, rows_NVD.shape[2]).mean(axis=2)
            views = dict(features.columns[key])
            views |= {JOINT: slice(None)} if len(views) > 1 else {}
            ratios[f"{key.source}, {key.layer}"] = {
                name: compute_variance_ratio(clips_NVD[..., columns]) for name, columns in views.items()
            }
    return ratios


def compose_sentences(
    rows: dict[str, dict[str, float]], reliances: dict[str, dict[str, dict[str, Reliance]]], ratios: VarianceRatios
) -> list[str]:
    """Sentences about the figures of the encoder (or of the first source, where there is no encoder)."""
    source = next(iter(reliances))
    sentences = []
    for cue, scores in reliances[source].items():
        for metric, reliance in scores.items():
            column, condition = format_column(metric, BOTH_SIDES), CUE_CONDITIONS[cue]
            names = format_row_name(source, INTACT), format_row_name(source, condition), CHANCE
            intact, perturbed, chance = (rows[name][column] for name in names)
            sentences.append(compose_reliance_sentence(cue, metric, (intact, perturbed, chance), reliance))
    for name, views in ratios.items():
        ratio = list(views.values())[-1]
        if ratio is not None:
            sentences.append(f"Variance between test videos over variance within a video, {name}: {ratio:.2f}.")
    return sentences


def compose_reliance_sentence(cue: str, metric: str, figures: tuple[float, float, float], reliance: Reliance) -> str:
    """One reliance in words; `figures` are those of intact clips, of clips without the cue, of chance."""
    intact, perturbed, chance = figures
    if reliance.share is None or reliance.low is None or reliance.high is None:
        return f"How much of {metric} relies on {cue} is not defined: {reliance.undefined_reason}."
    start = {"motion": "Frozen to one frame", "order": "With its frames in random order"}[cue]
    change = "stays at" if intact == perturbed else f"{'falls' if perturbed < intact else 'rises'} from {intact:.1f} to"
    interval = f"{reliance.low:.0f} to {reliance.high:.0f}"
    outcome = f"{start}, {metric} {change} {perturbed:.1f} (chance {chance:.1f})"
    if reliance.low <= 0.0 <= reliance.high:
        return f"{outcome}: no significant loss (share {reliance.share:.0f} %, {interval})."
    if reliance.share < 0.0:
        return f"{outcome}: it finds more without {cue} (share {reliance.share:.0f} %, {interval})."
    return f"{outcome}: about {reliance.share:.0f} % ({interval}) of what it finds above chance is lost without {cue}."


def format_caption(train: VideoFeatures, test: VideoFeatures) -> str:
    return (
        f"{len(test.instances)} test against {format_count(len(train.instances), 'training video')}, "
        f"{format_count(len(set(test.labels)), 'class')}, "
        "mean over clips, all views joined. Both: training and test clips perturbed alike, so what can be recognised "
        "without the cue. Query only: perturbed test clips against intact training clips. Frozen clips lose, besides "
        "motion, what their other frames show: the floors show how much that is worth. R@1 by cosine; probe: top-1 of "
        "logistic regression, one C for all"
    )


def describe_protocol(
    train: VideoFeatures, test: VideoFeatures, keys: dict[str, dict[str, FeatureKey]], protocol: MotionProtocol
) -> dict[str, Any]:
    """What the figures depend on, as plain JSON, but for the encoder and its clips."""
    return {
        **asdict(protocol),
        "layers": {source: by_condition[INTACT].layer for source, by_condition in keys.items()},
        "conditions": list(dict.fromkeys(name for by_condition in keys.values() for name in by_condition)),
        "num_clips": int(test.spans_s.shape[1]),
        "queries": len(test.instances),
        "gallery": len(train.instances),
        "classes": len({*train.labels, *test.labels}),
        "distance": "cosine",
        "probe": "logistic regression (L2, lbfgs) on features standardised by the training videos and divided by "
        "sqrt(dimensions)",
        "reliance": "(intact - tampered) / (intact - chance), training and test clips tampered alike",
        "intervals": "95 %, percentile bootstrap over test videos, over whole groups where they are known, paired",
        "variance_ratio": "between / within videos, clips at unit length, the mean's share of within taken off",
        "left_out": describe_failures({"training": train.failures, "test": test.failures}),
    }


def _build(options: MotionOptions, extraction: ExtractionOptions) -> dict[str, Evaluation]:
    protocol = MotionProtocol(options.layer)

    def run(train: VideoFeatures, test: VideoFeatures, encoder: Encoder) -> Result:
        return evaluate_motion(train, test, protocol)

    return {"motion": Evaluation(run, (protocol.layer,), "networks", tuple(PERTURBATIONS))}


PROTOCOL = FeatureProtocol(
    name="motion",
    order=6,
    summary="retrieval and a linear classifier on clips that are frozen, shuffled or reversed",
    options=MotionOptions,
    build=_build,
    in_suite=(MotionOptions(),),
)
