"""What a sweep does: its members, and how they are evaluated. Read from a file or from options, and checked."""

import contextlib
import itertools
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from unreel.errors import InputError, UnreelError, require_known
from unreel.evaluation.baselines.descriptions import TRIVIAL_ROWS
from unreel.evaluation.feature_protocol import Evaluation, ExtractionOptions
from unreel.evaluation.labelled_videos import LabelSources
from unreel.evaluation.protocol_registry import build_evaluations, build_standard_suite, list_protocols
from unreel.io.text import parse_tables
from unreel.methods.registry import DEFAULT_METHOD
from unreel.training.dry_run import validate_config
from unreel.training.run_folder.config import RunConfig, build_run_config
from unreel.training.run_folder.option_values import convert_options, list_option_kinds
from unreel.training.runtime.auto_settings import resolve_config

PLAN_FILE = "sweep.json"
PATH_LABELS = ("train", "test", "splits")
KINDS: dict[str, tuple[set[type], str]] = {
    "root": ({str}, "a folder"),
    "num_clips": ({int}, "a whole number"),
    "floors": ({bool}, "true or false"),
    "against": ({str}, "the name of a row"),
    "common": ({dict}, "a table of options"),
    "grid": ({dict}, "a table with a list of values for each option"),
    "seeds": ({list, tuple}, "a list of whole numbers"),
    "settings": ({list, tuple}, "a list of tables of options"),
}
ALL_PROTOCOLS, RETRIEVAL_PREFIX = "all", "retrieval-"


@dataclass(frozen=True)
class Member:
    """One training of a sweep: the row of the table that it belongs to, its seed, its method and changed options."""

    row: str
    seed: int
    method: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of its folders."""
        return re.sub(r"[^\w.=,+-]+", "-", f"{self.row}-seed{self.seed}").strip("-")

    def build_config(self) -> RunConfig:
        """Its method, options and settings. Raises InputError that names the row."""
        try:
            changes = convert_options(self.method, self.options) | {"seed": self.seed}
            return build_run_config(self.method, changes)
        except UnreelError as error:
            raise InputError(f"setting '{self.row}': {error}") from error


@dataclass(frozen=True)
class SweepPlan:
    """A sweep: unlabelled videos to train on, labelled ones to evaluate on, members, evaluations.

    `labels` are fields of LabelSources, `against` the row that the others are tested against, `threads` the threads of
    each member, which its figures depend on to rounding.
    """

    source: str
    data: str
    members: tuple[Member, ...]
    root: str = ""
    labels: dict[str, Any] = field(default_factory=dict)
    evaluate: tuple[str, ...] = ("retrieval",)
    num_clips: int = 10
    floors: bool = True
    against: str = ""
    threads: int = 0

    @property
    def rows(self) -> list[str]:
        return list(dict.fromkeys(member.row for member in self.members))

    @property
    def label_sources(self) -> LabelSources:
        given: dict[str, Any] = {n: Path(v) if n in PATH_LABELS else v for n, v in self.labels.items()}
        return LabelSources(**given)

    @property
    def extraction(self) -> ExtractionOptions:
        return ExtractionOptions(self.num_clips, trivial_baselines=self.floors)

    def build_evaluations(self) -> dict[str, Evaluation]:
        """The evaluations of a member by the names of their results. Raises InputError."""
        found: dict[str, Evaluation] = {}
        for name in self.evaluate:
            if name == ALL_PROTOCOLS:
                found |= build_standard_suite(self.extraction)
            elif name.startswith(RETRIEVAL_PREFIX) and name not in list_protocols():
                protocol = name.removeprefix(RETRIEVAL_PREFIX)
                found |= build_evaluations("retrieval", self.extraction, protocol=protocol)
            else:
                found |= build_evaluations(name, self.extraction)
        return found

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "SweepPlan":
        members = tuple(Member(**member) for member in data["members"])
        return cls(**{**data, "members": members, "evaluate": tuple(data["evaluate"])})


def read_sweep_file(path: Path) -> dict[str, Any]:
    """The tables of a sweep's file, TOML, JSON or YAML. Raises InputError."""
    try:
        return parse_tables(path.read_text(encoding="utf-8"), path.suffix)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the sweep can't be read ({error})") from error


