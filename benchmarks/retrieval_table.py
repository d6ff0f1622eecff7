"""Pre-train several settings over several seeds, evaluate each, print one table in Markdown: mean and spread of R@k.

    python benchmarks/retrieval_table.py DATA --out OUT --seeds 0 1 2 --settings iic iic:intra_negatives=none \
        --steps 600 --batch-size 16

DATA is a folder of labelled videos with train.txt and test.txt; training sees the files of train.txt and no label. With
`--synth` DATA is made first, with the run's own seed, so that the spread holds the data's chance as well.
A setting is METHOD or METHOD:FIELD=VALUE,FIELD=VALUE. Runs that are there already are evaluated, not trained again.
"""

import dataclasses
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Annotated

import torch
import tyro

import unreel

FLOORS = ("chance", "mean frame (pixels)", "frame difference", "untrained encoder")


@dataclasses.dataclass
class Args:
    """What to compare."""

    data: tyro.conf.Positional[Path]
    out: Path
    settings: tuple[str, ...] = ("iic", "iic:intra_negatives=none")
    seeds: tuple[int, ...] = (0, 1, 2)
    common: Annotated[str, tyro.conf.arg(help="FIELD=VALUE,... for every setting")] = ""
    num_clips: int = 10
    synth: bool = False
    classes: int = 8
    videos: int = 40


def options(text: str) -> dict[str, object]:
    """FIELD=VALUE,FIELD=VALUE as keyword arguments; values are read as JSON where they can be."""
    found: dict[str, object] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def one_run(args: Args, setting: str, seed: int) -> dict[str, dict[str, float]]:
    """Rows of one run's retrieval table, with the minutes it trained."""
    data = args.data / f"seed{seed}" if args.synth else args.data
    if args.synth and not (data / "train.txt").exists():
        unreel.make_set(data, args.classes, args.videos, seed)
    method, _, own = setting.partition(":")
    run = args.out / f"{setting.replace(':', '-').replace(',', '-').replace('=', '-')}-seed{seed}"
    if not (run / "report.html").exists():
        began_s = time.monotonic()
        given = options(args.common) | options(own) | {"seed": seed}
        unreel.pretrain(data / "train.txt", out=run, method=method, root=data, quiet=True, **given)
        (run / "minutes.txt").write_text(f"{(time.monotonic() - began_s) / 60:.2f}\n")
    result = unreel.evaluate_retrieval(run, data, num_clips=args.num_clips)
    rows = {name: {f"R@{k}": v for k, v in row.items()} for name, row in result.rows.items()}
    rows["minutes"] = {"minutes": float((run / "minutes.txt").read_text())}
    print(
        f"# {setting} seed {seed}: " + ", ".join(f"{n} {r['R@1']:.1f}" for n, r in rows.items() if "R@1" in r),
        flush=True,
    )
    return rows


def spread(values: list[float]) -> str:
    """Mean, and standard deviation over seeds when there is more than one."""
    return f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")


def main(args: Args) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    found = {setting: [one_run(args, setting, seed) for seed in args.seeds] for setting in args.settings}
    first = next(iter(found.values()))
    ks = list(first[0]["chance"])
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU ({torch.get_num_threads()} threads)"
    print(f"\n{device}, torch {torch.__version__}, Python {platform.python_version()}, seeds {list(args.seeds)}\n")
    print("| features | " + " | ".join(ks) + " | minutes |\n|---|" + "---|" * (len(ks) + 1))
    for name in FLOORS:
        print(f"| {name} | " + " | ".join(spread([run[name][k] for run in first]) for k in ks) + " | |")
    for setting, runs in found.items():
        minutes = spread([run["minutes"]["minutes"] for run in runs])
        for view in [n for n in runs[0] if n not in (*FLOORS, "minutes")]:
            cells = " | ".join(spread([run[view][k] for run in runs]) for k in ks)
            print(f"| {setting}, {view} | {cells} | {minutes if view == 'joint' else ''} |")


if __name__ == "__main__":
    main(tyro.cli(Args))
