"""Pre-train several settings over several seeds, evaluate each, print one table in Markdown: mean and spread of R@k.

    python benchmarks/retrieval_table.py DATA --out OUT --seeds 0 1 2 --settings trio iic:intra_negatives=none \
        --common steps=600,batch_size=16

DATA is a folder of labelled videos with train.txt and test.txt; training sees the files of train.txt and no label. With
`--synth` DATA is made first, with the run's own seed, so that the spread holds the data's chance as well.
A setting is METHOD or METHOD:FIELD=VALUE,FIELD=VALUE; `simclr-frames:backbone=tiny-2d` is inflated before it is used.
What is there already in OUT is not done again, so a table can be stopped, and settings added. `--jobs` runs so many at
once.
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
from unreel.evaluation.labelled_videos import load_labelled_videos
from unreel.evaluation.protocols.retrieval import RetrievalProtocol
from unreel.evaluation.standard_suite import ExtractionOptions, build_retrieval
from unreel.evaluation.suite import run_evaluations
from unreel.models.registry import TWIN_2D_SUFFIX
from unreel.verbs.indexing.inflate import inflate

FLOORS = ("chance", "mean frame (pixels)", "colour histogram", "frame difference", "untrained encoder")


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


def options(text: str) -> dict[str, Any]:
    """FIELD=VALUE,FIELD=VALUE as keyword arguments; values are read as JSON where they can be."""
    found: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def data_of(args: Args, seed: int) -> Path:
    """The videos of a seed, made where they have to be."""
    data = args.data / f"seed{seed}" if args.synth else args.data
    if args.synth and not (data / "train.txt").exists():
        unreel.make_set(data, args.classes, args.videos, seed)
    return data


def folder_name(setting: str, seed: int) -> str:
    return f"{setting.replace(':', '-').replace(',', '-').replace('=', '-').replace('/', '-')}-seed{seed}"


def evaluated(run: Path, data: Path, num_clips: int, floors: bool) -> dict[str, dict[str, float]]:
    """Rows of the retrieval table, name to {"R@k": percent}; a network of single frames is inflated first."""
    both = load_labelled_videos(data)
    encoder = unreel.load_encoder(run)
    if encoder.spec.backbone.endswith(TWIN_2D_SUFFIX):
        encoder = (
            inflate(run, run / "inflated")
            if not (run / "inflated").exists()
            else unreel.load_encoder(run / "inflated")
        )
    asked = {"retrieval": build_retrieval(RetrievalProtocol(num_clips=num_clips))}
    done = run_evaluations(
        encoder, both.train, both.test, asked, ExtractionOptions(num_clips, trivial_baselines=floors)
    )
    return done.results["retrieval"].rows


def one_run(args: Args, setting: str, seed: int) -> dict[str, dict[str, float]]:
    """Rows of one run, with the minutes it trained; the floors come with the first setting alone."""
    run, data = args.out / folder_name(setting, seed), data_of(args, seed)
    kept = run / f"rows-{args.num_clips}-clips.json"
    if kept.exists():
        return json.loads(kept.read_text())
    method, _, own = setting.partition(":")
    if not (run / "report.html").exists():
        began_s = time.monotonic()
        given = options(args.common) | options(own) | {"seed": seed}
        unreel.pretrain(data / "train.txt", out=run, method=method, root=data, quiet=True, **given)
        (run / "minutes.txt").write_text(f"{(time.monotonic() - began_s) / 60:.2f}\n")
    rows = evaluated(run, data, args.num_clips, floors=setting == args.settings[0])
    rows["minutes"] = {"minutes": float((run / "minutes.txt").read_text())}
    kept.write_text(json.dumps(rows))
    figures = ", ".join(f"{n} {r['R@1']:.1f}" for n, r in rows.items() if "R@1" in r)
    print(f"# {setting} seed {seed}: {figures} ({rows['minutes']['minutes']:.1f} min)", flush=True)
    return rows


def spread(values: list[float]) -> str:
    """Mean, and standard deviation over seeds when there is more than one and they differ."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.1f}" + (f" ± {deviation:.1f}" if deviation else "")


def all_runs(args: Args) -> dict[str, list[dict[str, dict[str, float]]]]:
    """Every setting's rows, one entry for each seed."""
    jobs = [(args, setting, seed) for seed in args.seeds for setting in args.settings]
    if args.jobs == 1:
        rows = [one_run(*job) for job in jobs]
    else:
        with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
            rows = list(pool.map(one_run, *zip(*jobs, strict=True)))
    found: dict[str, list[dict[str, dict[str, float]]]] = {setting: [] for setting in args.settings}
    for (_, setting, _), row in zip(jobs, rows, strict=True):
        found[setting].append(row)
    return found


def main(args: Args) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        data_of(args, seed)
    found = all_runs(args)
    first = next(iter(found.values()))
    ks = [name for name in first[0]["chance"] if name.startswith("R@")]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"\n{device}, torch {torch.__version__}, Python {platform.python_version()}, seeds {list(args.seeds)}\n")
    header = ["features", "rgb R@1", "other view R@1", *(f"all views {k}" if k == "R@1" else k for k in ks), "minutes"]
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for name in (n for n in FLOORS if n in first[0]):
        print(row(name, "", "", [spread([run[name][k] for run in first]) for k in ks], ""))
    for setting, runs in found.items():
        views = [n for n in runs[0] if n not in (*FLOORS, "minutes", "joint")]
        rgb, other = ("rgb" if "rgb" in views else ""), next((v for v in views if v != "rgb"), "")
        alone = [spread([run[view]["R@1"] for run in runs]) if view else "" for view in (rgb, other)]
        every = "joint" if "joint" in runs[0] else views[0]
        minutes = spread([run["minutes"]["minutes"] for run in runs])
        print(row(f"`{setting}`", *alone, [spread([run[every][k] for run in runs]) for k in ks], minutes))


def row(name: str, rgb: str, other: str, every: list[str], minutes: str) -> str:
    return "| " + " | ".join([name, rgb, other, *every, minutes]) + " |"


if __name__ == "__main__":
    main(tyro.cli(Args))
