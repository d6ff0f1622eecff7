"""`unreel evaluate`: an encoder on labelled videos; each figure is printed with its protocol."""

import contextlib
import dataclasses
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console

from unreel.cli.arguments import parse_args
from unreel.cli.evaluation.arguments import (
    AllArgs,
    DetectionArgs,
    EncoderArgs,
    FeatureArgs,
    FinetuneArgs,
    make_feature_args,
)
from unreel.cli.help.examples import format_examples
from unreel.cli.progress_bar import ProgressBar
from unreel.cli.records import print_records, refuse_json_and_csv
from unreel.cli.terminal import escape_markup, stderr_console
from unreel.errors import InputError
from unreel.evaluation.protocol_registry import (
    build_evaluations,
    list_protocols,
    load_protocol_options,
    name_own_protocol,
    unknown_protocol_error,
)
from unreel.io.limits import use_limits
from unreel.io.text import format_path

if TYPE_CHECKING:
    from unreel.evaluation.result import Result
    from unreel.verbs.evaluation.evaluate_finetune import FinetuneOptions

Progress = Callable[[int, int], None]
Evaluate = Callable[[str, Any, Progress], "dict[str, Result]"]
MAX_THREADS = 1024
EVALUATE_USAGE = """usage: unreel evaluate WHAT RUN DATA [OPTIONS]    (unreel evaluate WHAT --help lists its options)

{protocols}
  finetune     the whole network trained on the labels, beside the same network from scratch
  detection    action detection: who does what where, with boxes in AVA's format
  all          all evaluations on frozen features in one pass, with a report: --out EVAL
  FILE.py      a protocol of your own (docs/own_method.md), also module:NAME or the name that a package offers

DATA is a folder of class folders with train.txt and test.txt, or UCF101, HMDB51, Kinetics, Something-Something V2 or
Diving48 as downloaded; `unreel data check DATA` lists what is missing."""


