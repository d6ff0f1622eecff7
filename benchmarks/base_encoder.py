"""Make the encoder that comes with the package from a run on synthetic clips: its files, and a card with its figures.

    python benchmarks/base_encoder.py RUN --sets JHMDB WEIZMANN [--first RUN]

The card (unreel/models/base_encoders/base/README.md) has the commands that train. A run may begin with `base` itself,
to go on with it: `--first` is then the run that `base` was made of.
The figures are zero-shot: retrieval (default protocol) of the test list of each set, of which the run has seen nothing.
"""

import dataclasses
import datetime
import hashlib
import shutil
from pathlib import Path
from typing import Any

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
from unreel.methods.registry import load_preset
from unreel.models.encoder.base_encoders import BASE_ENCODERS
from unreel.models.encoder.checkpoint_files import SPEC_FILE, WEIGHTS_FILE, find_checkpoint
from unreel.models.encoder.encoder import Encoder
from unreel.settings.network import NO_WEIGHTS
from unreel.training.run_folder.checkpoint_index import format_step
from unreel.training.run_folder.config import read_config
from unreel.video.sources.paths import is_synthetic

CARD_FILE = "README.md"
CARD = """# {name}: an encoder trained on synthetic clips alone

`unreel.load_encoder("{name}")`, or `{name}` wherever a command takes a run. {network}, {parameters:.2f} M parameters;
clips of {frames} frames of {size} x {size} pixels at {fps:g} frames per second, seen as {views} frames.

**Data.** Drawn clips (docs/methods.md, "Synthetic clips"). It has seen no real video, so no footage of others and no
faces. Its weights have the licence of unreel.

**Recipe.** {date}, {steps} steps of {batch}:

{commands}

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
    first: Path | None = None
    """The run that `base` was made of, for a run that began with `base`."""
    name: str = "base"
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


def list_changed_options(config: dict[str, Any]) -> str:
    """The options of a run's method that differ from its preset, as flags; with a blank after each."""
    preset = dataclasses.asdict(load_preset(config["method"])[0])
    changed = {name: value for name, value in config["options"].items() if preset[name] != value}
    return "".join(f"--{name.replace('_', '-')} {value} " for name, value in changed.items())


def list_stages(args: Args) -> list[dict[str, Any]]:
    """The configurations of the trainings, the first from random weights. Raises InputError where one has seen files,
    or began with other weights than those of the one before."""
    runs = [run for run in (args.first, args.run) if run is not None]
    stages = [read_config(run) for run in runs]
    for run, config, allowed in zip(runs, stages, ((NO_WEIGHTS,), (args.name, str(args.first))), strict=False):
        source, init = config["source"], config["settings"]["init"]
        if not is_synthetic(source) or init not in allowed:
            raise InputError(f"{run}: trained on {source}, begun with {init}, not with {' or '.join(allowed)}")
    begins_with_base = args.first is not None and stages[-1]["settings"]["init"] == args.name
    if begins_with_base and hash_weights(find_checkpoint(args.first)) != hash_weights(BASE_ENCODERS / args.name):
        raise InputError(f"{args.first}: its encoder is not {args.name}")
    return stages


def hash_weights(folder: Path) -> str:
    """SHA-256 of the weights of a checkpoint."""
    return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()


def format_commands(args: Args, stages: list[dict[str, Any]]) -> str:
    """The commands of the recipe, indented for Markdown."""
    lines, init = [], NO_WEIGHTS
    for config, run in zip(stages, ["FIRST", "RUN"][-len(stages) :], strict=True):
        settings = config["settings"]
        lines += [
            f"unreel pretrain {config['source']} --out {run} --init {init} --method {config['method']} "
            f"{list_changed_options(config)}--steps {settings['steps']} \\",
            f"    --seed {settings['seed']} --threads 1 --workers 0 --device cpu",
        ]
        init = run
    sets = " ".join(data.resolve().name.upper() for data in args.sets)
    first = " --first FIRST" if len(stages) > 1 else ""
    lines.append(f"python benchmarks/base_encoder.py RUN --sets {sets}{first}")
    return "\n".join(f"    {line}" for line in lines)


def write_card(args: Args, encoder: Encoder, folder: Path) -> str:
    """The model card. Raises InputError for a run that has seen files, or whose last encoder this is not."""
    stages = list_stages(args)
    settings, spec = stages[-1]["settings"], encoder.spec
    if folder.name != format_step(settings["steps"]):
        raise InputError(f"{folder}: this is not the last of {settings['steps']} steps")
    results = {data.resolve().name: evaluate(encoder, data, args.num_clips) for data in args.sets}
    return CARD.format(
        name=args.name,
        network=spec.backbone,
        parameters=sum(p.numel() for p in encoder.backbone.parameters()) / 1e6,
        frames=spec.clip.num_frames,
        size=spec.views.size,
        fps=spec.clip.fps,
        views=" and ".join(dict.fromkeys(spec.views.names)),
        date=datetime.date.today(),
        steps=" and then ".join(str(config["settings"]["steps"]) for config in stages),
        batch=settings["batch_size"],
        commands=format_commands(args, stages),
        num_clips=args.num_clips,
        table=write_table(results),
        weights_file=WEIGHTS_FILE,
        sha=hash_weights(folder),
    )


def main(args: Args) -> None:
    torch.set_num_threads(args.threads)
    checkpoint, encoder = find_checkpoint(args.run), load_encoder(args.run)
    BASE_ENCODERS.mkdir(exist_ok=True)
    card = write_card(args, encoder, checkpoint)
    with atomic_folder(BASE_ENCODERS / args.name, overwrite=True) as folder:
        for name in (WEIGHTS_FILE, SPEC_FILE):
            shutil.copyfile(checkpoint / name, folder / name)
        write_checksums(folder, (WEIGHTS_FILE,))
        (folder / CARD_FILE).write_text(card, encoding="utf-8")
    print(card)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
