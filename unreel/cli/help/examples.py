"""Commands as one types them, shown at the end of each `--help`; tests parse each of them."""

import shlex

EXAMPLES = {
    "explore": ("unreel explore videos", "unreel explore videos -- --method cvrl --minutes 60"),
    "inspect": ("unreel inspect videos", "unreel inspect list.txt --root videos"),
    "pack": ("unreel pack videos packed --workers 4",),
    "pretrain": (
        "unreel pretrain videos --out run --minutes 60",
        "unreel pretrain videos --out run2 --config run --lr 0.001",
        "unreel pretrain videos --out run3 --method own.py:mine",
        "unreel pretrain --resume run",
    ),
    "sweep": (
        "unreel sweep sweep.yaml --out tables --jobs 4",
        "unreel sweep videos --data labelled --out tables --settings iic simclr --common steps=600 --against iic",
        "unreel sweep tables --show",
    ),
    "methods": ("unreel methods", "unreel methods iic"),
    "new-method": ("unreel new-method tubelet",),
    "evaluate": (
        "unreel evaluate retrieval run labelled",
        "unreel evaluate linear run labelled --json",
        "unreel evaluate all run labelled --out evaluation --threads 4",
        "unreel evaluate finetune run labelled --epochs 20 --device cpu",
    ),
    "compare": (
        "unreel compare evaluation1 evaluation2 --out comparison.html",
        "unreel compare tables/evaluations/simclr-seed0 tables/evaluations/iic-seed0 --against iic --csv",
    ),
    "data check": ("unreel data check UCF101 --split 2",),
    "embed": ("unreel embed run videos --out vectors.parquet", "unreel embed run videos --out store --per clip"),
    "index": ("unreel index run videos --out index --hop-s 1",),
    "search": (
        "unreel search index query.mp4 --from 12 --to 15",
        "unreel search index query.mp4 --label kitchen --csv",
    ),
    "serve": ("unreel serve index --port 8100",),
    "cluster": ("unreel cluster index --count 20",),
    "concept": ("unreel concept index waving --yes 12 80 --no 40 7",),
    "classify train": ("unreel classify train base labelled --out classifier",),
    "classify apply": ("unreel classify apply classifier new-videos --out answers.csv",),
    "apply": ("unreel apply index/concepts/waving.json new-videos",),
    "export": ("unreel export index --to parquet:rows.parquet", "unreel export index --to numpy:vectors"),
    "export-model": ("unreel export-model run --to onnx:encoder.onnx", "unreel export-model run --to hub:encoder"),
    "bench": ("unreel bench", "unreel bench videos --method iic --batch-size 32"),
    "doctor": ("unreel doctor", "unreel doctor --folder /data --json"),
    "report": ("unreel report run",),
    "import": ("unreel import r3d_18.pth --out encoder",),
    "inflate": ("unreel inflate resnet50.safetensors --out encoder",),
    "synth": ("unreel synth motions --classes 4 --videos 20",),
}


def format_examples(command: str) -> str:
    """The examples of a command under a heading; of one with a kind, as `evaluate knn`, those that name the kind.

    >>> print(format_examples("report"))
    examples:
      unreel report run
    """
    words = command.split()
    found = EXAMPLES.get(command) or EXAMPLES.get(words[0], ())
    of_kind = [line for line in found if shlex.split(line)[1 : len(words) + 1] == words]
    return "\n".join(["examples:", *(f"  {line}" for line in of_kind or found)])
