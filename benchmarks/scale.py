"""What a corpus of so many clips takes: calculated from unit costs, and a simulation of machines that come and go.

    python benchmarks/scale_costs.py FOLDER --costs docs/scale.json
    python benchmarks/scale.py docs/scale.json --docs docs/scale.md

Every assumption is an option, so put in your prices and machines, and costs that were measured on your footage. The
tables go between the marks of the file.
"""

import bisect
import dataclasses
import heapq
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from unreel.io.atomic_write import atomic_write_text

MARKS = ("<!-- scale -->", "<!-- end of scale -->")
CLIP_S = 0.64
HOUR_S, DAY_HOURS, GB = 3600, 24, 1e9


@dataclasses.dataclass(frozen=True)
class Args:
    """The costs, and what is assumed."""

    costs: tyro.conf.Positional[Path]
    """What scale_costs.py wrote."""
    clips: tuple[int, ...] = (10**5, 10**7, 10**9)
    """How many moments are embedded; one is made of every 0.64 s."""
    cores: int = 16
    """Of a machine."""
    memory_gb: float = 64.0
    """Of a machine that answers questions; an eighth is left to the system."""
    goal_hours: float = 24.0
    """In which all is to be embedded; machines are counted for it."""
    losses_per_day: float = 1.0
    """How often a machine is lost, on average."""
    replace_minutes: float = 10.0
    """Until another one has taken its place."""
    part_s: float = 120.0
    """Work of a process between two parts that are written."""
    spread: float = 0.5
    """Standard deviation of the log of the work of a part."""
    core_hour: float = 0.05
    """Price of an hour of a core, with its memory."""
    gb_month: float = 0.02
    """Price of a gigabyte of disk for a month."""
    gb_footage_hour: float = 1.0
    """Gigabytes of an hour of footage."""
    seed: int = 0
    docs: Path | None = None
    """Markdown file that gets the tables between its marks."""


def simulate(parts: int, args: Args, machines: int) -> tuple[float, float]:
    """Hours until all parts are written, and the share of the work that was done twice.

    Each core takes the next part when it has written one, so nobody waits for others. A lost machine loses the part
    that each of its cores is at, and no written one; those parts are done again by whoever is free.
    """
    rng = np.random.default_rng((args.seed, parts, machines))
    work_P = rng.lognormal(math.log(args.part_s) - args.spread**2 / 2, args.spread, parts)
    todo = work_P.tolist()
    gap_s, lost_s = DAY_HOURS * HOUR_S / args.losses_per_day if args.losses_per_day else math.inf, 0.0
    losses: list[list[float]] = [[] for _ in range(machines)]
    free = [(0.0, machine, core) for machine in range(machines) for core in range(args.cores)]
    heapq.heapify(free)
    end_s = 0.0
    while todo:
        start_s, machine, core = heapq.heappop(free)
        part = todo.pop()
        known = losses[machine]
        while math.isfinite(gap_s) and (not known or known[-1] < start_s + part):
            known.append((known[-1] if known else 0.0) + rng.exponential(gap_s))
        number = bisect.bisect_right(known, start_s)
        if number < len(known) and known[number] < start_s + part:
            lost_s += known[number] - start_s
            todo.append(part)
            heapq.heappush(free, (known[number] + 60 * args.replace_minutes, machine, core))
            continue
        end_s = max(end_s, start_s + part)
        heapq.heappush(free, (start_s + part, machine, core))
    return end_s / HOUR_S, lost_s / float(work_P.sum())


def count_machines(core_hours: float, args: Args) -> int:
    """As many as end within the goal, if nothing is lost."""
    return max(1, math.ceil(core_hours / (args.cores * args.goal_hours)))


def fit_exponent(rows: Sequence[float], ms: Sequence[float]) -> float:
    """b of ms = a * rows ** b, by least squares in logarithms."""
    return float(np.polyfit(np.log(rows), np.log(ms), 1)[0])


def format_number(value: float) -> str:
    """Three digits at most, thousands apart; small values as they are."""
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def build_header(names: Sequence[str]) -> list[str]:
    """The first two lines of a Markdown table."""
    return [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]


