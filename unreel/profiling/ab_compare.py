"""Compares two configurations in alternation, so that other load on the machine affects both alike."""

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from unreel.errors import InputError, unknown_name_error
from unreel.profiling.step_timings import LoopTiming


@dataclass
class Comparison:
    """Clips/s of each round, of the settings as given and as changed, in alternation."""

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
        """Which of the two is faster, if all rounds agree."""
        changes = " ".join(f"{name}={format_value(value)}" for name, value in self.changes.items())
        ratios = self.speed_ratios
        speed = f"{statistics.median(ratios):.2f} times the clips/s ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        if ratios[0] <= 1 <= ratios[-1]:
            return f"{changes}: {speed}: no difference that {len(ratios)} rounds would show."
        return f"{changes} is {'faster' if ratios[0] > 1 else 'slower'}: {speed}."


def compare_in_turns(
    run_baseline: Callable[[], tuple[int, LoopTiming]],
    run_variant: Callable[[], tuple[int, LoopTiming]],
    num_rounds: int,
    changes: dict[str, Any],
) -> Comparison:
    """Run both `num_rounds` times; each returns the clips of a step and the loop's timing."""
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(num_rounds):
        for run, round_rates in zip((run_baseline, run_variant), rates, strict=True):
            clips, loop = run()
            round_rates.append(clips / loop.step_s)
    return Comparison(changes, *rates)


def parse_changes(text: str, configs: Iterable[Any]) -> dict[str, Any]:
    """Parse "field=value,field=value"; each value gets the type of that field in one of the dataclasses `configs`.

    Raises InputError for an unknown field, and for a value of another type.
    """
    known = {f.name: getattr(config, f.name) for config in configs for f in dataclasses.fields(config)}
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
    """Parse a word as a value of the example's type. Raises InputError."""
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
