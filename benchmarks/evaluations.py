"""Evaluate several runs on one labelled set and print one table in Markdown: mean and spread over seeds.

    python benchmarks/evaluations.py DATA --out OUT --runs runs/weizmann/trio-seed{0,1,2} runs/weizmann/iic-seed{0,1,2}

Each run is what `unreel evaluate all RUN DATA --out OUT/RUN` does, with `--finetune` fine-tuning as well; what is in
OUT is not done again. Runs that differ in their seed alone are one row. `--jobs` runs so many at once.
"""

import dataclasses
import platform
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
import tyro

from unreel.evaluation.standard_suite import ExtractionOptions
from unreel.report.comparison.compare import ComparisonSection, compare_evaluations
from unreel.verbs.evaluation.evaluate import load_encoder_at_rate
from unreel.verbs.evaluation.evaluate_all import evaluate_all


@dataclasses.dataclass(frozen=True)
class Args:
    """What to evaluate."""

    data: tyro.conf.Positional[Path]
    out: Path
    runs: tuple[Path, ...]
    num_clips: int = 10
    finetune: bool = False
    jobs: int = 1


def one(args: Args, run: Path) -> Path:
    """The evaluation of a run, done where it is not there."""
    out = args.out / run.name
    if not out.exists():
        looking = ExtractionOptions(args.num_clips)
        evaluate_all(load_encoder_at_rate(run), run, args.data, out, feature_options=looking, finetune=args.finetune)
        print(f"# {run.name}", flush=True)
    return out


def markdown(part: ComparisonSection) -> str:
    """A table of a comparison."""
    lines = ["| " + " | ".join(["encoder", *part.columns]) + " |", "|" + "---|" * (len(part.columns) + 1)]
    for row in part.rows:
        cells = [row.cells.get(name) for name in part.columns]
        texts = [
            f"{cell.figure.value:.1f}" + (f" ± {cell.std:.1f}" if cell.num_runs > 1 else "") if cell else ""
            for cell in cells
        ]
        lines.append("| " + " | ".join([row.name, *texts]) + " |")
    return "\n".join(lines)


def main(args: Args) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    if args.jobs == 1:
        folders = [one(args, run) for run in args.runs]
    else:
        with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
            folders = list(pool.map(one, [args] * len(args.runs), args.runs))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"\n{device}, torch {torch.__version__}, Python {platform.python_version()}, {args.num_clips} clips\n")
    found = compare_evaluations(folders)
    for part in found.sections:
        print(f"{part.heading or part.data_description}\n\n{markdown(part)}\n")
    print("\n".join(found.remarks))


if __name__ == "__main__":
    main(tyro.cli(Args))
