"""An encoder in MTEB's own evaluation, on tasks made of labelled videos that lie here.

    pip install 'unreel[mteb]'
    python examples/mteb_local.py RUN|base DATA [--num-clips 10]

DATA is a folder of labelled videos in any layout that `unreel data check` knows. Two tasks are made of it: video
classification (training and test videos, a logistic regression on 8 videos of each class, ten draws: MTEB's protocol)
and retrieval of training videos of the same class by test videos. For MVEB itself, whose data come from the hub:
`mteb.evaluate(unreel.MtebModel("RUN"), mteb.get_benchmark("MVEB"))`. Tried with mteb 2.26.24.
"""

import dataclasses
from pathlib import Path
from typing import Any

import mteb
import tyro
from datasets import Dataset, DatasetDict
from mteb.abstasks.classification import AbsTaskClassification
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata

import unreel
from unreel.evaluation.labelled_videos import load_labelled_videos
from unreel.types import Instance


def describe_task(name: str, kind: str, category: str, main_score: str) -> TaskMetadata:
    """What MTEB wants to know of a task; nothing is fetched."""
    return TaskMetadata(
        name=name,
        description="Labelled videos of this machine",
        dataset={"path": "local", "revision": "local"},
        type=kind,
        category=category,
        modalities=["video"],
        eval_splits=["test"],
        eval_langs=["zxx-Zxxx"],
        main_score=main_score,
    )


class LocalClassification(AbsTaskClassification):
    """Classes of videos by a classifier on a few of each."""

    input_column_name, label_column_name = "video", "label"
    metadata = describe_task("LocalVideoClassification", "VideoClassification", "v2c", "accuracy")

    def __init__(self, train: list[Instance], test: list[Instance]) -> None:
        super().__init__()
        names = sorted({video.label for video in train})
        self.dataset = DatasetDict(
            {
                split: Dataset.from_dict(
                    {"video": [v.path for v in videos], "label": [names.index(v.label) for v in videos]}
                )
                for split, videos in (("train", train), ("test", test))
            }
        )
        self.data_loaded = True


class LocalRetrieval(AbsTaskRetrieval):
    """Training videos of the class of a test video."""

    metadata = describe_task("LocalVideoRetrieval", "Any2AnyRetrieval", "v2v", "ndcg_at_10")

    def __init__(self, train: list[Instance], test: list[Instance]) -> None:
        super().__init__()
        corpus, queries = (
            Dataset.from_dict({"id": [f"{kind}{n}" for n in range(len(v))], "video": [one.path for one in v]})
            for kind, v in (("d", train), ("q", test))
        )
        relevant = {
            f"q{n}": {f"d{m}": 1 for m, video in enumerate(train) if video.label == query.label}
            for n, query in enumerate(test)
        }
        split = {"corpus": corpus, "queries": queries, "relevant_docs": relevant, "top_ranked": None}
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


def evaluate(run: str, data: Path, num_clips: int = 10) -> dict[str, dict[str, Any]]:
    """The scores of both tasks, by name."""
    videos, model = load_labelled_videos(data), unreel.MtebModel(run, num_clips=num_clips)
    tasks = [LocalClassification(videos.train, videos.test), LocalRetrieval(videos.train, videos.test)]
    results = mteb.evaluate(model, tasks, cache=None)
    return {result.task_name: result.scores["test"][0] for result in results.task_results}


@dataclasses.dataclass
class Args:
    """What to evaluate, and on what."""

    run: tyro.conf.Positional[str]
    data: tyro.conf.Positional[Path]
    num_clips: int = 10


if __name__ == "__main__":
    args = tyro.cli(Args)
    for name, scores in evaluate(args.run, args.data, args.num_clips).items():
        print(
            name,
            {
                k: round(100 * scores[k], 1)
                for k in ("accuracy", "f1", "ndcg_at_10", "hit_rate_at_1", "map_at_10")
                if k in scores
            },
        )
