"""Make the encoder that comes with the package from a run on synthetic clips: its files, and a card with its figures.

    python benchmarks/base_encoder.py RUN --sets JHMDB WEIZMANN [--name base-16 --half]

The card (unreel/models/base_encoders/NAME/README.md) has the command that trains. A run may begin with the encoder that
it replaces, to go on with it. The figures are those of the weights as they are stored.

The figures are zero-shot: retrieval (default protocol) of the test list of each set, of which the run has seen nothing.
"""

import dataclasses
import datetime
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import tyro

from unreel.embedding import load_encoder
from unreel.errors import InputError
from unreel.evaluation.baselines.trivial_baselines import build_baseline_extractors
from unreel.evaluation.feature_extraction import build_encoder_extractor, extract_features
from unreel.evaluation.labelled_videos import load_labelled_videos
from unreel.evaluation.protocols.retrieval import RetrievalProtocol, evaluate_retrieval
from unreel.evaluation.result import Result
from unreel.io.atomic_write import atomic_folder
from unreel.io.checksums import write_checksums
from unreel.models.encoder.base_encoders import BASE_ENCODERS
from unreel.models.encoder.checkpoint_files import SPEC_FILE, WEIGHTS_FILE, find_checkpoint
from unreel.models.encoder.encoder import Encoder
from unreel.provenance.record import PROVENANCE_FILE
from unreel.settings.network import NO_WEIGHTS
from unreel.training.run_folder.checkpoint_index import format_step
from unreel.training.run_folder.config import read_config
from unreel.video.sources.paths import is_synthetic

CARD_FILE = "README.md"
CARD = """# {name}: an encoder trained on synthetic clips alone

`unreel.load_encoder("{name}")`, or `{name}` wherever a command takes a run. {network},
{parameters:.2f} M parameters{stored}; clips of
{frames} frames of {size} x {size} pixels at {fps:g} frames per second, seen as {views} frames.

**Data.** Drawn clips (docs/methods.md, "Synthetic clips"). It has seen no real video, so no footage of others and no
faces. Its weights have the licence of unreel.

**Recipe.** {date}, {steps} steps of {batch}, seed {seed},
{start}:

    {commands}
    python benchmarks/base_encoder.py RUN --sets {sets}{storing}

**Figures**, zero-shot: retrieval of the test videos among the training videos ({num_clips} clips, protocol `unreel`),
R@1 with its 95 % interval and mAP in percent.

{table}

**What it can't do.** It tells motions apart, not things, places or people: where looks tell the class, an image model
or a colour histogram is better. It has never seen water, crowds or faces move. Training on your own footage
(`--init {name}`) helps.

SHA-256 of {weights_file}: `{sha}`
"""


@dataclasses.dataclass(frozen=True)
class Args:
    """Which run, and what to measure it on."""

    run: tyro.conf.Positional[Path]
    sets: tuple[Path, ...]
    """Labelled sets with train.txt and test.txt."""
    name: str = "base"
    half: bool = False
    """Store the weights in half precision; they are computed with in float32."""
    num_clips: int = 10
    threads: int = 1


def evaluate(encoder: Encoder, data: Path, num_clips: int) -> Result:
    """Retrieval of the test list of a set, with all floors."""
    videos = load_labelled_videos(data)
    extractors = [build_encoder_extractor(encoder, layers=("pooled",))]
    extractors += build_baseline_extractors(encoder, ("pooled",))
    train, test = (
        extract_features(part, encoder.spec, extractors, num_clips, workers=1) for part in (videos.train, videos.test)
    )
    return evaluate_retrieval(train, test, encoder.spec, RetrievalProtocol(num_clips=num_clips, num_examples=0))