def evaluate_command(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        lines = [f"  {entry.name:<12} {entry.summary}" for entry in list_protocols().values()]
        print(EVALUATE_USAGE.format(protocols="\n".join(lines)) + "\n\n" + format_examples("evaluate"))
        return 0
    name = argv[0]
    args_type, run = find_evaluation(name)
    args = parse_args(args_type, argv[1:], f"evaluate {name}")
    refuse_json_and_csv(args.json, args.csv)
    with use_limits(args.limits), use_threads(args), ProgressBar("evaluating") as advance:
        results = run(name, args, advance)
    print_results(results, args.json, args.csv)
    if name == "all" and not (args.json or args.csv):
        print(f"\nreport: {args.out / 'report.html'}")
    return 0


def use_threads(args: Any) -> contextlib.AbstractContextManager[None]:
    """The threads of torch that --threads says, while an evaluation runs. Raises InputError for a number below 0."""
    from unreel.training.runtime.fabric import use_torch_threads

    threads = getattr(args, "threads", 0)
    if not 0 <= threads <= MAX_THREADS:
        raise InputError(f"--threads is between 0 and {MAX_THREADS}, got {threads}")
    return use_torch_threads(threads)


def find_evaluation(name: str) -> tuple[Any, Evaluate]:
    """The arguments and the function of an evaluation. Raises InputError."""
    known = list_protocols()
    if name in known:
        return make_feature_args(load_protocol_options(name)), evaluate_protocol
    if name not in OTHER_EVALUATIONS:
        if name_own_protocol(name):
            return make_feature_args(load_protocol_options(name)), evaluate_protocol
        raise unknown_protocol_error(name, OTHER_EVALUATIONS)
    return OTHER_EVALUATIONS[name]


def print_results(results: "dict[str, Result]", as_json: bool, as_csv: bool = False) -> None:
    """Tables, JSON or CSV; warnings go to standard error, each one once."""
    plain = {name: result.to_json() for name, result in results.items()}
    document = plain if len(plain) > 1 else next(iter(plain.values()))
    records = [{"evaluation": name} | row for name, result in results.items() for row in result.list_rows()]
    is_printed = print_records(records, as_json, as_csv, document)
    for result in [] if is_printed else results.values():
        Console().print(result.to_table())
        for sentence in [*result.extras.get("said", []), *compose_verdicts(result)]:
            print(sentence)
    for warning in dict.fromkeys(w for result in results.values() for w in result.warnings):
        stderr_console.print(escape_markup(format_path(f"note: {warning}")))


def compose_verdicts(result: "Result") -> list[str]:
    """Does the encoder beat what needs no training? The verdict of a table, else its main figure by the best floor."""
    from unreel.evaluation.baselines.chance import CHANCE
    from unreel.evaluation.baselines.descriptions import TRIVIAL_ROWS
    from unreel.evaluation.verdict.labelled import read_labelled_verdict
    from unreel.report.baseline_comparison import compare_to_baselines
    from unreel.views.view_spec import VIEWS

    if verdict := read_labelled_verdict(result.extras):
        has_floors = not TRIVIAL_ROWS.isdisjoint(result.rows.keys() - {CHANCE})  # --no-floors: nothing to compare with
        return [verdict.sentence] if verdict.comparisons or has_floors else []
    own_rows = [row for row in result.rows if row in VIEWS]  # others may be of models from elsewhere
    return [comparison.sentence for comparison in compare_to_baselines(result, own_rows) if comparison.is_trivial]


def build_label_sources(args: EncoderArgs) -> Any:
    from unreel.evaluation.labelled_videos import LabelSources

    return LabelSources(args.layout, args.split, args.train, args.test, args.splits)


def build_target(args: EncoderArgs) -> Any:
    from unreel.verbs.evaluation.saved_results import EvaluationTarget

    return EvaluationTarget(args.run, args.data, build_label_sources(args))


def load_evaluated_encoder(args: EncoderArgs) -> Any:
    from unreel.verbs.evaluation.evaluate import load_encoder_at_rate

    return load_encoder_at_rate(args.run, args.fps, args.stride_frames, args.allow_import, args.device)


def build_feature_options(args: FeatureArgs) -> Any:
    from unreel.verbs.evaluation.evaluate import build_extraction_options

    options = build_extraction_options(
        args.num_clips, args.num_crops, args.floors, args.baseline, args.fps, args.stride_frames, args.appearance
    )
    return dataclasses.replace(options, **count_workers(args))


def count_workers(args: EncoderArgs) -> dict[str, Any]:
    """The loader processes that leave --threads to others; nothing where that is not given."""
    return {"workers": max(1, args.threads - 1)} if args.threads else {}


def get_protocol_options(args: FeatureArgs) -> dict[str, Any]:
    """The options of one protocol, without those that all evaluations on features share."""
    shared = {field.name for field in dataclasses.fields(FeatureArgs)}
    return {field.name: getattr(args, field.name) for field in dataclasses.fields(args) if field.name not in shared}


def evaluate_protocol(name: str, args: FeatureArgs, on_progress: Progress) -> "dict[str, Result]":
    from unreel.verbs.evaluation.evaluate import evaluate_features
    from unreel.verbs.evaluation.evaluate_finetune import choose_training

    chosen = get_protocol_options(args)
    if training := choose_training(name, chosen):
        return train_protocol(training, args, on_progress)
    encoder, options = load_evaluated_encoder(args), build_feature_options(args)
    evaluations = build_evaluations(name, options, **chosen)
    return evaluate_features(encoder, build_target(args), evaluations, options, on_progress)


def train_protocol(training: "FinetuneOptions", args: FeatureArgs, on_progress: Progress) -> "dict[str, Result]":
    """A protocol that trains one network on the labels: few labels with --finetune, linear with --recipe."""
    from unreel.verbs.evaluation.evaluate_finetune import evaluate_finetuning, require_one_network

    require_one_network(len(args.baseline), args.num_crops if training.plan else 1)
    num_crops = args.num_crops if args.num_crops > 1 else None
    training = training.change(num_clips=args.num_clips, num_crops=num_crops, **count_workers(args))
    training = dataclasses.replace(training, scratch=args.floors)
    return evaluate_finetuning(load_evaluated_encoder(args), build_target(args), training, on_progress)


def evaluate_finetune(name: str, args: FinetuneArgs, on_progress: Progress) -> "dict[str, Result]":
    from unreel.verbs.evaluation.evaluate_finetune import choose_training, evaluate_finetuning

    others = {field.name for field in dataclasses.fields(EncoderArgs)} - {"num_clips"}
    values = {field.name: getattr(args, field.name) for field in dataclasses.fields(args) if field.name not in others}
    training = choose_training(name, values)
    assert training is not None
    training = training.change(**count_workers(args))
    return evaluate_finetuning(load_evaluated_encoder(args), build_target(args), training, on_progress)


def evaluate_detection(name: str, args: DetectionArgs, on_progress: Progress) -> "dict[str, Result]":
    from unreel.verbs.evaluation.evaluate_detection import evaluate_detection_set

    options = {
        "finetune": args.finetune,
        "proposals": str(args.proposals or ""),
        "least_score": args.least_score,
        "save_detections": str(args.save_detections or ""),
        "seed": args.seed,
    }
    return evaluate_detection_set(args.run, args.data, options, args.clock_s, args.allow_import, on_progress)


def evaluate_everything(name: str, args: AllArgs, on_progress: Progress) -> "dict[str, Result]":
    from unreel.verbs.evaluation.evaluate_all import evaluate_all

    return evaluate_all(
        load_evaluated_encoder(args),
        args.run,
        args.data,
        args.out,
        build_label_sources(args),
        build_feature_options(args),
        args.finetune,
        on_progress,
        command=shlex.join(["unreel", *sys.argv[1:]]),
    )


OTHER_EVALUATIONS: dict[str, tuple[Any, Evaluate]] = {
    "finetune": (FinetuneArgs, evaluate_finetune),
    "detection": (DetectionArgs, evaluate_detection),
    "all": (AllArgs, evaluate_everything),
}
