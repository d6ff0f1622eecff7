"""Temporal evidence: what an encoder still finds when motion, or the order of frames, is taken from the clips.

Every source looks at intact and at tampered clips (views/perturb.py). "Both": training and test clips are tampered
alike, so the figure says what can be told without what was taken. "Query only": tampered test clips against intact
training clips, so it says how far the features move.
"""

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from unreel.errors import InputError, unknown_name_error
from unreel.evaluation.baselines.trivial_baselines import CHANCE, describe_baseline
from unreel.evaluation.feature_extraction import (
    ENCODER,
    INTACT,
    JOINT,
    FeatureExtractor,
    FeatureKey,
    VideoFeatures,
)
from unreel.evaluation.leakage import check_train_test, collect_warnings
from unreel.evaluation.metrics.bootstrap import bootstrap_interval
from unreel.evaluation.metrics.cosine_ranking import QueryGallery, rank_first_correct
from unreel.evaluation.metrics.motion_reliance import (
    Reliance,
    compute_draw_chance,
    compute_probe_chance,
    compute_reliance,
    compute_variance_ratio,
    fit_linear_probe,
)
from unreel.evaluation.result import Result
from unreel.views.perturb import PERTURBATIONS

RECALL_AT_1, PROBE_ACCURACY, BOTH_SIDES, QUERY_ONLY = "R@1", "probe", "both", "query only"
CUE_CONDITIONS = {"motion": "frozen", "order": "shuffled"}  # what is relied on, and the condition that takes it away
ConditionHits = dict[
    str, dict[str, np.ndarray]
]  # condition -> column -> 1.0 for each test video that is right, else 0.0; (Q,)
VarianceRatios = dict[str, dict[str, float | None]]  # who looked -> view, or all joined -> variance ratio


@dataclass(frozen=True)
class MotionProtocol:
    """The layer looked at (pixels have their own), the probe's C, and the bootstrap."""

    layer: str = "pooled"
    c: float = 10.0
    draws: int = 1000
    seed: int = 0


def build_perturbed_extractor(
    extractor: FeatureExtractor, conditions: Sequence[str], lead_in: int, seed: int = 0, with_intact: bool = True
) -> FeatureExtractor:
    """The same source on tampered clips, whose blocks carry the `condition`, and on intact ones before if asked for.

    What is drawn for a video depends on its pictures, not on its number: the n-th videos of the training and of the
    test list would otherwise be shuffled alike, and a video otherwise in another list.
    """
    for name in conditions:
        if name not in PERTURBATIONS:
            raise unknown_name_error("condition", name, PERTURBATIONS)

    def looks(clips: np.ndarray, number: int) -> dict[FeatureKey, dict[str, np.ndarray]]:
        found = dict(extractor(clips, number)) if with_intact else {}
        own_number = zlib.crc32(clips[:, lead_in].tobytes())
        for name in conditions:
            made = extractor(PERTURBATIONS[name](clips, lead_in, seed, own_number), number)
            found |= {block._replace(condition=name): views for block, views in made.items()}
        return found

    return looks


def evaluate_motion(train: VideoFeatures, test: VideoFeatures, protocol: MotionProtocol | None = None) -> Result:
    """R@1 and a linear probe for whoever looked at tampered clips too, and how much of it needs motion and order.

    `extras` has "reliance" (who -> motion or order -> R@1 or probe -> `Reliance`), "variance_ratio" (of the test
    videos whose clips were kept), and "said": sentences made from these figures. Raises InputError for lists that
    can't be compared, or without features of tampered clips.
    """
    protocol = protocol or MotionProtocol()
    check_train_test(train.instances, test.instances)
    blocks = group_keys(train, test, protocol.layer)
    hits = {who: compute_hits(train, test, found, protocol.c) for who, found in blocks.items()}
    chance = {
        RECALL_AT_1: compute_draw_chance(train.labels, test.labels),
        PROBE_ACCURACY: compute_probe_chance(train.labels, test.labels),
    }
    lost = {who: compute_reliances(found, chance, test.groups, protocol) for who, found in hits.items()}
    ratios = compute_variance_ratios(test)
    result = Result("motion", "Without motion or order, percent", {}, format_caption(train, test), {})
    for who, found in hits.items():
        for condition, columns in found.items():
            add_row(result, who, condition, columns, test.groups, protocol)
    result.rows[CHANCE] = {
        format_column(w, h): 100.0 * float(chance[w].mean())
        for w in (RECALL_AT_1, PROBE_ACCURACY)
        for h in (BOTH_SIDES, QUERY_ONLY)
    }
    result.floors[CHANCE] = "R@1: a random ranking; probe: a draw from the training classes or the largest of them"
    result.protocol = describe_protocol(train, test, blocks, protocol)
    result.warnings = collect_warnings(test.instances, train.instances, (1,))
    plain = {who: {w: {s: r.to_json() for s, r in m.items()} for w, m in found.items()} for who, found in lost.items()}
    result.extras = {"reliance": plain, "variance_ratio": ratios, "said": compose_sentences(result.rows, lost, ratios)}
    return result


