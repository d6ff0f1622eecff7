"""The claims of the papers at one budget: trains every row, evaluates it, and says of each claim: seen, not, refuted.

    python benchmarks/claims.py OUT --jhmdb FOLDER --synthetic --steps 3000 --seeds 0 1 2

FOLDER has labelled videos with train.txt and test.txt; training uses the files of train.txt and no labels. The
synthetic set is made with the seed of the run, so that its spread includes that of the data; `--classes 8 14` adds the
set with mirrored and reversed twins. Every row has one network, one optimiser and `--steps` steps of 16. Rows are
evaluated at the last step by retrieval (nothing centred), both layers, each view and all views with equal weight.

The order is seed by seed, so that partial tables are of use. The same command goes on after a kill: finished rows are
kept, a begun one resumes. OUT/SET-STEPS/ROW-seedS is a run; its encoders/ has the encoders of some early steps and
the last. With `--scores FOLDER` the figures of each test video lie in files small enough for a repository, and what is
there is not done again: all rows, sets and seeds take some two days of a core. OUT/claims.csv has one line for each
row, seed, layer and view, OUT/claims.md the tables; `--docs FILE` also puts them between the lines
`<!-- claims -->` and `<!-- end of claims -->` of FILE. The rule of the verdicts is in claims_report.py.
"""

import csv
import dataclasses
import datetime
import functools
import io
import json
import platform
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from claims_report import FLOOR_ROW, LAYERS, MAIN_COLUMN, MEAN_PRECISION, RunScores, SeedScores, format_set

import unreel
from unreel.corpus.manifest import Manifest
from unreel.embedding import VideoEncoder
from unreel.errors import InputError, UnreelError
from unreel.evaluation.baselines.chance import CHANCE
from unreel.evaluation.baselines.trivial_baselines import (
    build_difference_extractor,
    build_histogram_extractor,
    build_mean_frame_extractor,
)
from unreel.evaluation.feature_extraction import build_encoder_extractor, extract_features
from unreel.evaluation.labelled_videos import load_labelled_videos
from unreel.evaluation.metrics.cosine_ranking import QueryGallery
from unreel.evaluation.protocols.retrieval import compute_chance, score_queries
from unreel.evaluation.video_features import JOINT, VideoFeatures, scale_views
from unreel.io.atomic_write import atomic_folder, atomic_write_bytes, atomic_write_text
from unreel.io.file_lock import lock_folder
from unreel.io.limits import use_limits
from unreel.models.encoder.checkpoint_files import save_encoder
from unreel.models.registry import TWIN_2D_SUFFIX
from unreel.training.batches import build_training_limits
from unreel.training.job import TrainingJob, build_encoder_spec
from unreel.training.loop import train
from unreel.training.run_folder.checkpoint_index import format_step, has_checkpoint
from unreel.training.run_folder.config import CONFIG_FILE, RunConfig, build_run_config, read_config
from unreel.training.run_length.length_choice import CommandClock
from unreel.training.runtime.auto_settings import resolve_config
from unreel.training.runtime.processes import lock_run, run_processes
from unreel.verbs.training.inflate import inflate
from unreel.verbs.training.pretrain import load_training_job, prepare_run

