"""Pre-train several settings over several seeds, evaluate each, print one table in Markdown: mean and spread of R@k.

    python benchmarks/retrieval_table.py DATA --out OUT --seeds 0 1 2 --settings trio iic:intra_negatives=none \
        --common steps=600,batch_size=16

DATA is a folder of labelled videos with train.txt and test.txt; training uses the files of train.txt and no labels.
With `--synth` DATA is made first with the seed of the run, so that the spread includes that of the data. A setting is
METHOD or METHOD:FIELD=VALUE,FIELD=VALUE; `simclr-frames:backbone=tiny-2d` is inflated before evaluation. Results that
exist in OUT are not computed again, so a table can be interrupted, and settings added. `--jobs` is the number of runs
at once.
"""

import dataclasses
import json
import platform
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

import unreel
from unreel.evaluation.feature_protocol import ExtractionOptions
from unreel.evaluation.labelled_videos import load_labelled_videos
from unreel.evaluation.protocols.retrieval import build_retrieval, build_retrieval_protocol
from unreel.evaluation.suite import run_evaluations
from unreel.models.registry import TWIN_2D_SUFFIX
from unreel.verbs.training.inflate import inflate

BASELINES = ("chance", "mean frame (pixels)", "colour histogram", "frame difference", "untrained encoder")


@dataclasses.dataclass(frozen=True)
class Args:
    """What to compare."""

    data: tyro.conf.Positional[Path]
    out: Path
    settings: tuple[str, ...] = ("trio", "iic:intra_negatives=none")
    seeds: tuple[int, ...] = (0, 1, 2)
    common: Annotated[str, tyro.conf.arg(help="FIELD=VALUE,... for every setting")] = ""
    num_clips: int = 10
    synth: bool = False
    classes: int = 8
    videos: int = 40
    jobs: int = 1


def parse_options(text: str) -> dict[str, Any]:
    """FIELD=VALUE,FIELD=VALUE as keyword arguments; values are read as JSON where they can be."""
    fields: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            fields[name] = json.loads(value)
        except ValueError:
            fields[name] = value
    return fields


def get_data(args: Args, seed: int) -> Path:
    """The videos of a seed; with `--synth` they are made unless they exist."""
    data = args.data / f"seed{seed}" if args.synth else args.data
    if args.synth and not (data / "train.txt").exists():
        unreel.make_set(data, args.classes, args.videos, seed)
    return data


def folder_name(setting: str, seed: int) -> str:
    return f"{setting.replace(':', '-').replace(',', '-').replace('=', '-').replace('/', '-')}-seed{seed}"


def evaluate_run(run: Path, data: Path, num_clips: int, baselines: bool) -> dict[str, dict[str, float]]:
    """Rows of the retrieval table, name to {"R@k": percent}; a network of single frames is inflated first."""
    labelled = load_labelled_videos(data)
    encoder = unreel.load_encoder(run)
    if encoder.spec.backbone.endswith(TWIN_2D_SUFFIX):
        inflated = run / "inflated"
        encoder = unreel.load_encoder(inflated) if inflated.exists() else inflate(run, inflated)
    evaluations = {"retrieval": build_retrieval(build_retrieval_protocol("iic", num_clips=num_clips))}
    outcome = run_evaluations(
        encoder, labelled.train, labelled.test, evaluations, ExtractionOptions(num_clips, trivial_baselines=baselines)
    )
    return outcome.results["retrieval"].rows


def run_setting(args: Args, setting: str, seed: int) -> dict[str, dict[str, float]]:
    """Rows of one run with its minutes of training; baselines are computed with the first setting only."""
    run, data = args.out / folder_name(setting, seed), get_data(args, seed)
    rows_json = run / f"rows-{args.num_clips}-clips.json"
    if rows_json.exists():
        return json.loads(rows_json.read_text())
    method, _, own = setting.partition(":")
    if not (run / "report.html").exists():
        began_s = time.monotonic()
        fields = parse_options(args.common) | parse_options(own) | {"seed": seed}
        unreel.pretrain(data / "train.txt", out=run, method=method, root=data, quiet=True, **fields)
        (run / "minutes.txt").write_text(f"{(time.monotonic() - began_s) / 60:.2f}\n")
    rows = evaluate_run(run, data, args.num_clips, baselines=setting == args.settings[0])
    rows["minutes"] = {"minutes": float((run / "minutes.txt").read_text())}
    rows_json.write_text(json.dumps(rows))
    figures = ", ".join(f"{n} {r['R@1']:.1f}" for n, r in rows.items() if "R@1" in r)
    print(f"# {setting} seed {seed}: {figures} ({rows['minutes']['minutes']:.1f} min)", flush=True)
    return rows


def format_spread(values: list[float]) -> str:
    """Mean, and standard deviation over seeds when there is more than one and they differ."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.1f}" + (f" ± {deviation:.1f}" if deviation else "")


def run_all(args: Args) -> dict[str, list[dict[str, dict[str, float]]]]:
    """Every setting's rows, one entry for each seed."""
    jobs = [(args, setting, seed) for seed in args.seeds for setting in args.settings]
    if args.jobs == 1:
        rows = [run_setting(*job) for job in jobs]
    else:
        with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
            rows = list(pool.map(run_setting, *zip(*jobs, strict=True)))
    runs: dict[str, list[dict[str, dict[str, float]]]] = {setting: [] for setting in args.settings}
    for (_, setting, _), row in zip(jobs, rows, strict=True):
        runs[setting].append(row)
    return runs


def main(args: Args) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        get_data(args, seed)
    runs_by_setting = run_all(args)
    first = next(iter(runs_by_setting.values()))
    ks = [name for name in first[0]["chance"] if name.startswith("R@")]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"\n{device}, torch {torch.__version__}, Python {platform.python_version()}, seeds {list(args.seeds)}\n")
    header = ["features", "rgb R@1", "other view R@1", *(f"all views {k}" if k == "R@1" else k for k in ks), "minutes"]
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for name in (n for n in BASELINES if n in first[0]):
        print(format_row(name, "", "", [format_spread([run[name][k] for run in first]) for k in ks], ""))
    for setting, runs in runs_by_setting.items():
        views = [n for n in runs[0] if n not in (*BASELINES, "minutes", "joint")]
        rgb, other = ("rgb" if "rgb" in views else ""), next((v for v in views if v != "rgb"), "")
        alone = [format_spread([run[view]["R@1"] for run in runs]) if view else "" for view in (rgb, other)]
        every = "joint" if "joint" in runs[0] else views[0]
        minutes = format_spread([run["minutes"]["minutes"] for run in runs])
        joint = [format_spread([run[every][k] for run in runs]) for k in ks]
        print(format_row(f"`{setting}`", alone[0], alone[1], joint, minutes))


def format_row(name: str, rgb: str, other: str, every: list[str], minutes: str) -> str:
    return "| " + " | ".join([name, rgb, other, *every, minutes]) + " |"


if __name__ == "__main__":
    main(tyro.cli(Args))