def add_row(
    result: Result,
    source: str,
    condition: str,
    columns: dict[str, np.ndarray],
    groups: Sequence[str],
    protocol: MotionProtocol,
) -> None:
    """One row, with intervals for the encoder: a table has dozens of figures, and these are the ones to be read."""
    name = format_row_name(source, condition)
    result.rows[name] = {title: 100.0 * float(hit_Q.mean()) for title, hit_Q in columns.items()}
    if source == ENCODER:
        result.intervals[name] = {
            title: bootstrap_interval(100.0 * hit_Q, groups, protocol.seed, protocol.draws)
            for title, hit_Q in columns.items()
            if title.endswith(BOTH_SIDES)
        }
    else:
        result.floors[name] = describe_baseline(source) if condition == INTACT else f"{source}, {condition} clips"


def format_row_name(source: str, condition: str) -> str:
    return f"{source}, {condition}"


def format_column(metric: str, sides: str) -> str:
    return f"{metric} {sides}"


def group_keys(train: VideoFeatures, test: VideoFeatures, layer: str) -> dict[str, dict[str, FeatureKey]]:
    """Who looked at tampered clips -> condition -> block, the encoder first; at `layer`, or at the layer there is."""
    there = [block for block in train.vectors if block in test.vectors]
    found: dict[str, dict[str, FeatureKey]] = {}
    for who in dict.fromkeys(block.source for block in there):
        layers = list(dict.fromkeys(block.layer for block in there if block.source == who))
        at = layer if layer in layers else layers[0]
        mine = {block.condition: block for block in there if (block.source, block.layer) == (who, at)}
        if INTACT in mine and len(mine) > 1:
            found[who] = {name: mine[name] for name in (INTACT, *PERTURBATIONS) if name in mine}
    if not found:
        raise InputError("there are no features of tampered clips; make them with evaluation.motion.tampered")
    return dict(sorted(found.items(), key=lambda item: item[0] != ENCODER))


def compute_hits(train: VideoFeatures, test: VideoFeatures, keys: dict[str, FeatureKey], c: float) -> ConditionHits:
    """Which test videos are right, by nearest neighbour and by probe, under each condition, for one who looked."""
    galleries = {name: train.vectors[block] for name, block in keys.items()}
    probes = {name: fit_linear_probe(vectors_ND, train.labels, c) for name, vectors_ND in galleries.items()}
    truth, found = np.array(test.labels), {}
    for name, block in keys.items():
        query, sides = test.vectors[block], {BOTH_SIDES: name, QUERY_ONLY: INTACT}
        ranks = {
            h: rank_first_correct(QueryGallery(query, galleries[at]), test.labels, train.labels)
            for h, at in sides.items()
        }
        columns = {format_column(RECALL_AT_1, h): rank_Q == 0 for h, rank_Q in ranks.items()}
        columns |= {format_column(PROBE_ACCURACY, h): probes[at](query) == truth for h, at in sides.items()}
        found[name] = {title: hit_Q.astype(np.float64) for title, hit_Q in columns.items()}
    return found


def compute_reliances(
    hits: ConditionHits, chance: dict[str, np.ndarray], groups: Sequence[str], protocol: MotionProtocol
) -> dict[str, dict[str, Reliance]]:
    """What is relied on -> R@1 or probe -> share lost, of one who looked; training and test clips tampered alike."""
    return {
        what: {
            score: compute_reliance(
                hits[INTACT][format_column(score, BOTH_SIDES)],
                hits[condition][format_column(score, BOTH_SIDES)],
                chance[score],
                groups,
                protocol.seed,
                protocol.draws,
            )
            for score in (RECALL_AT_1, PROBE_ACCURACY)
        }
        for what, condition in CUE_CONDITIONS.items()
        if condition in hits
    }