ROWS = (
    *("motion", "trio", "iic", "iic:intra_negatives=none", "cvrl", "cvrl:pairs=uniform", "cvrl:pairs=increasing"),
    *("cvrl:consistent=false", "dual", "dual:shuffle_rank=false", "iic:intra_negatives=repeat"),
    *("iic:intra_negatives=shuffle", "trio:intra_negatives=none", "trio:rank_weight=0.5", "dual-moco"),
    *("dual-moco:shuffle_rank=false", "cmc", "iic-paper", "iic-paper:intra_negatives=shuffle", "iic-v2", "simclr"),
    *("simclr-frames:backbone=tiny-2d,num_frames=1", "moco", "byol", "vicreg", "cvrl:interval_power=0.5"),
    *("cvrl:interval_power=2", "cvrl:pairs=mirror,interval_power=0.5", "trio:second_view=rgb"),
    *("iic:num_negatives=1024", "iic:num_negatives=1024,intra_negatives=none", "moco:queue_size=128"),
    *("motion:augment=crop", "motion:intra_negatives=shuffle-frames", "trio:augment=blend"),
)
"""What is trained, in this order, METHOD or METHOD:FIELD=VALUE,...: first the claims that most papers make."""
PIXEL_FLOORS = (build_mean_frame_extractor, build_histogram_extractor, build_difference_extractor)
BUDGET: dict[str, Any] = {
    **{"backbone": "tiny", "size": 48, "num_frames": 8, "fps": 12.5, "stride_frames": 0, "batch_size": 16},
    **{"optimizer": "adamw", "lr": 0.002, "weight_decay": 0.01, "schedule": "cosine", "warmup": 0.05},
    **{"segment_s": 10.0, "held_out": 0.1},
    **{"init": "none", "threads": 1, "workers": 0, "device": "cpu", "monitor_epochs": 10**6, "checkpoint_minutes": 1.0},
}
TITLES = {"jhmdb": "JHMDB", "weizmann": "Weizmann"}  # sets of a folder, whose videos are the same for all seeds
KEPT_STEPS = (100, 200, 400, 800)  # steps whose encoders are kept beside the last, for studies of monitors
SCORES_FILE, ENCODERS_FOLDER, VIDEOS_PER_CLASS = "scores.npz", "encoders", 40
CSV_HEADER = ("set", "steps", "row", "seed", "layer", "features", MAIN_COLUMN, MEAN_PRECISION, "test_videos", "minutes")
MARKS = ("<!-- claims -->", "<!-- end of claims -->")


@dataclasses.dataclass(frozen=True)
class Args:
    """What to train and where."""

    out: tyro.conf.Positional[Path]
    """Folder of the runs and tables; an existing one is continued."""
    jhmdb: Path | None = None
    """Labelled videos with train.txt and test.txt."""
    weizmann: Path | None = None
    """The same: another set."""
    synthetic: bool = False
    """Train on the synthetic motion set too."""
    classes: tuple[int, ...] = (8,)
    """Classes of the synthetic sets, one set for each number."""
    steps: int = 3000
    """Steps of each run."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds, one after the other."""
    only: tuple[str, ...] = ()
    """Rows to train and show; all by default."""
    jobs: int = 1
    """Runs at once, each on one thread."""
    num_clips: int = 10
    """Clips of each video in retrieval."""
    scores: Path | None = None
    """Folder that keeps the figures of every test video of finished rows (some kB each), so that another machine, on
    another day, adds what is missing; OUT by default."""
    show: bool = False
    """Train nothing, write the tables of what is done."""
    docs: Path | None = None
    """Markdown file that gets the tables between its marks."""


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


def folder_name(setting: str, seed: int) -> str:
    return f"{setting.replace(':', '-').replace(',', '-').replace('=', '-').replace('/', '-')}-seed{seed}"


class Task(NamedTuple):
    """A row of one set and seed, or the floors (FLOOR_ROW)."""

    set_name: str
    row: str
    seed: int


def list_sets(args: Args) -> list[str]:
    """The names of the sets of videos. Raises InputError for none."""
    sets = [name for name in TITLES if getattr(args, name)]
    sets += [f"synth{n}" for n in args.classes if args.synthetic]
    if not sets:
        raise InputError("there is nothing to train on; give --jhmdb FOLDER, --weizmann FOLDER or --synthetic")
    return sets


def list_rows(only: Sequence[str]) -> list[str]:
    """All rows, or those named, in the order of training. Raises InputError for an unknown one."""
    if unknown := [row for row in only if row not in ROWS]:
        raise InputError(f"unknown row '{unknown[0]}'; the rows are {', '.join(ROWS)}")
    return [row for row in ROWS if not only or row in only]


def plan_tasks(sets: Sequence[str], rows: Sequence[str], seeds: Sequence[int]) -> list[Task]:
    """Everything to do, in order: seed by seed the floors, then each row on all sets, so that its pairs come early."""
    return [Task(name, row, seed) for seed in seeds for row in (FLOOR_ROW, *rows) for name in sets]


def is_drawn_by_seed(set_name: str) -> bool:
    """Whether each seed has test videos of its own."""
    return set_name not in TITLES


def get_folder(args: Args, task: Task) -> Path:
    """The run of a row, or the folder of the floors, which do not depend on the number of steps."""
    if task.row == FLOOR_ROW:
        return args.out / "floors" / f"{task.set_name}-seed{task.seed}"
    return args.out / f"{task.set_name}-{args.steps}" / folder_name(task.row, task.seed)


