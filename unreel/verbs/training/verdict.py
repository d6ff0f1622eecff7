"""The verdict of a run without labels, saved beside it."""

from pathlib import Path
from typing import Any

from unreel.corpus.held_out import split_held_out
from unreel.corpus.manifest import Manifest
from unreel.corpus.segments import SEGMENT_S, build_instances
from unreel.embedding import load_encoder
from unreel.errors import DiskError, UnreelError
from unreel.evaluation.verdict.decision import Verdict
from unreel.evaluation.verdict.label_free import judge_without_labels
from unreel.evaluation.verdict.verdict_file import read_verdict, write_verdict
from unreel.models.encoder.checkpoint_files import find_checkpoint
from unreel.training.run_folder.config import read_config
from unreel.training.runtime.auto_settings import choose_device


def update_verdict(run: Path) -> Verdict | None:
    """The verdict of a run's checkpoint: the one in RUN/verdict.json, made and written there if it is missing.

    None for a run without an encoder or a manifest that can be read. Raises DiskError.
    """
    try:
        checkpoint = find_checkpoint(run).name
        return read_verdict(run, checkpoint) or judge_run(run, checkpoint)
    except DiskError:
        raise
    except UnreelError:  # the page says what is wrong with the encoder or the manifest
        return None


def judge_run(run: Path, checkpoint: str) -> Verdict:
    """Judge the encoder of a run on its own videos, and write RUN/verdict.json. Raises UnreelError."""
    settings: dict[str, Any] = read_config(run).get("settings") or {}
    instances = build_instances(Manifest.load(run), settings.get("segment_s", SEGMENT_S))
    training, held_out = split_held_out(instances, settings.get("held_out", 0.0), settings.get("seed", 0))
    encoder = load_encoder(run).to(choose_device("auto"))
    verdict = judge_without_labels(encoder, held_out, training)
    write_verdict(run, verdict, checkpoint)
    return verdict
