"""Evaluate several runs on one labelled set and print one table in Markdown: mean and spread over seeds.

    python benchmarks/evaluations.py DATA --out OUT --runs runs/weizmann/trio-seed{0,1,2} runs/weizmann/iic-seed{0,1,2}

Each run is evaluated as by `unreel evaluate all RUN DATA --out OUT/RUN`, with `--finetune` also fine-tuned. Evaluations
that exist in OUT are not repeated. Runs that differ only in their seed share a row. `--jobs` evaluates several runs at
once.
"""

import dataclasses
import platform
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
import tyro

from unreel.evaluation.feature_protocol import ExtractionOptions
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


def evaluate_run(args: Args, run: Path) -> Path:
    """The folder of a run's evaluation, which is made unless it exists."""
    out = args.out / run.name
    if not out.exists():
        options = ExtractionOptions(args.num_clips)
        evaluate_all(load_encoder_at_rate(run), run, args.data, out, feature_options=options, finetune=args.finetune)
        print(f"# {run.name}", flush=True)
    return out


def format_section(section: ComparisonSection) -> str:
    """A section of a comparison as a table in Markdown."""
    lines = ["| " + " | ".join(["encoder", *section.columns]) + " |", "|" + "---|" * (len(section.columns) + 1)]
    for row in section.rows:
        cells = [row.cells.get(name) for name in section.columns]
        texts = [
            f"{cell.figure.value:.1f}" + (f" ± {cell.std:.1f}" if cell.num_runs > 1 else "") if cell else ""
            for cell in cells
        ]
        lines.append("| " + " | ".join([row.name, *texts]) + " |")
    return "\n".join(lines)


def main(args: Args) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    if args.jobs == 1:
        folders = [evaluate_run(args, run) for run in args.runs]
    else:
        with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
            folders = list(pool.map(evaluate_run, [args] * len(args.runs), args.runs))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"\n{device}, torch {torch.__version__}, Python {platform.python_version()}, {args.num_clips} clips\n")
    comparison = compare_evaluations(folders)
    for section in comparison.sections:
        print(f"{section.heading or section.data_description}\n\n{format_section(section)}\n")
    print("\n".join(comparison.remarks))


if __name__ == "__main__":
    main(tyro.cli(Args))