def get_scores_path(args: Args, task: Task) -> Path:
    """The file with the figures of a finished task: in its folder, or in a folder of the same name in `--scores`."""
    folder = get_folder(args, task)
    return folder / SCORES_FILE if args.scores is None else args.scores / f"{folder.relative_to(args.out)}.npz"


def get_data(args: Args, task: Task) -> Path:
    """The videos of a task; a synthetic set is made unless it exists."""
    if not is_drawn_by_seed(task.set_name):
        folder: Path = getattr(args, task.set_name)
        return folder
    data = args.out / "videos" / task.set_name / f"seed{task.seed}"
    if not (data / "train.txt").exists():
        unreel.make_set(data, int(task.set_name.removeprefix("synth")), VIDEOS_PER_CLASS, task.seed)
    return data


@functools.cache
def inspect_once(data: Path) -> Manifest:
    """The manifest of the training videos; read once, since every row has the same."""
    return unreel.inspect(data / "train.txt", data)


def build_config(row: str, steps: int, seed: int) -> RunConfig:
    """The method of a row at the budget of all rows."""
    method, _, own = row.partition(":")
    return build_run_config(method, BUDGET | parse_options(own) | {"steps": steps, "seed": seed})


def keep_encoders(job: TrainingJob) -> None:
    """Save the encoder as it is before the step after each of KEPT_STEPS; a resumed run writes the same again."""

    def save(*_: object) -> None:
        if job.state.step in KEPT_STEPS:
            save_step(job)

    job.method.register_forward_pre_hook(save)


def save_step(job: TrainingJob) -> Path:
    """Write RUN/encoders/step-00000200 or the like."""
    folder = job.run_folder / ENCODERS_FOLDER / format_step(job.state.step)
    folder.parent.mkdir(exist_ok=True)
    with atomic_folder(folder, overwrite=True) as temporary:
        save_encoder(job.encoder, temporary)
    return folder


def train_row(run: Path, data: Path, config: RunConfig) -> Path:
    """Train a row to its last step, from where it stopped; returns its last encoder.

    As `unreel pretrain`, without the report and with the monitors of the first and the last step alone.
    Raises KeyboardInterrupt when it was stopped before the end.
    """
    start_s = time.process_time()
    config = resolve_config(config)
    settings = config.settings
    with use_limits(build_training_limits(settings)), run_processes(settings, run) as (fabric, group):
        if (run / CONFIG_FILE).exists():
            job = load_training_job(run)
        else:
            job = prepare_run(data / "train.txt", run, config, lambda _: inspect_once(data), group.world_size)
        keep_encoders(job)
        with lock_run(run, group):
            clock = CommandClock(time.monotonic(), report_clips=0)  # unused: the number of steps is fixed
            train(job, has_checkpoint(run), True, fabric, group, clock)
    add_minutes(run, (time.process_time() - start_s) / 60)
    if not job.is_finished:
        raise KeyboardInterrupt
    return save_step(job)


def add_minutes(run: Path, minutes: float) -> None:
    """Processor minutes of a run, over all its parts that ended orderly."""
    path = run / "minutes.txt"
    atomic_write_text(path, f"{minutes + (float(path.read_text()) if path.exists() else 0.0):.3f}\n")


def load_row_encoder(folder: Path, run: Path) -> VideoEncoder:
    """The encoder of a row; a network of single frames is inflated first."""
    encoder = unreel.load_encoder(folder)
    if not encoder.spec.backbone.endswith(TWIN_2D_SUFFIX):
        return encoder
    inflated = run / "inflated"
    return unreel.load_encoder(inflated) if inflated.exists() else inflate(folder, inflated)


def build_untrained(seed: int) -> VideoEncoder:
    """The network of `trio` with both views and the weights that its run of this seed begins with."""
    spec = build_encoder_spec(resolve_config(build_config("trio", 1, seed)), None)
    torch.manual_seed(seed)
    return VideoEncoder(spec).eval()