def compute_variance_ratios(features: VideoFeatures) -> VarianceRatios:
    """Who looked, and at which layer -> view, and all views joined -> variance ratio, where intact clips were kept.

    Crops of a clip are averaged first: they differ by place, not by time.
    """
    found: VarianceRatios = {}
    for block, rows_NVD in features.clip_vectors.items():
        if block.condition == INTACT:
            num_videos, num_clips = features.spans_s.shape[:2]
            clips_NVD = rows_NVD.reshape(num_videos, num_clips, -1, rows_NVD.shape[2]).mean(axis=2)
            views = dict(features.columns[block])
            views |= {JOINT: slice(None)} if len(views) > 1 else {}
            found[f"{block.source}, {block.layer}"] = {
                n: compute_variance_ratio(clips_NVD[..., at]) for n, at in views.items()
            }
    return found


def compose_sentences(
    rows: dict[str, dict[str, float]], reliances: dict[str, dict[str, dict[str, Reliance]]], ratios: VarianceRatios
) -> list[str]:
    """Sentences on the encoder (or on whoever stands first), made from the figures."""
    who = next(iter(reliances))
    sentences = []
    for what, scores in reliances[who].items():
        for score, share in scores.items():
            title, condition = format_column(score, BOTH_SIDES), CUE_CONDITIONS[what]
            names = format_row_name(who, INTACT), format_row_name(who, condition), CHANCE
            intact, without, chance = (rows[name][title] for name in names)
            sentences.append(compose_reliance_sentence(what, score, (intact, without, chance), share))
    for name, views in ratios.items():
        ratio = list(views.values())[-1]
        if ratio is not None:
            sentences.append(f"Variance between test videos over variance between clips of one, {name}: {ratio:.2f}.")
    return sentences


def compose_reliance_sentence(cue: str, metric: str, figures: tuple[float, float, float], reliance: Reliance) -> str:
    """One share in words; `figures` are intact, without, and chance."""
    intact, without, chance = figures
    if reliance.share is None or reliance.low is None or reliance.high is None:
        return f"How much of {metric} relies on {cue} is not defined: {reliance.why}."
    start = {"motion": "Frozen to one frame", "order": "With its frames in random order"}[cue]
    way = "stays at" if intact == without else f"{'falls' if without < intact else 'rises'} from {intact:.1f} to"
    interval = f"{reliance.low:.0f} to {reliance.high:.0f}"
    moved = f"{start}, {metric} {way} {without:.1f} (chance {chance:.1f})"
    if reliance.low <= 0.0 <= reliance.high:
        return f"{moved}: no loss that is beyond chance (share {reliance.share:.0f} %, {interval})."
    if reliance.share < 0.0:
        return f"{moved}: more is found without {cue} (share {reliance.share:.0f} %, {interval})."
    return f"{moved}: about {reliance.share:.0f} % ({interval}) of what it finds above chance is lost with {cue}."


def format_caption(train: VideoFeatures, test: VideoFeatures) -> str:
    return (
        f"{len(test.instances)} test against {len(train.instances)} training videos, {len(set(test.labels))} classes, "
        "mean over clips, all views joined. Both: training and test clips alike, what can be told without what "
        "was taken. Query only: tampered test clips against intact training clips. Frozen clips lose, beside motion, "
        "what their other frames show: the floors say how much that is worth. R@1 by cosine; probe: top-1 of logistic "
        "regression, one C for all"
    )


def describe_protocol(
    train: VideoFeatures, test: VideoFeatures, keys: dict[str, dict[str, FeatureKey]], protocol: MotionProtocol
) -> dict[str, Any]:
    """What the figures depend on, as plain JSON, but for the encoder and its clips."""
    left_out = [("training", f) for f in train.failures] + [("test", f) for f in test.failures]
    return {
        **asdict(protocol),
        "layers": {who: found[INTACT].layer for who, found in keys.items()},
        "conditions": list(dict.fromkeys(name for found in keys.values() for name in found)),
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
        "left_out": [{"list": where, "path": f.path, "reason": str(f)} for where, f in left_out],
    }
