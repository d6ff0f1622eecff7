"""Temporal evidence: what an encoder still finds when motion, or the order of frames, is taken from the clips.

Every source looks at intact and at tampered clips (views/tamper.py). "Both": training and test clips are tampered
alike, so the figure says what can be told without what was taken. "Query only": tampered test clips against intact
training clips, so it says how far the features move.
"""

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from unreel.errors import InputError, unknown
from unreel.evaluation.bootstrap import bootstrap_interval
from unreel.evaluation.features import INTACT, JOINT, TRAINED, Block, Source, VideoFeatures
from unreel.evaluation.floors import CHANCE, described
from unreel.evaluation.lists import cautions, check_lists
from unreel.evaluation.ranking import Sides, first_correct
from unreel.evaluation.reliance import Reliance, draw_chance, linear_probe, probe_chance, reliance, variance_ratio
from unreel.evaluation.result import Result
from unreel.views.tamper import CONDITIONS

R1, PROBE, BOTH, QUERY = "R@1", "probe", "both", "query only"
RELIANCES = {"motion": "frozen", "order": "shuffled"}  # what is relied on, and the condition that takes it away
Hits = dict[str, dict[str, np.ndarray]]  # condition -> column -> 1.0 for each test video that is right, else 0.0; (Q,)
Ratios = dict[str, dict[str, float | None]]  # who looked -> view, or all joined -> variance ratio


@dataclass(frozen=True)
class MotionProtocol:
    """The layer looked at (pixels have their own), the probe's C, and the bootstrap."""

    layer: str = "pooled"
    c: float = 10.0
    draws: int = 1000
    seed: int = 0


def tampered(source: Source, conditions: Sequence[str], lead_in: int, seed: int = 0, intact: bool = True) -> Source:
    """The same source on tampered clips, whose blocks carry the `condition`, and on intact ones before if asked for.

    What is drawn for a video depends on its pictures, not on its number: the n-th videos of the training and of the
    test list would otherwise be shuffled alike, and a video otherwise in another list.
    """
    for name in conditions:
        if name not in CONDITIONS:
            raise unknown("condition", name, CONDITIONS)

    def looks(clips: np.ndarray, number: int) -> dict[Block, dict[str, np.ndarray]]:
        found = dict(source(clips, number)) if intact else {}
        own_number = zlib.crc32(clips[:, lead_in].tobytes())
        for name in conditions:
            made = source(CONDITIONS[name](clips, lead_in, seed, own_number), number)
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
    check_lists(train.instances, test.instances)
    blocks = compared(train, test, protocol.layer)
    hits = {who: hits_of(train, test, found, protocol.c) for who, found in blocks.items()}
    chance = {R1: draw_chance(train.labels, test.labels), PROBE: probe_chance(train.labels, test.labels)}
    lost = {who: reliances(found, chance, test.groups, protocol) for who, found in hits.items()}
    ratios = variance_ratios(test)
    result = Result("motion", "Without motion or order, percent", {}, caption(train, test), {})
    for who, found in hits.items():
        for condition, columns in found.items():
            add_row(result, who, condition, columns, test.groups, protocol)
    result.rows[CHANCE] = {column(w, h): 100.0 * float(chance[w].mean()) for w in (R1, PROBE) for h in (BOTH, QUERY)}
    result.floors[CHANCE] = "R@1: a random ranking; probe: a draw from the training classes or the largest of them"
    result.protocol = describe(train, test, blocks, protocol)
    result.warnings = cautions(test.instances, train.instances, (1,))
    plain = {who: {w: {s: r.to_json() for s, r in m.items()} for w, m in found.items()} for who, found in lost.items()}
    result.extras = {"reliance": plain, "variance_ratio": ratios, "said": said(result.rows, lost, ratios)}
    return result


def add_row(
    result: Result,
    who: str,
    condition: str,
    columns: dict[str, np.ndarray],
    groups: Sequence[str],
    protocol: MotionProtocol,
) -> None:
    """One row, with intervals for the encoder: a table has dozens of figures, and these are the ones to be read."""
    name = row_name(who, condition)
    result.rows[name] = {title: 100.0 * float(hit_Q.mean()) for title, hit_Q in columns.items()}
    if who == TRAINED:
        result.intervals[name] = {
            title: bootstrap_interval(100.0 * hit_Q, groups, protocol.seed, protocol.draws)
            for title, hit_Q in columns.items()
            if title.endswith(BOTH)
        }
    else:
        result.floors[name] = described(who) if condition == INTACT else f"{who}, {condition} clips"


def row_name(who: str, condition: str) -> str:
    return f"{who}, {condition}"


def column(what: str, how: str) -> str:
    return f"{what} {how}"


def compared(train: VideoFeatures, test: VideoFeatures, layer: str) -> dict[str, dict[str, Block]]:
    """Who looked at tampered clips -> condition -> block, the encoder first; at `layer`, or at the layer there is."""
    there = [block for block in train.vectors if block in test.vectors]
    found: dict[str, dict[str, Block]] = {}
    for who in dict.fromkeys(block.who for block in there):
        layers = list(dict.fromkeys(block.layer for block in there if block.who == who))
        at = layer if layer in layers else layers[0]
        mine = {block.condition: block for block in there if (block.who, block.layer) == (who, at)}
        if INTACT in mine and len(mine) > 1:
            found[who] = {name: mine[name] for name in (INTACT, *CONDITIONS) if name in mine}
    if not found:
        raise InputError("there are no features of tampered clips; make them with evaluation.motion.tampered")
    return dict(sorted(found.items(), key=lambda item: item[0] != TRAINED))


