"""How the label-free monitors rank checkpoints, beside R@1 with labels: Spearman's rank correlation, in Markdown.

    python benchmarks/monitor_study.py RUN [RUN ...] --sets DATA [DATA ...] --out study.csv

RUN is a run folder, all of whose checkpoints are measured (those of `encoders/` where claims.py kept some), or a single
checkpoint in one. DATA are labelled sets with train.txt and test.txt; a run belongs to the set that most of its
training videos are from. The monitors see the held-out videos of the run and no labels. R@1 (default protocol, all
views joined) is measured twice: within the training list, whose recordings are split in two (to choose by), and of the
test list among the training list (to report). Both verdicts are taken too: without labels on the run's own videos, and
with labels on the test list; a second table counts how often they agree.

Each checkpoint adds a line to the CSV as soon as it is measured, and one that has a line is not measured again, so the
study can be interrupted and extended.
"""

import csv
import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import torch
import tyro

from unreel.corpus.held_out import MAX_HELD_OUT, split_held_out
from unreel.corpus.manifest import Manifest
from unreel.corpus.segments import build_instances
from unreel.embedding import load_encoder
from unreel.errors import InputError
from unreel.evaluation.baselines.trivial_baselines import build_baseline_extractors
from unreel.evaluation.feature_extraction import FeatureExtractor, build_encoder_extractor, extract_features
from unreel.evaluation.labelled_videos import LabelledVideos, load_labelled_videos
from unreel.evaluation.protocols.retrieval import RetrievalProtocol, evaluate_retrieval
from unreel.evaluation.result import Result
from unreel.evaluation.validation_split import choose_validation_groups
from unreel.evaluation.verdict.decision import Level, Verdict
from unreel.evaluation.verdict.label_free import judge_without_labels
from unreel.evaluation.video_features import JOINT, VideoFeatures
from unreel.models.encoder.checkpoint_files import CHECKPOINTS_FOLDER, SPEC_FILE
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.training.label_free.moments import MomentReader
from unreel.training.monitors import evaluate_monitors
from unreel.training.run_folder.checkpoint_index import list_checkpoints, parse_step
from unreel.training.run_folder.config import CONFIG_FILE, read_config
from unreel.video.sources.paths import absolute_path

MONITORS = ("moment", "order", "far_clip", "same_video_r1", "same_video_mrr", "effective_rank", "spread")
LOW_IS_GOOD = ("alignment", "uniformity")
DERIVED = ("mean of the three tests", "steps")
R1_COLUMNS, VERDICT_COLUMNS = ("r1_validation", "r1_test"), ("verdict", "verdict_with_labels")
COLUMNS = ("checkpoint", "set", "method", "step", *MONITORS, *LOW_IS_GOOD, *R1_COLUMNS, *VERDICT_COLUMNS)
MIN_SPEARMAN = 0.5  # the least that a monitor must reach to choose checkpoints


