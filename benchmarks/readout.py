"""Which features of an encoder to compare: layer, centring, weight of its views. R@1 and mAP in Markdown.

    python benchmarks/readout.py RUN [RUN ...] --data DATA [--splits 5]

Choices must not be made on test videos, so the training list of DATA is split by recordings into queries (35 %) and a
gallery, several times; figures are means over the splits, of the mean of 10 clips. `joint` has all views side by side
as they are, `equal` each of unit length first (after centring, if it is centred); `embed` and `index` do the latter
without centring.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
import tyro

from unreel.embedding import load_encoder
from unreel.evaluation.feature_extraction import build_encoder_extractor, extract_features
from unreel.evaluation.labelled_videos import load_labelled_videos
from unreel.evaluation.metrics.cosine_ranking import QueryGallery, compute_average_precisions, rank_first_correct
from unreel.evaluation.validation_split import choose_validation_groups
from unreel.evaluation.video_features import ENCODER, FeatureKey, VideoFeatures

LAYERS, CENTRINGS, QUERY_SHARE = ("pooled", "conv5"), ("none", "gallery"), 0.35


@dataclass(frozen=True)
class Args:
    """Encoders, and the labelled set."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    data: Path
    splits: int = 5
    num_clips: int = 10
    threads: int = 1


def unit(rows_ND: np.ndarray) -> np.ndarray:
    return rows_ND / np.maximum(np.linalg.norm(rows_ND, axis=1, keepdims=True), 1e-12)


def list_readouts(features: VideoFeatures, layer: str, centre_N: np.ndarray | None) -> Iterator[tuple[str, np.ndarray]]:
    """Vectors (N, D) by name: each view, all as they are, all with equal weight; the mean of rows `centre_N` is taken
    off."""
    key = FeatureKey(ENCODER, layer)
    whole_ND = features.vectors[key].astype(np.float64)
    if centre_N is not None:
        whole_ND = whole_ND - whole_ND[centre_N].mean(axis=0)
    views = {name: whole_ND[:, columns] for name, columns in features.columns[key].items()}
    yield from views.items()
    if len(views) > 1:
        yield "joint", whole_ND
        yield "equal", np.concatenate([unit(rows_ND) for rows_ND in views.values()], axis=1)


def score(vectors_ND: np.ndarray, is_query_N: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """R@1 and mAP of the queries among all others, percent."""
    pair = QueryGallery(vectors_ND[is_query_N], vectors_ND[~is_query_N])
    names = labels[is_query_N].tolist(), labels[~is_query_N].tolist()
    r1 = 100.0 * float((rank_first_correct(pair, *names) == 0).mean())
    return r1, 100.0 * float(np.mean(compute_average_precisions(pair, *names)))


def measure(
    features: VideoFeatures, num_splits: int, layers: Sequence[str] = LAYERS
) -> dict[tuple[str, str, str], np.ndarray]:
    """R@1 and mAP (splits, 2) by readout, layer and centring."""
    labels, scores = np.asarray(features.labels), dict[tuple[str, str, str], list[tuple[float, float]]]()
    for seed, layer, centring in product(range(num_splits), layers, CENTRINGS):
        is_query_N = choose_validation_groups(features.instances, QUERY_SHARE, seed)
        for name, vectors_ND in list_readouts(features, layer, ~is_query_N if centring == "gallery" else None):
            scores.setdefault((name, layer, centring), []).append(score(vectors_ND, is_query_N, labels))
    return {readout: np.array(rows) for readout, rows in scores.items()}


def main(args: Args) -> None:
    torch.set_num_threads(args.threads)
    videos = load_labelled_videos(args.data)
    headings = [f"{layer}, centred: {centring}" for layer, centring in product(LAYERS, CENTRINGS)]
    print(f"R@1 / mAP in the training list of {videos.name}, {args.splits} splits\n")
    print(f"| run, features | {' | '.join(headings)} |\n|{'---|' * (len(headings) + 1)}")
    for run in args.runs:
        encoder = load_encoder(run)
        extractor = build_encoder_extractor(encoder, layers=LAYERS)
        features = extract_features(videos.train, encoder.spec, [extractor], args.num_clips, workers=1)
        means = {readout: rows.mean(axis=0) for readout, rows in measure(features, args.splits).items()}
        for name in dict.fromkeys(name for name, _, _ in means):
            cells = ["{:.1f} / {:.1f}".format(*means[name, *column]) for column in product(LAYERS, CENTRINGS)]
            print(f"| {run.name}, {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
