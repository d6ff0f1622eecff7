"""Two settings in turn, so that whatever else the machine does meets both: medians, and the spread of the ratio."""

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from unreel.errors import InputError, unknown_name_error
from unreel.profiling.step_timings import LoopTiming


@dataclass
class Comparison:
    """Clips/s of each round of the settings as given and as changed, in alternation."""

    changes: dict[str, Any]
    given: list[float]
    changed: list[float]

    @property
    def speed_ratios(self) -> list[float]:
        """Changed over given, round by round, ascending."""
        return sorted(b / a for a, b in zip(self.given, self.changed, strict=True))

    def to_json(self) -> dict[str, Any]:
        ratios = self.speed_ratios
        spread = {"median": statistics.median(ratios), "lowest": ratios[0], "highest": ratios[-1]}
        medians = {"given": statistics.median(self.given), "changed": statistics.median(self.changed)}
        return asdict(self) | {"clips_per_s": medians, "ratio": spread, "sentence": self.describe()}

    def describe(self) -> str:
        """Which of the two is faster, where the rounds agree."""
        what = " ".join(f"{name}={format_value(value)}" for name, value in self.changes.items())
        ratios = self.speed_ratios
        said = f"{statistics.median(ratios):.2f} times the clips/s ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        if ratios[0] <= 1 <= ratios[-1]:
            return f"{what}: {said}: no difference that {len(ratios)} rounds would show."
        return f"{what} is {'faster' if ratios[0] > 1 else 'slower'}: {said}."

    def build_table(self) -> Table:
        table = Table(title=f"the loop, in alternation, {len(self.given)} rounds", title_justify="left")
        for name in ("settings", "clips/s, median", "lowest", "highest"):
            table.add_column(name, justify="left" if name == "settings" else "right")
        what = ", ".join(f"{name}={format_value(value)}" for name, value in self.changes.items())
        for name, rates in (("as given", self.given), (what, self.changed)):
            table.add_row(name, *(f"{rate:.1f}" for rate in (statistics.median(rates), min(rates), max(rates))))
        return table


def compare_in_turns(
    run_baseline: Callable[[], tuple[int, LoopTiming]],
    run_variant: Callable[[], tuple[int, LoopTiming]],
    num_rounds: int,
    changes: dict[str, Any],
) -> Comparison:
    """Run both `rounds` times; each returns the clips of a step and the loop's seconds."""
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(num_rounds):
        for run, kept in zip((run_baseline, run_variant), rates, strict=True):
            clips, loop = run()
            kept.append(clips / loop.step_s)
    return Comparison(changes, *rates)


def parse_changes(text: str, configs: Iterable[Any]) -> dict[str, Any]:
    """The values of "field=value,field=value", each of the type that one of the dataclasses `parts` has there.

    Raises InputError for a field that none of them has, and for a value that is none.
    """
    known = {f.name: getattr(part, f.name) for part in configs for f in dataclasses.fields(part)}
    changes: dict[str, Any] = {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        name, equals, value = item.partition("=")
        name = name.strip().lstrip("-").replace("-", "_")
        if not equals:
            raise InputError(
                f"--against takes field=value, separated by commas, e.g. batch_size=32,workers=2; got '{item}'"
            )
        if name not in known:
            raise unknown_name_error("field of --against", name, known)
        changes[name] = parse_value(known[name], value.strip(), name)
    if not changes:
        raise InputError("--against names no field; say e.g. --against batch_size=32,workers=2")
    return changes


BOOLEAN_WORDS: Mapping[str, bool] = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}


def parse_value(example: Any, text: str, name: str) -> Any:
    """A word as a value of the example's type. Raises InputError."""
    if isinstance(example, bool):
        if text.lower() not in BOOLEAN_WORDS:
            raise InputError(f"--against {name} is on or off, got '{text}'")
        return BOOLEAN_WORDS[text.lower()]
    if isinstance(example, str):
        return text
    if isinstance(example, (int, float)):
        try:
            return type(example)(text)
        except ValueError as error:
            raise InputError(f"--against {name} is a number like {example}, got '{text}'") from error
    raise InputError(f"--against can't change {name}, which is not a single word or number")


def format_value(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