def hits_of(train: VideoFeatures, test: VideoFeatures, blocks: dict[str, Block], c: float) -> Hits:
    """Which test videos are right, by nearest neighbour and by probe, under each condition, for one who looked."""
    galleries = {name: train.vectors[block] for name, block in blocks.items()}
    probes = {name: linear_probe(vectors_ND, train.labels, c) for name, vectors_ND in galleries.items()}
    truth, found = np.array(test.labels), {}
    for name, block in blocks.items():
        query, sides = test.vectors[block], {BOTH: name, QUERY: INTACT}
        ranks = {h: first_correct(Sides(query, galleries[at]), test.labels, train.labels) for h, at in sides.items()}
        columns = {column(R1, h): rank_Q == 0 for h, rank_Q in ranks.items()}
        columns |= {column(PROBE, h): probes[at](query) == truth for h, at in sides.items()}
        found[name] = {title: hit_Q.astype(np.float64) for title, hit_Q in columns.items()}
    return found


def reliances(
    hits: Hits, chance: dict[str, np.ndarray], groups: Sequence[str], protocol: MotionProtocol
) -> dict[str, dict[str, Reliance]]:
    """What is relied on -> R@1 or probe -> share lost, of one who looked; training and test clips tampered alike."""
    return {
        what: {
            score: reliance(
                hits[INTACT][column(score, BOTH)],
                hits[condition][column(score, BOTH)],
                chance[score],
                groups,
                protocol.seed,
                protocol.draws,
            )
            for score in (R1, PROBE)
        }
        for what, condition in RELIANCES.items()
        if condition in hits
    }


def variance_ratios(features: VideoFeatures) -> Ratios:
    """Who looked, and at which layer -> view, and all views joined -> variance ratio, where intact clips were kept.

    Crops of a clip are averaged first: they differ by place, not by time.
    """
    found: Ratios = {}
    for block, rows_NVD in features.clips.items():
        if block.condition == INTACT:
            num_videos, num_clips = features.spans_s.shape[:2]
            clips_NVD = rows_NVD.reshape(num_videos, num_clips, -1, rows_NVD.shape[2]).mean(axis=2)
            views = dict(features.columns[block])
            views |= {JOINT: slice(None)} if len(views) > 1 else {}
            found[f"{block.who}, {block.layer}"] = {n: variance_ratio(clips_NVD[..., at]) for n, at in views.items()}
    return found


def said(
    rows: dict[str, dict[str, float]], lost: dict[str, dict[str, dict[str, Reliance]]], ratios: Ratios
) -> list[str]:
    """Sentences on the encoder (or on whoever stands first), made from the figures."""
    who = next(iter(lost))
    sentences = []
    for what, scores in lost[who].items():
        for score, share in scores.items():
            title, condition = column(score, BOTH), RELIANCES[what]
            names = row_name(who, INTACT), row_name(who, condition), CHANCE
            intact, without, chance = (rows[name][title] for name in names)
            sentences.append(sentence(what, score, (intact, without, chance), share))
    for name, views in ratios.items():
        ratio = list(views.values())[-1]
        if ratio is not None:
            sentences.append(f"Variance between test videos over variance between clips of one, {name}: {ratio:.2f}.")
    return sentences


def sentence(what: str, score: str, figures: tuple[float, float, float], share: Reliance) -> str:
    """One share in words; `figures` are intact, without, and chance."""
    intact, without, chance = figures
    if share.share is None or share.low is None or share.high is None:
        return f"How much of {score} relies on {what} is not defined: {share.why}."
    start = {"motion": "Frozen to one frame", "order": "With its frames in random order"}[what]
    way = "stays at" if intact == without else f"{'falls' if without < intact else 'rises'} from {intact:.1f} to"
    interval = f"{share.low:.0f} to {share.high:.0f}"
    moved = f"{start}, {score} {way} {without:.1f} (chance {chance:.1f})"
    if share.low <= 0.0 <= share.high:
        return f"{moved}: no loss that is beyond chance (share {share.share:.0f} %, {interval})."
    if share.share < 0.0:
        return f"{moved}: more is found without {what} (share {share.share:.0f} %, {interval})."
    return f"{moved}: about {share.share:.0f} % ({interval}) of what it finds above chance is lost with {what}."


def caption(train: VideoFeatures, test: VideoFeatures) -> str:
    return (
        f"{len(test.instances)} test against {len(train.instances)} training videos, {len(set(test.labels))} classes, "
        "mean over clips, all views joined. Both: training and test clips alike, what can be told without what "
        "was taken. Query only: tampered test clips against intact training clips. Frozen clips lose, beside motion, "
        "what their other frames show: the floors say how much that is worth. R@1 by cosine; probe: top-1 of logistic "
        "regression, one C for all"
    )


def describe(
    train: VideoFeatures, test: VideoFeatures, blocks: dict[str, dict[str, Block]], protocol: MotionProtocol
) -> dict[str, Any]:
    """What the figures depend on, as plain JSON, but for the encoder and its clips."""
    left_out = [("training", *f) for f in train.left_out] + [("test", *f) for f in test.left_out]
    return {
        **asdict(protocol),
        "layers": {who: found[INTACT].layer for who, found in blocks.items()},
        "conditions": list(dict.fromkeys(name for found in blocks.values() for name in found)),
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
        "left_out": [{"list": where, "path": path, "reason": reason} for where, path, reason in left_out],
    }
