"""CLASSIFIER/report.html: how often is it right, and do its probabilities mean what they say? From classifier.json."""

from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from unreel.errors import RunError
from unreel.io.text import parse_json
from unreel.provenance.record import read_provenance
from unreel.report.confusion_matrix import build_confusion_matrix
from unreel.report.html_writer import flatten_options, write_html
from unreel.report.pages.reliability_diagram import draw_reliability

CLASSIFIER_JSON = "classifier.json"
MAX_DIGITS = 8


class Words(NamedTuple):
    """What the sets and the units are called: of marks each is one clip, and there are no whole videos."""

    sets: dict[str, str]
    units: dict[str, str]


VIDEOS = Words(
    {"test": "test videos", "held_out": "training videos, each scored by a classifier without its group"},
    {"video": "whole videos", "clip": "single clips"},
)
MARKS = Words(
    {"held_out": "marked moments, each scored by a classifier without the marks of its video"},
    {"clip": "marked moments"},
)


def write_classifier_page(folder: Path, name: str = "") -> Path:
    """Write FOLDER/report.html from FOLDER/classifier.json. Raises RunError and DiskError."""
    path = folder / CLASSIFIER_JSON
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
        context = build_context(data, name or folder.name, str(read_provenance(folder).get("command", "")))
        return write_html("classifier.html", context, folder / "report.html")
    except (OSError, KeyError, IndexError, TypeError, ValueError, AttributeError, jinja2.UndefinedError) as error:
        raise RunError(f"{path} holds something that can't be shown ({error!r}); train the classifier again") from error


def build_context(data: dict[str, Any], name: str, command: str) -> dict[str, Any]:
    """Everything the template shows."""
    measured, training = data["measured"], data["training"]
    words = MARKS if training.get("examples") == "marks" else VIDEOS
    shown = [subset for subset in words.sets if subset in measured]
    confusion = measured.get("confusion")
    return {
        "name": name,
        "kind": data["kind"],
        "training": training,
        "num_classes": len(data["classes"]),
        "facts": build_facts(measured, data["calibration"], shown, words),
        "warnings": data["warnings"],
        "diagrams": [
            build_diagram(measured, data["calibration"], s, unit, words) for s in shown for unit in words.units
        ],
        "rows": [build_row(measured[s][unit], s, words.units[unit]) for s in shown for unit in words.units],
        "thresholds": [build_threshold(measured, data["calibration"], unit, words.units[unit]) for unit in words.units],
        "confusion": build_confusion_matrix(confusion) if confusion else None,
        "confusion_of": words.sets[confusion["of"]] if confusion else "",
        "per_class": list(training["per_class"].items()),
        "settings": list_settings(data),
        "left_out": training["left_out"],
        "command": command,
    }


def build_facts(
    measured: dict[str, Any], calibration: dict[str, Any], shown: list[str], words: Words
) -> list[tuple[str, str, str]]:
    """Key figures of whole videos or of marks: value, name, remark."""
    if not shown:
        return []
    found = measured[shown[0]]["video"]
    low, high = found["accuracy_interval"]
    mean, least, most = found["exact_ece"]
    kept = "none" if found["kept_accuracy"] is None else f"{found['kept_accuracy']:.1f} % of those are right"
    tested, threshold = f"{found['videos']} {words.sets[shown[0]]}", f"{100 * calibration['video']['threshold']:.0f} %"
    return [
        (f"{found['accuracy']:.1f} %", "right answers", f"{tested}; 95 %: {low:.1f} to {high:.1f}"),
        (f"{found['ece']:.1f} %", "calibration error (ECE)", f"before the temperature {found['ece_before']:.1f}"),
        (f"{mean:.1f} %", "ECE if they were exact", f"on so many answers by chance; 95 %: {least:.1f} to {most:.1f}"),
        (f"{found['kept']:.0f} %", "answers above the threshold", f"{threshold}; {kept}"),
    ]  # fmt: skip


def build_diagram(
    measured: dict[str, Any], calibration: dict[str, Any], subset: str, unit: str, words: Words
) -> dict[str, Any]:
    """A reliability diagram with its title and its figures in words."""
    found = measured[subset][unit]
    svg = draw_reliability(found["bins"], calibration[unit]["threshold"])
    name = words.units[unit]
    of_what = "" if words.sets[subset].startswith(name) else f"{name.capitalize()} of "
    said = f"{of_what}{found['videos']:,} {words.sets[subset]}: {found['answers']:,} answers"
    label = f"Reliability of {name}, {words.sets[subset]}: ECE {found['ece']:.1f} per cent"
    title = f"{'Test' if subset == 'test' else 'Held out'}, {name}"
    return {"title": title, "last": f"ECE {found['ece']:.1f} %", "said": said, "svg": Markup(svg), "label": label}


def build_row(found: dict[str, Any], subset: str, unit_name: str) -> list[str]:
    """A row of the table of figures."""
    mean, low, high = found["exact_ece"]
    kept = "" if found["kept_accuracy"] is None else f"{found['kept_accuracy']:.1f}"
    name = f"{'test' if subset == 'test' else 'held out'}, {unit_name}"
    values = [
        f"{found['answers']:,}",
        *(f"{found[key]:.1f}" for key in ("accuracy", "confidence", "ece_before", "ece")),
    ]
    return [name, *values, f"{mean:.1f} ({low:.1f} to {high:.1f})", f"{found['kept']:.1f}", kept]


def build_threshold(measured: dict[str, Any], calibration: dict[str, Any], unit: str, unit_name: str) -> str:
    """What the threshold of a unit is, how it was chosen and what it does, as a sentence or two."""
    how = measured["threshold"][unit]
    text = f"{unit_name.capitalize()}: below {100 * calibration[unit]['threshold']:.1f} %. Rule: {how['rule']}."
    if how.get("kept_right") is not None:
        text += f" It keeps {how['kept_right']:.0f} % of the right answers to videos held out"
        text += f" and {how['kept_wrong']:.0f} % of the wrong ones." if how.get("kept_wrong") is not None else "."
    if "turned_away" in how:
        text += (
            f" Of answers to classes that a classifier had not seen, {how['turned_away']:.0f} % were turned away "
            f"({how['unseen']:,} answers; area under the ROC curve {how['auroc']:.0f} %, 50 is chance)."
        )
    return text


def list_settings(data: dict[str, Any]) -> list[tuple[str, str]]:
    """How it was made: name and value."""
    training = {k: v for k, v in data["training"].items() if k not in ("left_out", "per_class")}
    options = flatten_options(
        {"kind": data["kind"], **training, "calibration": data["calibration"], "unreel": data["unreel"]}
    )
    return [(name.replace("_", " "), shorten_number(value)) for name, value in options]


def shorten_number(text: str) -> str:
    """A long fraction with four digits; any other text as it is.

    >>> shorten_number("0.123456789"), shorten_number("1.0"), shorten_number("0.1.0")
    ('0.1235', '1.0', '0.1.0')
    """
    try:
        return f"{float(text):.4g}" if len(text) > MAX_DIGITS else text
    except ValueError:
        return text