def build_plan(given: Mapping[str, Any]) -> SweepPlan:
    """The plan of a file's tables or of options: `common`, `grid`, `settings`, `seeds` and the fields of SweepPlan.

    Every setting is combined with every point of the grid and every seed. Raises InputError for what is unknown,
    missing or given twice.
    """
    labels = [f.name for f in fields(LabelSources)]
    own = {f.name for f in fields(SweepPlan)} - {"members", "labels", "threads"}
    known = own | {"common", "grid", "settings", "seeds", *labels}
    require_known("part of a sweep", given, known)
    for name in ("source", "data"):
        if not isinstance(given.get(name), str) or not given[name]:
            raise InputError(
                f"a sweep needs '{name}', the folder or list of videos to "
                + {"source": "train on", "data": "evaluate on (labelled)"}[name]
            )
    for name, (kinds, meant) in KINDS.items():
        if name in given and type(given[name]) not in kinds:
            raise InputError(f"'{name}' of a sweep is {meant}, got {given[name]!r}")
    if others := [setting for setting in given.get("settings", ()) if not isinstance(setting, dict)]:
        raise InputError(f"'settings' of a sweep is a list of tables of options, got {others[0]!r} in it")
    values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in given.items() if n in own}
    members = build_members(given)
    return SweepPlan(**values, members=members, labels={n: given[n] for n in labels if n in given})


def build_members(given: Mapping[str, Any]) -> tuple[Member, ...]:
    """The members, seed by seed, so that a part of a sweep is of use. Raises InputError."""
    common, settings = dict(given.get("common") or {}), list(given.get("settings") or [{}])
    seeds: Sequence[int] = given.get("seeds", (0,))
    if not seeds or any(type(seed) is not int or seed < 0 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise InputError(f"seeds are different whole numbers of 0 or more, got {list(seeds)}")
    rows: dict[str, dict[str, Any]] = {}
    for setting, point in itertools.product(settings, list_points(given.get("grid") or {})):
        own = dict(setting) | point
        row = (own.pop("name", "") and name_row(setting["name"], point)) or name_row("", own)
        if row in rows:
            raise InputError(f"two settings are called '{row}'; give them different options or a 'name' each")
        rows[row] = common | own
    members = [make_member(row, seed, options) for seed in seeds for row, options in rows.items()]
    if len({member.name for member in members}) < len(members):
        raise InputError("two settings would share a folder, as their names differ in signs alone; give them a 'name'")
    return tuple(members)


def make_member(row: str, seed: int, options: Mapping[str, Any]) -> Member:
    """A member; `seed` is no option of its own. Raises InputError."""
    rest = dict(options)
    method = rest.pop("method", DEFAULT_METHOD)
    if not isinstance(method, str):
        raise InputError(f"setting '{row}': method is a text, got {method!r}")
    if "seed" in rest:
        raise InputError(f"setting '{row}': seeds stand in 'seeds', not among the options")
    return Member(row, seed, method, rest)


def list_points(grid: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every combination of the grid's values, the last name changing fastest. Raises InputError."""
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise InputError(f"the grid needs a list of values for '{name}', got {values!r}")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def name_row(name: str, options: Mapping[str, Any]) -> str:
    """What a row is called: its name or method, then its options.

    >>> name_row("", {"method": "iic", "intra_negatives": "none", "lr": 0.01})
    'iic intra_negatives=none lr=0.01'
    """
    rest = [f"{n}={v if isinstance(v, str) else json.dumps(v)}" for n, v in options.items() if n != "method"]
    first = [text for text in (name, str(options.get("method", ""))) if text]
    return " ".join([*first, *rest]) or DEFAULT_METHOD


def check_plan(plan: SweepPlan) -> None:
    """Raise InputError for whatever can't work with any videos: each row's options, and the evaluations."""
    plan.build_evaluations()
    require_own_options(plan)
    for member in list_first_members(plan.members):
        try:
            validate_config(resolve_config(member.build_config()))
        except UnreelError as error:
            text = str(error)
            raise InputError(text if text.startswith("setting '") else f"setting '{member.row}': {text}") from error
    known_rows = {*plan.rows, *(TRIVIAL_ROWS if plan.floors else ())}
    require_known("row to compare with", [plan.against] if plan.against else [], known_rows)


def require_own_options(plan: SweepPlan) -> None:
    """Raise InputError for an option that one method of the sweep has, and another, which is given it too, has not."""
    members, known = list_first_members(plan.members), dict[str, Collection[str]]()
    for method in dict.fromkeys(member.method for member in members):
        with contextlib.suppress(UnreelError):  # which the check of its row explains
            known[method] = list_option_kinds(method)
    for member in members:
        for name, value in member.options.items():
            owner = next((method for method in known if name in known[method]), None)
            if owner is not None and name not in known.get(member.method, [name]):
                raise InputError(
                    f"setting '{member.row}': {member.method} has no option '{name}', {owner} has. What one method "
                    f"alone has stands in its settings, not in the grid or in common: {{method: {owner}, "
                    f"{name}: {value}}} in a file, on the command line --settings '{owner} {name}={value}'"
                )


def list_first_members(members: Iterable[Member]) -> list[Member]:
    """The first member of each row."""
    return list({member.row: member for member in reversed(list(members))}.values())[::-1]
