"""The commands of `unreel`: their overview, and the function that runs each one, imported only when it is called."""

import importlib
from collections.abc import Callable

OVERVIEW = """unreel turns a folder of unlabelled video into an encoder, and the encoder into embeddings and search.

  unreel explore FOLDER                        all in one: inspect, train, index, open the page; call it again to go on
  unreel inspect FOLDER                        list the videos of a folder, and the files that can't be used
  unreel pack FOLDER OUT                       rewrite videos once into small pieces that are cheap to train from
  unreel pretrain FOLDER --out RUN             train an encoder; RUN/report.html shows the result
  unreel pretrain --resume RUN                 go on with a run that was stopped
  unreel sweep FILE.yaml --out OUT             several settings x seeds, several at a time, in one table with tests
  unreel methods                               list the choices for --method: idea, source, defaults
  unreel new-method NAME                       write the file of a method of your own, and its test
  unreel evaluate WHAT RUN DATA                evaluate on labelled videos: retrieval, knn, linear, motion, all ...
  unreel compare EVAL EVAL ...                 show the results of `evaluate all` for several encoders side by side
  unreel data check DATA                       check a labelled data set for missing or inconsistent parts
  unreel embed RUN FOLDER --out FILE.parquet   one vector per video or per clip, with times
  unreel embed RUN FOLDER --out STORE          the same in a folder that is kept up to date, by many processes
  unreel index RUN FOLDER --out INDEX          index clips that slide over every video; kept up to date
  unreel search INDEX VIDEO --from 12 --to 15  find similar moments, with their seconds
  unreel serve INDEX                           search in a browser, with a map of the corpus, marks and export
  unreel cluster INDEX                         clusters with moving previews, outliers, duplicates; tables
  unreel concept INDEX NAME --yes 12 --no 40   learn a concept from a few marks and rank everything by it
  unreel apply CONCEPT FOLDER                  find the moments of a concept in new videos, with their seconds
  unreel classify train RUN LABELS --out CLASSIFIER   learn classes from labelled videos, a CSV or marks
  unreel classify apply CLASSIFIER FOLDER --out CSV   seconds, class, calibrated probability
  unreel export INDEX --to KIND:PLACE          export to FiftyOne, Lightly, Parquet, NumPy, LanceDB, Qdrant, PostgreSQL
  unreel export-model RUN --to KIND:PLACE      write an encoder as ONNX, torch.export, or a folder for a model hub
  unreel bench [FOLDER]                        measure where training time goes on this machine, and what to change
  unreel doctor                                check this installation and this machine, and say what to mend
  unreel report RUN                            write RUN/report.html again
  unreel import FILE --out ENCODER             make an encoder of released weights (IIC, CoCLR, torchvision ...)
  unreel inflate FILE --out ENCODER            make a video encoder from the weights of an image network
  unreel synth OUT                             make a set of videos that differ by motion alone

unreel COMMAND --help lists the options of a command, with examples. unreel --completion bash (or zsh) prints a script
that completes commands, options and files at the press of a key: eval "$(unreel --completion bash)"."""

COMMANDS = {
    "explore": "unreel.cli.exploration.explore:explore_command",
    "inspect": "unreel.cli.data.inspect:inspect_command",
    "pack": "unreel.cli.data.pack:pack_command",
    "pretrain": "unreel.cli.training.pretrain:pretrain_command",
    "sweep": "unreel.cli.training.sweep:sweep_command",
    "methods": "unreel.cli.training.methods:methods_command",
    "new-method": "unreel.cli.training.new_method:new_method_command",
    "evaluate": "unreel.cli.evaluation.evaluate:evaluate_command",
    "compare": "unreel.cli.evaluation.compare:compare_command",
    "data": "unreel.cli.data.check_labelled_set:data_command",
    "embed": "unreel.cli.indexing.embed:embed_command",
    "index": "unreel.cli.indexing.index:index_command",
    "search": "unreel.cli.indexing.search:search_command",
    "serve": "unreel.cli.indexing.serve:serve_command",
    "cluster": "unreel.cli.indexing.cluster:cluster_command",
    "concept": "unreel.cli.indexing.concept:concept_command",
    "apply": "unreel.cli.indexing.apply:apply_command",
    "classify": "unreel.cli.classification.classify:classify_command",
    "export": "unreel.cli.indexing.export:export_command",
    "export-model": "unreel.cli.training.export_model:export_model_command",
    "bench": "unreel.cli.training.bench:bench_command",
    "doctor": "unreel.cli.training.doctor:doctor_command",
    "report": "unreel.cli.training.report:report_command",
    "import": "unreel.cli.training.import_weights:import_command",
    "inflate": "unreel.cli.training.inflate:inflate_command",
    "synth": "unreel.cli.data.synth:synth_command",
}


def load_command(name: str) -> Callable[[list[str]], int]:
    """The function of a command; it takes the arguments after the command and returns the exit code."""
    module, _, function = COMMANDS[name].partition(":")
    command: Callable[[list[str]], int] = getattr(importlib.import_module(module), function)
    return command
