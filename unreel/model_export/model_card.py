"""The page of an encoder on a model hub: what it is, what it needs, how good it is and what it has seen."""

from pathlib import Path
from typing import Any

import unreel
from unreel.errors import UnreelError
from unreel.evaluation.contamination import find_run_folder
from unreel.evaluation.result import Result
from unreel.evaluation.verdict.verdict_file import read_verdict
from unreel.io.text import format_count, parse_json
from unreel.models.encoder.checkpoint_files import find_checkpoint
from unreel.models.released.import_report import read_pretraining
from unreel.report.main_figures import find_main_row, format_title, get_main_figure
from unreel.training.run_folder.config import read_config

NO_LICENCE = "other"  # what a hub calls a licence that has no name there
USE = """## Use

```python
import unreel

encoder = unreel.load_encoder("FOLDER")  # this folder, downloaded
embeddings = encoder.embed("videos")     # unit vectors: compare by inner products
```"""
TAGS = ("video", "self-supervised-learning", "video-retrieval", "feature-extraction")


def write_model_card(run: Path, about: dict[str, Any], licence: str) -> str:
    """The text of README.md for an encoder; `about` is `describe_model`, `licence` a name that the hub knows."""
    sections = [
        format_header(licence),
        f"# {about['backbone']}, {about['method']}",
        "A video encoder: a function from a moment of video to a vector.",
        USE,
        format_clips(about),
        *(text for text in (format_training(run), format_verdict(run), format_results(run, about)) if text),
        f"Made by unreel {unreel.__version__}; encoder.json and config.json hold the details.",
    ]
    return "\n\n".join(sections) + "\n"


def format_header(licence: str) -> str:
    """What the hub reads."""
    name = [f"license: {licence}"] + (["license_link: LICENSE"] if licence == NO_LICENCE else [])
    return "\n".join(["---", *name, "library_name: unreel", "tags:", *(f"- {tag}" for tag in TAGS), "---"])


def format_clips(about: dict[str, Any]) -> str:
    """The clips that the encoder takes."""
    clip, inside, resize = about["clip"], about["inside_the_model"], about["resize"]
    size = inside["crop"]["size"]
    rows = {
        "clip": f"{clip['num_frames']} frames, {clip['rate']}",
        "frames": f"resized to {resize['width']} x {resize['height']}, centre crop {size} x {size}, in [0, 1]",
        "views": ", ".join(inside["views"]),
        "mean, deviation": f"{inside['mean']}, {inside['std']}" if "mean" in inside else "",
        "residual frames": ", ".join(f"{k} {v}" for k, v in inside.get("residual", {}).items()),
        "vector": " + ".join(f"{part['width']} ({part['name']})" for part in about["parts"]),
    }
    return "## Clips\n\n| | |\n|---|---|\n" + "\n".join(f"| {name} | {text} |" for name, text in rows.items() if text)


def format_training(run: Path) -> str:
    """How the encoder was trained: by unreel, or by those who released its weights. No path of the machine is told."""
    if about := read_pretraining(find_checkpoint(run)):
        lines = [f"Released weights: {about['source']}, from the file {about['file']} ({about['checksum']})."]
        lines += [f"- known: {text}" for text in about["known"]] + [f"- not known: {text}" for text in about["unknown"]]
        lines += [f"- otherwise here: {text}" for text in about["differs"]]
        return "## Training\n\n" + "\n".join(lines)
    try:
        config = read_config(find_run_folder(find_checkpoint(run)))
    except UnreelError:
        return ""
    settings = config.get("settings") or {}
    names = ("steps", "epochs", "batch_size", "optimizer", "lr", "weight_decay", "seed", "init")
    told = ", ".join(f"{name} {settings[name]}" for name in names if settings.get(name))
    return f"## Training\n\nMethod `{config.get('method')}`, without labels: {told}."


def format_verdict(run: Path) -> str:
    """Whether it is better than what needs no training."""
    folder = find_checkpoint(run)
    verdict = read_verdict(find_run_folder(folder), folder.name)
    return f"## Verdict\n\n{verdict.sentence}" if verdict else ""


def format_results(run: Path, about: dict[str, Any]) -> str:
    """The main figure of every evaluation that the run holds, beside the best of what needs no training."""
    rows = []
    for path in sorted((find_run_folder(find_checkpoint(run)) / "evaluations").glob("*.json")):
        try:
            result = Result.from_json(parse_json(path.read_text()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
        row = find_main_row(result, about["inside_the_model"]["views"])
        figure = get_main_figure(result, row) if row else None
        floors = [found for name in result.floors if (found := get_main_figure(result, name))]
        best = max((floor.value for floor in floors), default=None)
        if figure:
            beside = "" if best is None else f"{best:.1f} %"
            rows.append(f"| {format_title(result)}, {result.protocol.get('data', path.stem)} | {figure} | {beside} |")
    if not rows:
        return ""
    head = "| evaluation | encoder | best of what needs no training |\n|---|---|---|\n"
    return f"## Results\n\nMain figures of {format_count(len(rows), 'evaluation')}.\n\n{head}" + "\n".join(rows)