def write_table(results: dict[str, Result]) -> str:
    """A row for each floor and the encoder, a column for each set."""
    names = list(dict.fromkeys(name for result in results.values() for name in result.rows))
    lines = [f"| features | {' | '.join(results)} |", "|---" * (1 + len(results)) + "|"]
    for name in names:
        cells = []
        for result in results.values():
            cell = f"{result.rows[name]['R@1']:.1f}"
            if name in result.intervals:
                low, high = result.intervals[name]["R@1"]
                cell += f" [{low:.0f}, {high:.0f}], {result.rows[name]['mAP']:.1f}"
            cells.append(cell)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def list_commands(run: Path) -> list[str]:
    """The commands that trained a run, one for each time that it was begun or went on, with RUN for its folder."""
    record = json.loads((run / PROVENANCE_FILE).read_text())
    commands = [record["command"], *(resumed["command"] for resumed in record.get("resumed", []))]
    return [re.sub(r"(--out|--resume) \S+", r"\1 RUN", command) for command in commands]


def read_recipe(args: Args) -> dict[str, Any]:
    """The configuration of the run. Raises InputError where it has seen files, or began with weights of others."""
    config = read_config(args.run)
    source, init = config["source"], config["settings"]["init"]
    if not is_synthetic(source) or init not in (NO_WEIGHTS, args.name):
        raise InputError(f"{args.run}: trained on {source}, begun with {init}, not with {NO_WEIGHTS} or {args.name}")
    return config


def hash_weights(folder: Path) -> str:
    """SHA-256 of the weights of a checkpoint."""
    return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()


def describe_start(args: Args, config: dict[str, Any]) -> str:
    """What the run began with; the encoder of this name that it replaces is in the history of the repository."""
    if config["settings"]["init"] == NO_WEIGHTS:
        return "begun with random weights"
    before = hash_weights(BASE_ENCODERS / args.name)
    return f"begun with the `{args.name}` before it (in the history of this file; SHA-256 `{before}`)"


def store_encoder(checkpoint: Path, folder: Path, half: bool) -> None:
    """The weights, by request in half precision, and their description, with a checksum."""
    weights = safetensors.torch.load_file(checkpoint / WEIGHTS_FILE)
    if half:
        weights = {name: weight.half() if weight.is_floating_point() else weight for name, weight in weights.items()}
    (folder / WEIGHTS_FILE).write_bytes(safetensors.torch.save(weights))
    shutil.copyfile(checkpoint / SPEC_FILE, folder / SPEC_FILE)
    write_checksums(folder, (WEIGHTS_FILE,))


def write_card(args: Args, config: dict[str, Any], folder: Path) -> str:
    """The model card of the encoder that is stored in a folder."""
    encoder = load_encoder(folder)
    settings, spec = config["settings"], encoder.spec
    results = {data.resolve().name: evaluate(encoder, data, args.num_clips) for data in args.sets}
    return CARD.format(
        name=args.name,
        network=spec.backbone,
        parameters=sum(p.numel() for p in encoder.backbone.parameters()) / 1e6,
        stored=" (stored in half precision)" if args.half else "",
        storing=f" --name {args.name}{' --half' if args.half else ''}" if args.name != "base" else "",
        frames=spec.clip.num_frames,
        size=spec.views.size,
        fps=spec.clip.fps,
        views=" and ".join(dict.fromkeys(spec.views.names)),
        date=datetime.date.today(),
        steps=settings["steps"],
        batch=settings["batch_size"],
        seed=settings["seed"],
        start=describe_start(args, config),
        commands="\n    ".join(list_commands(args.run)),
        sets=" ".join(data.resolve().name.upper() for data in args.sets),
        num_clips=args.num_clips,
        table=write_table(results),
        weights_file=WEIGHTS_FILE,
        sha=hash_weights(folder),
    )


def main(args: Args) -> None:
    torch.set_num_threads(args.threads)
    config, checkpoint = read_recipe(args), find_checkpoint(args.run)
    if checkpoint.name != format_step(steps := config["settings"]["steps"]):
        raise InputError(f"{checkpoint}: this is not the last of {steps} steps")
    with atomic_folder(BASE_ENCODERS / args.name, overwrite=True) as folder:
        store_encoder(checkpoint, folder, args.half)
        card = write_card(args, config, folder)
        (folder / CARD_FILE).write_text(card, encoding="utf-8")
    print(card)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
