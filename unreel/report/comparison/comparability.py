"""Which evaluations can be compared: what a figure depends on besides the encoder, and how two evaluations differ.

Clips have the length, rate and size that an encoder was trained with, so these belong to the encoder; everything else
in a protocol, known here or not, must be equal before figures share a column.
"""

import json
from collections.abc import Sequence
from typing import Any

from unreel.evaluation.result import Result
from unreel.evaluation.video_features import ENCODER
from unreel.report.main_figures import format_title
from unreel.report.results_file import EvaluationSummary

ENCODER_KEYS = {"backbone", "method", "checkpoint", "weights", "views", "view", "residual", "standardize", "dimensions"}
ENCODER_KEYS |= {"channel_mean", "channel_std", "seen"}
ENCODER_KEYS |= {"numbers", "channels", "num_frames", "fps", "stride_frames", "short", "size", "crop"}
RESULT_KEYS = {
    "chosen",
    "chosen_k",
    "best_epoch",
    "left_out",
    "data",
    "versions",
    "save_detections",
}  # results, or places
COUNT_KEYS = {"queries", "gallery", "train", "test", "classes", "held_out", "validation", "labels_per_class", "steps"}
MEASUREMENT_KEYS = {"protocol", "num_clips", "num_crops", "clip_choice", "rate", "unit", "layer", "centring", "joint"}
MEASUREMENT_KEYS |= {"distance", "ties", "intervals", "ks", "temperature", "validation_share", "seed", "kind", "grid"}
MEASUREMENT_KEYS |= {"train_clips", "test_clips", "epochs", "batch_size", "lrs", "weight_decays", "cs", "normalize"}
MEASUREMENT_KEYS |= {"heads", "draws", "draw", "seeds", "classifier", "features", "blocks", "layers", "conditions", "c"}
MEASUREMENT_KEYS |= {"probe", "reliance", "variance_ratio"}  # a test fails for a key of no group
DATA_KEY = "data"
PRIORITY_KEYS = ("num_clips", "num_crops", "layer", "centring", "unit", "kind", "train_clips", "test_clips")
MAX_DIFFERENCES = 5  # differences named in a heading, those of FIRST before others
Signature = dict[str, dict[str, Any]]
"""Title of a result, or DATA, to what its figures depend on."""


def build_signature(summary: EvaluationSummary) -> Signature:
    """What the figures of an evaluation depend on, without its encoder."""
    found = {DATA_KEY: {"hash": summary.data["hash"]}}
    return found | {format_title(result): extract_shared_protocol(result) for result in summary.results.values()}


def extract_shared_protocol(result: Result) -> dict[str, Any]:
    known = {k: v for k, v in result.protocol.items() if k not in ENCODER_KEYS | RESULT_KEYS | {"blocks", "layers"}}
    if isinstance(blocks := result.protocol.get("blocks"), dict):  # row -> who, layer, condition
        known["layer"] = sorted({" ".join(block[1:]) for block in blocks.values() if block[0] == ENCODER})
    if isinstance(layers := result.protocol.get("layers"), dict):  # who -> layer
        known["layer"] = layers.get(ENCODER)
    return known


def are_comparable(a: Signature, b: Signature) -> bool:
    """Whether all results that both of them have were measured in the same way."""
    return all(a[name] == b[name] for name in a.keys() & b.keys())


def build_headings(signatures: Sequence[Signature], data_names: Sequence[str]) -> list[str]:
    """For each of several tables how it differs from the others; `data_names` are their data sets."""
    places = {(name, key) for s in signatures for name, part in s.items() for key in part}
    differing = [place for place in places if len({format_value(s, *place) for s in signatures if place[0] in s}) > 1]
    differing.sort(
        key=lambda place: (PRIORITY_KEYS.index(place[1]) if place[1] in PRIORITY_KEYS else len(PRIORITY_KEYS), place)
    )
    data_differ = (DATA_KEY, "hash") in differing
    headings = []
    for s, name in zip(signatures, data_names, strict=True):
        parts = [f"data {name}, hash {s[DATA_KEY]['hash'][:8]}"] if data_differ else []
        values: dict[str, list[str]] = {}
        for title, key in differing:
            if title in s and title != DATA_KEY and not (data_differ and key in COUNT_KEYS):
                difference = f"{key.replace('_', ' ')} {format_value(s, title, key)}"
                values.setdefault(difference, []).append(title)
        parts += [f"{value} in {', '.join(titles)}" for value, titles in values.items()]
        more = f"; {len(parts) - MAX_DIFFERENCES} more" if len(parts) > MAX_DIFFERENCES else ""
        headings.append("; ".join(parts[:MAX_DIFFERENCES]) + more)
    return headings


def format_value(signature: Signature, title: str, key: str) -> str:
    """A value in a few words."""
    if key not in signature[title]:
        return "not stated"
    value = signature[title][key]
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def explain_tables(signatures: Sequence[Signature]) -> str:
    """A sentence on why there are several tables, "" when there is one."""
    if len(signatures) < 2:
        return ""
    return (
        f"These evaluations were not made alike, so they are in {len(signatures)} tables; the headings name the "
        "differences. Don't compare figures of different tables."
    )