def score_encoder(encoder: VideoEncoder, data: Path, num_clips: int, with_floors: bool) -> dict[str, np.ndarray]:
    """R@1 and average precision of each test video, percent (Q,), by "layer/features/column"; and their groups.

    The floors are those of pixels and chance, beside the encoder.
    """
    labelled = load_labelled_videos(data)
    extractors = [build_encoder_extractor(encoder, layers=LAYERS)]
    extractors += [build(encoder.spec) for build in PIXEL_FLOORS] if with_floors else []
    gallery, query = (
        extract_features(part, encoder.spec, extractors, num_clips) for part in (labelled.train, labelled.test)
    )
    arrays: dict[str, np.ndarray] = {"groups": np.array(query.groups)}
    for layer in LAYERS:
        for name, scores in score_layer(gallery, query, layer):
            arrays |= {f"{layer}/{name}/{c}": scores[c].astype(np.float32) for c in (MAIN_COLUMN, MEAN_PRECISION)}
        if with_floors:
            chance = compute_chance(query.labels, gallery.labels, (1,))[MAIN_COLUMN]
            arrays[f"{layer}/{CHANCE}/{MAIN_COLUMN}"] = np.full(len(query.labels), chance)
    return arrays


def score_layer(
    gallery: VideoFeatures, query: VideoFeatures, layer: str
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Each row of the retrieval table at one layer, with the figures of its test videos."""
    for name, (key, columns) in gallery.list_table_rows(layer).items():
        rows = query.vectors[key][:, columns], gallery.vectors[key][:, columns]
        if name == JOINT:
            rows = tuple(scale_views(part, gallery.columns[key].values()) for part in rows)
        yield name, score_queries(QueryGallery(*rows), (query.labels, gallery.labels), (1,))


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(path, buffer.getvalue())


def read_scores(path: Path) -> RunScores | None:
    """What a finished task wrote; None before."""
    if not path.exists():
        return None
    values: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    with np.load(path) as arrays:
        for name in arrays.files:
            if "/" in name:
                layer, features, column = name.split("/")
                values.setdefault(layer, {}).setdefault(features, {})[column] = arrays[name].astype(np.float64)
        groups = [str(group) for group in arrays["groups"]]
        return RunScores(values, groups, float(arrays["minutes"]), str(arrays["options"]))


def describe_options(args: Args, task: Task) -> str:
    """The method of a row and all its options as JSON; "" for the floors."""
    if task.row == FLOOR_ROW:
        return ""
    config = build_config(task.row, args.steps, task.seed)
    return json.dumps({"method": config.method, "options": dataclasses.asdict(config.options)}, sort_keys=True)


def run_task(args: Args, task: Task) -> str:
    """Do a task unless it is done; returns what there is to say of it: figures, or why it failed."""
    path = get_scores_path(args, task)
    try:
        if read_scores(path) is None:
            write_arrays(path, measure_task(args, task))
        scores = read_scores(path)
        assert scores is not None
        if scores.options != describe_options(args, task):
            raise InputError(f"{path}: of other options than '{task.row}' has now; move it away with its run")
    except UnreelError as error:
        return f"FAILED {task}: {error}"
    figures = ", ".join(f"{n} {v[MAIN_COLUMN].mean():.1f}" for n, v in scores.values["pooled"].items())
    return f"{task.set_name} seed {task.seed} {task.row}: {figures} ({scores.minutes:.1f} min)"


def measure_task(args: Args, task: Task) -> dict[str, np.ndarray]:
    """Train a row, unless it is the floors, and score it: what `read_scores` reads. Raises UnreelError."""
    folder, data = get_folder(args, task), get_data(args, task)
    if task.row == FLOOR_ROW:
        torch.set_num_threads(BUDGET["threads"])
        return {"minutes": np.array(0.0), "options": np.array("")} | score_encoder(
            build_untrained(task.seed), data, args.num_clips, True
        )
    last = train_row(folder, data, build_config(task.row, args.steps, task.seed))
    config = read_config(folder)
    options = json.dumps({"method": config["method"], "options": config["options"]}, sort_keys=True)
    about = {"minutes": np.array(float((folder / "minutes.txt").read_text())), "options": np.array(options)}
    return about | score_encoder(load_row_encoder(last, folder), data, args.num_clips, False)


def run_tasks(args: Args, tasks: Sequence[Task]) -> Iterator[str]:
    """Do all tasks in order, `--jobs` at a time; yields a line for each."""
    if args.jobs == 1:
        yield from (run_task(args, task) for task in tasks)
        return
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(run_task, [args] * len(tasks), tasks)


def collect_scores(args: Args, set_name: str, rows: Sequence[str]) -> list[SeedScores]:
    """The finished rows of each seed, and its floors."""
    tasks = [[Task(set_name, row, seed) for row in (FLOOR_ROW, *rows)] for seed in args.seeds]
    found = [{task.row: read_scores(get_scores_path(args, task)) for task in of_seed} for of_seed in tasks]
    return [{row: scores for row, scores in of_seed.items() if scores is not None} for of_seed in found]


def list_csv_rows(args: Args, tasks: Sequence[Task]) -> Iterator[tuple[object, ...]]:
    """One line for each finished task, layer and row of features."""
    for task in tasks:
        if scores := read_scores(get_scores_path(args, task)):
            for layer, by_features in scores.values.items():
                for features, columns in by_features.items():
                    means = [f"{columns[c].mean():.4f}" if c in columns else "" for c in (MAIN_COLUMN, MEAN_PRECISION)]
                    tail = (*means, len(scores.groups), f"{scores.minutes:.2f}")
                    yield (task.set_name, args.steps, task.row, task.seed, layer, features, *tail)


def write_tables(args: Args, tasks: Sequence[Task]) -> str:
    """Write OUT/claims.csv and OUT/claims.md, and the marked part of `--docs`; returns the Markdown."""
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([CSV_HEADER, *list_csv_rows(args, tasks)])
    atomic_write_text(args.out / "claims.csv", lines.getvalue())
    parts = [describe_budget(args)]
    for name in list_sets(args):
        done = {task.row for task in tasks if task.set_name == name and get_scores_path(args, task).exists()}
        rows = [row for row in list_rows(args.only) if row in done]
        scores = collect_scores(args, name, rows)
        parts.append(format_set(title_set(name), scores, rows, same_videos=not is_drawn_by_seed(name)))
    text = "\n\n".join(parts) + "\n"
    atomic_write_text(args.out / "claims.md", text)
    if args.docs:
        atomic_write_text(args.docs, replace_marked(args.docs.read_text(encoding="utf-8"), text))
    return text


def replace_marked(page: str, text: str) -> str:
    """The page with `text` between its marks. Raises InputError where the marks are missing."""
    before, begin, rest = page.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not begin or not end:
        raise InputError(f"the page has no marks; put the lines {MARKS[0]} and {MARKS[1]} where the tables belong")
    return f"{before}{begin}\n\n{text}\n{end}{after}"


def title_set(name: str) -> str:
    return TITLES.get(name) or f"Synthetic motion set, {name.removeprefix('synth')} classes"


def describe_budget(args: Args) -> str:
    """The command, the budget and the machine, in words."""
    sets = "".join(f" --{name} {title.upper()}" for name, title in TITLES.items() if getattr(args, name))
    if args.synthetic:
        sets += " --synthetic" + (f" --classes {' '.join(map(str, args.classes))}" if args.classes != (8,) else "")
    seeds = " ".join(map(str, args.seeds))
    command = f"python benchmarks/claims.py OUT{sets} --steps {args.steps} --seeds {seeds}{' --show' * args.show}"
    budget = ", ".join(f"{name}={json.dumps(value)}" for name, value in BUDGET.items())
    return (
        f"    {command}\n\nEvery row: {args.steps} steps, {budget}; the last step; retrieval with {args.num_clips} "
        f"clips per video. Percent, mean ± standard deviation over seeds; differences in points with 95 % intervals. "
        f"{read_cpu_name()}, one thread a run, torch {torch.__version__}, Python {platform.python_version()}, "
        f"{datetime.date.today()}. Minutes are processor time of training."
    )


def read_cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main(args: Args) -> int:
    """Run what is not done yet; the tables are written after every task. Returns 1 when a task failed."""
    tasks = plan_tasks(list_sets(args), list_rows(args.only), args.seeds)
    args.out.mkdir(parents=True, exist_ok=True)
    failed = False
    with lock_folder(args.out, "measures claims"):
        if args.show:
            tasks = [task for task in tasks if get_scores_path(args, task).exists()]
        for done, line in enumerate(run_tasks(args, tasks), start=1):
            print(f"[{done}/{len(tasks)}] {datetime.datetime.now():%H:%M} {line}", flush=True)
            failed |= line.startswith("FAILED")
            write_tables(args, tasks)
        print(f"\n{write_tables(args, tasks)}")
    return int(failed)


if __name__ == "__main__":
    try:
        raise SystemExit(main(tyro.cli(Args)))
    except UnreelError as error:
        raise SystemExit(f"claims.py: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("stopped; the same command goes on") from None