@dataclasses.dataclass(frozen=True)
class Args:
    """Which checkpoints and sets."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    sets: tuple[Path, ...]
    out: Path
    num_clips: int = 3
    threads: int = 1


@dataclasses.dataclass(frozen=True)
class StudySet:
    """A labelled set, the paths of its training list, and the features of the floors by network, clips and views."""

    name: str
    videos: LabelledVideos
    paths: frozenset[str]
    floors: dict[tuple[object, ...], tuple[VideoFeatures, VideoFeatures]] = dataclasses.field(default_factory=dict)

    def extract(self, encoder: Encoder, num_clips: int) -> tuple[VideoFeatures, VideoFeatures]:
        """Features of the training and the test list by an encoder and by the floors, which are extracted once."""
        spec = encoder.spec
        key = (spec.backbone, str(spec.options), spec.clip, spec.views)
        if key not in self.floors:
            self.floors[key] = self._extract(build_baseline_extractors(encoder, ("pooled",)), spec, num_clips)
        own = self._extract([build_encoder_extractor(encoder, layers=("pooled",))], spec, num_clips)
        for features, floors in zip(own, self.floors[key], strict=True):
            features.vectors |= floors.vectors
            features.columns |= floors.columns
        return own

    def _extract(
        self, extractors: Sequence[FeatureExtractor], spec: EncoderSpec, num_clips: int
    ) -> tuple[VideoFeatures, VideoFeatures]:
        train, test = (
            extract_features(part, spec, extractors, num_clips, workers=1)
            for part in (self.videos.train, self.videos.test)
        )
        return train, test


def load_sets(folders: Sequence[Path]) -> list[StudySet]:
    sets = []
    for folder in folders:
        videos = load_labelled_videos(folder)
        sets.append(StudySet(folder.resolve().name, videos, frozenset(absolute_path(i.path) for i in videos.train)))
    return sets


def find_set(run: Path, manifest: Manifest, sets: Sequence[StudySet]) -> StudySet:
    """The set that most videos of a run are from. Raises InputError for none."""
    counts = [sum(video.path in known.paths for video in manifest.videos) for known in sets]
    if not max(counts):
        raise InputError(f"{run}: none of its videos is in the training list of a set")
    return sets[int(np.argmax(counts))]


def list_study_checkpoints(path: Path) -> list[Path]:
    if (path / SPEC_FILE).exists():
        return [path]
    kept = sorted((path / "encoders").glob("step-*"))
    return kept or list_checkpoints(path / CHECKPOINTS_FOLDER)


def find_run(checkpoint: Path) -> Path:
    """The run that a checkpoint lies in. Raises InputError for none."""
    for folder in checkpoint.parents[:2]:
        if (folder / CONFIG_FILE).is_file():
            return folder
    raise InputError(f"{checkpoint}: it lies in no run")


class RunReader:
    """The moments of a run's held-out videos, decoded once for all its checkpoints with the same clips."""

    def __init__(self, run: Path) -> None:
        self.run, self.manifest = run, Manifest.load(run)
        self.config = read_config(run)
        self.readers: dict[EncoderSpec, MomentReader] = {}
        settings = self.config["settings"]
        instances = build_instances(self.manifest, settings["segment_s"])
        self.training, self.held_out = split_held_out(instances, settings["held_out"], settings["seed"])

    def read_moments(self, encoder: Encoder) -> MomentReader:
        videos = self.held_out or self.training[:MAX_HELD_OUT]
        return self.readers.setdefault(encoder.spec, MomentReader(videos, encoder.spec))


def measure_r1(encoder: Encoder, study_set: StudySet, num_clips: int) -> tuple[float, float, str]:
    """R@1 within the training list, its recordings split in two, and of the test list among the training list; and the
    level of the verdict with labels on the test list."""
    train, test = study_set.extract(encoder, num_clips)
    is_query_N = choose_validation_groups(train.instances, share=0.5)
    halves = train.select_videos(~is_query_N), train.select_videos(is_query_N)
    protocol = RetrievalProtocol(num_clips=num_clips, num_examples=0)
    inside, result = (evaluate_retrieval(*pair, encoder.spec, protocol) for pair in (halves, (train, test)))
    verdict = Verdict.from_json(result.extras["verdict"])
    return get_r1(inside, encoder.spec), get_r1(result, encoder.spec), verdict.level


def get_r1(result: Result, spec: EncoderSpec) -> float:
    """R@1 of all views joined, else of the only view, in percent."""
    return result.rows.get(JOINT, result.rows[spec.views.names[0]])["R@1"]