def format_machines(costs: dict[str, Any], args: Args) -> str:
    """Stages up to the index: for each number of clips machines, hours and money, and what the simulation adds."""
    names = ("clips", "footage, hours", "inspect, core hours", "embed, core hours", "index, core hours")
    lines = build_header((*names, "machines", "hours", "done twice", "money"))
    build_s = costs["search"][-1]["build_s_per_row"]
    for clips in args.clips:
        inspect_h = clips / costs["clips_per_video"] * costs["inspect_s_per_video"] / HOUR_S
        embed_h, build_h = clips * costs["embed_s_per_clip"] / HOUR_S, clips * build_s / HOUR_S
        total_h = inspect_h + embed_h
        machines = count_machines(total_h, args)
        hours, twice = simulate(max(1, round(total_h * HOUR_S / args.part_s)), args, machines)
        cells = [clips * CLIP_S / HOUR_S, inspect_h, embed_h, build_h, machines, hours]
        money = machines * args.cores * hours * args.core_hour + build_h * args.core_hour
        lines.append(
            f"| {clips:,} | {' | '.join(map(format_number, cells))} | {100 * twice:.2f} % | {format_number(money)} |"
        )
    return "\n".join(lines)


def format_homes(costs: dict[str, Any], args: Args) -> str:
    """Disk, memory and the time of a question, by the local index in memory and by comparing all rows."""
    search = costs["search"]
    rows = [row["rows"] for row in search]
    exponent = fit_exponent(rows, [row["nearest_ms"] for row in search])
    last = search[-1]
    names = ("clips", "footage, GB", "vectors, GB", "codes on disk, GB", "index in memory, GB", "servers for it")
    lines = build_header((*names, "a question, ms", "all rows compared, ms", "disk, a month"))
    for clips in args.clips:
        vectors_gb, index_gb = 4 * costs["dim"] * clips / GB, last["index_bytes_per_row"] * clips / GB
        codes_gb = costs["search_on_disk"]["index_bytes_per_row"] * clips / GB
        servers = math.ceil(index_gb / (args.memory_gb * 7 / 8))
        share = clips / servers / last["rows"]  # of one server, whose neighbours search theirs at the same time
        footage_gb = clips * CLIP_S / HOUR_S * args.gb_footage_hour
        nearest_ms, all_ms = last["nearest_ms"] * share**exponent, last["all_rows_ms"] * share
        cells = [footage_gb, vectors_gb, codes_gb, index_gb, servers, nearest_ms, all_ms]
        disk = (footage_gb + vectors_gb + index_gb) * args.gb_month
        lines.append(f"| {clips:,} | {' | '.join(map(format_number, cells))} | {format_number(disk)} |")
    return "\n".join(lines) + f"\n\nA question by the index grows as rows to the power of {exponent:.2f} (fitted)."


def format_units(costs: dict[str, Any]) -> str:
    """The measured figures."""
    lines = [
        f"Measured: `{costs['footage']}`, {costs['videos']} videos, {costs['cores']} cores, {costs['date']}.",
        "",
        "| unit | cost |",
        "|---|---|",
        f"| inspect a video | {1000 * costs['inspect_s_per_video']:.1f} ms of a core |",
        f"| decode and embed a clip (`base`) | {1000 * costs['embed_s_per_clip']:.1f} ms of a core |",
        f"| start of a command | {costs['start_s']:.1f} s |",
    ]
    named = [("an index", row) for row in costs["search"]] + [("an index on disk", costs["search_on_disk"])]
    for name, row in named:
        lines.append(
            f"| {name} of {row['rows']:,} rows of {costs['dim']} | {1e6 * row['build_s_per_row']:.0f} us of a core "
            f"and {row['index_bytes_per_row']:,.0f} bytes a row; a question {row['nearest_ms']:.1f} ms, "
            f"all rows compared {row['all_rows_ms']:.0f} ms |"
        )
    return "\n".join(lines)


def format_assumptions(args: Args) -> str:
    return (
        f"Assumed: machines of {args.cores} cores, of which each is lost {args.losses_per_day:g} times a day on "
        f"average and replaced after {args.replace_minutes:g} minutes; a part of the work takes {args.part_s:g} s on "
        f"average (log-normal, {args.spread:g}); all is to be embedded in {args.goal_hours:g} hours; servers of "
        f"{args.memory_gb:g} GB; {args.core_hour:g} for an hour of a core, {args.gb_month:g} for a gigabyte of disk a "
        f"month, {args.gb_footage_hour:g} GB for an hour of footage. Each is an option of the command."
    )


def main(args: Args) -> None:
    """Print all tables, and put them into the docs."""
    costs = json.loads(args.costs.read_text())
    blocks = [format_units(costs), format_assumptions(args), format_machines(costs, args), format_homes(costs, args)]
    text = "\n\n".join(blocks)
    print(text)
    if args.docs:
        whole = args.docs.read_text()
        before, after = whole.split(MARKS[0])[0], whole.split(MARKS[1])[1]
        atomic_write_text(args.docs, f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
