"""The folder that `unreel evaluate all` writes: every result in one JSON, and a page."""

import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

from unreel.api.evaluating import Advance, Lists, Sides, complete, contamination, run_of, sides
from unreel.api.using import require_writable
from unreel.errors import DiskError, InputError, UnreelError
from unreel.evaluation.finetune import evaluate_finetune
from unreel.evaluation.recipes import recipe as recipe_named
from unreel.evaluation.result import Result
from unreel.evaluation.suite import Evaluated, Looking, standard
from unreel.evaluation.suite import evaluate as evaluate_features
from unreel.models.encoder import Encoder, checkpoint_folder
from unreel.training.checkpoint import replace_text
from unreel.training.run import read_config, versions
from unreel.video.packed import content_hash

RESULTS = "results.json"


def evaluate_all(
    encoder: Encoder,
    run: Path,
    data: Path,
    out: Path,
    lists: Lists | None = None,
    looking: Looking | None = None,
    finetune: bool = False,
    on_progress: Advance | None = None,
    command: str = "",
) -> dict[str, Result]:
    """Every evaluation on frozen features from one pass; OUT/results.json and OUT/report.html.

    `command` is what the page says to repeat it with.
    """
    if out.exists():
        raise InputError(f"{out} exists already; nothing was changed. Choose another --out")
    both, looking = sides(data, lists), looking or Looking()
    require_writable(out)
    done = evaluate_features(encoder, both.train, both.test, standard(looking), looking, on_progress)
    if finetune:
        began_s = time.monotonic()
        done.results["finetune"] = evaluate_finetune(encoder, both.train, both.test, recipe_named(), True, on_progress)
        done.seconds["finetune"] = time.monotonic() - began_s
    for result in done.results.values():
        complete(result, encoder, run, both)
    write_evaluation(out, summary_of(done, encoder, run, both) | {"command": command})
    return done.results


def summary_of(done: Evaluated, encoder: Encoder, run: Path, both: Sides) -> dict[str, Any]:
    """What OUT/results.json holds: results by name, and everything that they share."""
    return {
        "unreel": versions()["unreel"],
        "run": run.resolve().name,
        "seed": seed_of(run),
        "training": training_of(run),
        "checkpoint": checkpoint_folder(run).name,
        "encoder": encoder.spec.to_json(),
        "data": {"name": both.name, "hash": data_hash(both), "notes": both.notes},
        "videos": {"training": len(done.train.instances), "test": len(done.test.instances)},
        "contamination": contamination(run, both),
        "versions": versions(),
        "seconds": {name: round(seconds, 3) for name, seconds in done.seconds.items()},
        "results": {name: result.to_json() for name, result in done.results.items()},
    }


def seed_of(run: Path) -> int | None:
    """The seed that a run was trained with; None for a bare checkpoint."""
    try:
        return int(read_config(run_of(run))["settings"]["seed"])
    except (UnreelError, KeyError, TypeError, ValueError):
        return None


def training_of(run: Path) -> dict[str, Any]:
    """All that a run was trained with but its seed and places: runs that share it are seeds of one recipe."""
    try:
        saved = read_config(run_of(run))
        settings = {n: v for n, v in saved["settings"].items() if n not in ("seed", "workers", "threads")}
        return {"method": saved["method"], "options": saved["options"], "settings": settings}
    except (UnreelError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def data_hash(both: Sides) -> str:
    """One short text for names, sides, labels, groups and contents of a data set: same text, same videos."""
    digest = hashlib.blake2b(digest_size=16)
    for side, part in (("train", both.train), ("test", both.test)):
        for who in part:
            line = "\t".join((side, Path(who.path).name, who.label, who.group, ""))
            digest.update(line.encode("utf-8", "surrogateescape"))
            digest.update(content(who.path))
    return digest.hexdigest()


def content(path: str) -> bytes:
    try:
        return content_hash(path).encode()
    except OSError as error:
        return str(error.strerror or error).encode()


def write_evaluation(out: Path, summary: dict[str, Any]) -> None:
    """OUT, whole or not at all."""
    from unreel.report.evaluation_page import write_page

    aside = out.with_name(f".writing-{out.name}")
    try:
        aside.mkdir(parents=True, exist_ok=True)
        replace_text(aside / RESULTS, json.dumps(summary, indent=2, allow_nan=False) + "\n")
        write_page(aside)
        aside.rename(out)
    except OSError as error:
        raise DiskError(f"{out}: the evaluation could not be written ({error.strerror})") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