def measure_checkpoint(
    checkpoint: Path, reader: RunReader, study_set: StudySet, num_clips: int
) -> dict[str, str | float]:
    """One row of the study."""
    encoder = load_encoder(checkpoint)
    monitors = evaluate_monitors(encoder, reader.read_moments(encoder))
    if monitors is None:
        raise InputError(f"{checkpoint}: fewer than two held-out videos are long enough for two clips")
    inside, test, labelled_level = measure_r1(encoder, study_set, num_clips)
    level = judge_without_labels(encoder, reader.held_out, reader.training).level
    values = {name: getattr(monitors, name) for name in (*MONITORS, *LOW_IS_GOOD)}
    about = {"checkpoint": str(checkpoint), "set": study_set.name, "method": reader.config["method"]}
    found = dict(zip((*R1_COLUMNS, *VERDICT_COLUMNS), (inside, test, level, labelled_level), strict=True))
    return {**about, "step": parse_step(checkpoint), **values, **found}


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows so far. Raises InputError for a table of an earlier version."""
    reader = csv.DictReader(path.read_text().splitlines() if path.exists() else [])
    rows = list(reader)
    if rows and tuple(reader.fieldnames or ()) != COLUMNS:
        raise InputError(f"{path}: its columns are not those of this study; give another --out")
    return rows


def append_row(path: Path, row: dict[str, str | float]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if is_new:
            writer.writeheader()
        writer.writerow({name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items()})


def rank(values_N: np.ndarray) -> np.ndarray:
    """Ranks from 0, the mean of them for equal values."""
    below_N = (values_N[:, None] > values_N).sum(axis=1)
    equal_N = (values_N[:, None] == values_N).sum(axis=1)
    return below_N + (equal_N - 1) / 2


def compute_spearman(a_N: np.ndarray, b_N: np.ndarray) -> float:
    """Spearman's rank correlation of the pairs without NaN; NaN for fewer than three, or where one is constant."""
    known_N = ~(np.isnan(a_N) | np.isnan(b_N))
    a, b = rank(a_N[known_N]), rank(b_N[known_N])
    if len(a) < 3 or a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def read_column(rows: Sequence[dict[str, str]], name: str) -> np.ndarray:
    """A column as numbers, high is good."""
    if name == DERIVED[0]:
        return np.mean([read_column(rows, test) for test in MONITORS[:3]], axis=0)
    values = np.array([float(row["step" if name == DERIVED[1] else name] or "nan") for row in rows])
    return -values if name in LOW_IS_GOOD else values


def format_cell(value: float) -> str:
    return "too few" if np.isnan(value) else f"{value:+.2f}"


def write_table(rows: Sequence[dict[str, str]]) -> str:
    """The table in Markdown: monitors by set, for R@1 within the training list and of the test list."""
    names = sorted({row["set"] for row in rows})
    lines = [
        "| monitor | " + " | ".join(f"{name}, {r1}" for r1 in ("choose", "test") for name in (*names, "mean")) + " |"
    ]
    lines.append("|" + "---|" * (1 + 2 * (len(names) + 1)))
    for monitor in (*MONITORS, *LOW_IS_GOOD, *DERIVED):
        cells = []
        for target in ("r1_validation", "r1_test"):
            found = []
            for name in names:
                of_set = [row for row in rows if row["set"] == name]
                found.append(compute_spearman(read_column(of_set, monitor), read_column(of_set, target)))
            cells += [*found, float(np.mean(found))]
        sign = "−" if monitor in LOW_IS_GOOD else ""
        lines.append(f"| {sign}{monitor.replace('_', ' ')} | " + " | ".join(format_cell(cell) for cell in cells) + " |")
    counts = ", ".join(f"{name} {sum(row['set'] == name for row in rows)}" for name in names)
    return "\n".join(
        [*lines, "", f"Checkpoints: {counts}. A monitor that chooses needs {MIN_SPEARMAN} (mean, choose)."]
    )


def write_agreement(rows: Sequence[dict[str, str]]) -> str:
    """How often each verdict without labels met each verdict with labels, in Markdown."""
    levels = get_args(Level)
    counts = Counter((row["verdict"], row["verdict_with_labels"]) for row in rows)
    lines = [f"| without labels | {' | '.join(f'with labels: {level}' for level in levels)} |", "|---|---|---|---|"]
    return "\n".join(
        [*lines, *(f"| {own} | {' | '.join(str(counts[own, level]) for level in levels)} |" for own in levels)]
    )


def main(args: Args) -> None:
    torch.set_num_threads(args.threads)
    sets = load_sets(args.sets)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for path in args.runs:
        done = {row["checkpoint"] for row in read_rows(args.out)}
        todo = [c for c in list_study_checkpoints(path.resolve()) if str(c) not in done]
        if not todo:
            continue
        reader = RunReader(find_run(todo[0]))
        study_set = find_set(path, reader.manifest, sets)
        for checkpoint in todo:
            append_row(args.out, measure_checkpoint(checkpoint, reader, study_set, args.num_clips))
            print(f"{checkpoint}: measured", flush=True)
    rows = read_rows(args.out)
    print(f"{write_table(rows)}\n\n{write_agreement(rows)}")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
