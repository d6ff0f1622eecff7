"""Precision at 10 of a search with one clip per class: trained encoders, the untrained network, frame difference.

    python benchmarks/precision.py DATA --runs RUN ... [--draws 3] [--workers 1]

DATA is a labelled set with lists. All its videos are indexed as by `unreel index`, with clips that slide by half a
clip, and searched as by `unreel search`. A query is a random row of the test videos of a class. The best clip of a
video counts, so ten hits are ten videos. The video of the query is left out, or its whole group (clips of one
recording), which is stricter. All encoders index the same rows and get the same queries.
"""

import dataclasses
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tyro

from unreel.embedding import join_views, load_encoder
from unreel.errors import InputError
from unreel.evaluation.baselines.trivial_baselines import FRAME_DIFFERENCE, build_difference_extractor
from unreel.evaluation.baselines.untrained_encoder import UNTRAINED_ENCODER, build_untrained_encoder
from unreel.evaluation.feature_extraction import FeatureExtractor, build_encoder_extractor
from unreel.evaluation.labelled_videos import load_labelled_videos
from unreel.indexing.index.approximate.ann_index import AnnIndex
from unreel.indexing.index.row_table import RowTable, encode_names
from unreel.indexing.search.results import HitOptions, search_by_vector
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Instance
from unreel.video.loading.loaders import build_sequential_loader
from unreel.video.loading.sliding_clips import CHUNK_CLIPS, SlidingClipDataset

K = 10


@dataclasses.dataclass
class Args:
    """What to index, and the encoders."""

    data: tyro.conf.Positional[Path]
    runs: tuple[Path, ...]
    draws: int = 3
    workers: int = 1


def load_extractors(runs: tuple[Path, ...]) -> tuple[EncoderSpec, dict[str, FeatureExtractor]]:
    """Feature extractors by name. The encoders must have been trained on clips of one kind. Raises InputError."""
    encoders = {run.name: load_encoder(run) for run in runs}
    first = next(iter(encoders.values()))
    if any((e.spec.clip, e.spec.views.size) != (first.spec.clip, first.spec.views.size) for e in encoders.values()):
        raise InputError("these runs were trained on different clips, so they can't index the same rows")
    extractors = {name: build_encoder_extractor(encoder) for name, encoder in encoders.items()}
    extractors[UNTRAINED_ENCODER] = build_encoder_extractor(build_untrained_encoder(first), UNTRAINED_ENCODER)
    return first.spec, extractors | {FRAME_DIFFERENCE: build_difference_extractor(first.spec)}


def iterate_clips(
    videos: list[Instance], spec: EncoderSpec, workers: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Number, frames and seconds of all clips of each video. Raises InputError for a video of more than one chunk."""
    sliding = SlidingClipDataset([(video, 0) for video in videos], spec.clip, spec.views.resize_hw, 0.0)
    for sample in build_sequential_loader(sliding, workers):
        if sample.frames is None or sample.spans_s is None or len(sample.spans_s) > CHUNK_CLIPS:
            raise InputError(f"{videos[sample.index].path}: can't be read, or has more than {CHUNK_CLIPS} clips")
        yield sample.index, np.asarray(sample.frames), np.asarray(sample.spans_s)


def build_row_table(videos: list[Instance], spans: list[np.ndarray]) -> RowTable:
    instances = [video for video, spans_K2 in zip(videos, spans, strict=True) for _ in spans_K2]
    paths, span_N2 = [video.path for video in instances], np.concatenate(spans)
    return RowTable.from_columns(paths, [video.label for video in instances], paths, span_N2[:, 0], span_N2[:, 1])


def compute_precision(vectors_ND: np.ndarray, rows: RowTable, queries: list[int], excluded_N: np.ndarray) -> float:
    """Mean share of the ten best videos that are of the query's class, in percent; rows with the number of the query in
    `excluded_N` are left out."""
    nearest, shares = AnnIndex.build(vectors_ND), []
    for query in queries:
        allowed_N = excluded_N != excluded_N[query]
        options = HitOptions(K, gap_s=1e9)
        hits = search_by_vector(nearest, rows, vectors_ND[query], options, allowed_N, lambda row_n: vectors_ND[row_n])
        shares.append(np.mean([rows.label_N[hit.rows[0]] == rows.label_N[query] for hit in hits]))
    return 100 * float(np.mean(shares))


def draw_queries(rows: RowTable, test: set[str], draw: int) -> list[int]:
    """One row of a test video for each class."""
    rng, is_test_P = np.random.default_rng(draw), np.array([path in test for path in rows.paths])
    rows_per_class = [
        np.flatnonzero((rows.label_N == label) & is_test_P[rows.path_N]) for label in range(len(rows.labels))
    ]
    return [int(rng.choice(of_class)) for of_class in rows_per_class]


def compute_chance(rows: RowTable, queries: list[int], excluded_N: np.ndarray) -> float:
    """Mean share of the query's class among the videos that are not left out, in percent."""
    shares = []
    for query in queries:
        videos, first = np.unique(rows.path_N[excluded_N != excluded_N[query]], return_index=True)
        labels = rows.label_N[excluded_N != excluded_N[query]][first]
        shares.append((labels == rows.label_N[query]).sum() / len(videos))
    return 100 * float(np.mean(shares))


def number_groups(videos: list[Instance], rows: RowTable) -> np.ndarray:
    """Number of the group of each row, int64 (N,)."""
    group_of = {video.path: video.group or video.path for video in videos}
    return encode_names([group_of[path] for path in rows.paths])[0][rows.path_N]


def main(args: Args) -> None:
    labelled = load_labelled_videos(args.data)
    videos, (spec, extractors) = [*labelled.train, *labelled.test], load_extractors(args.runs)
    vectors: dict[str, list[np.ndarray]] = {name: [] for name in extractors}
    spans: list[np.ndarray] = []
    for number, frames, spans_K2 in iterate_clips(videos, spec, args.workers):
        spans.append(spans_K2)
        for name, source in extractors.items():
            vectors[name].append(join_views(next(iter(source(frames, number).values()))))
    rows = build_row_table(videos, spans)
    kinds = (rows.path_N, number_groups(videos, rows))
    test = {video.path for video in labelled.test}
    queries = [draw_queries(rows, test, draw) for draw in range(args.draws)]
    print(
        f"{labelled.name}: {len(rows)} clips of {len(videos)} videos in {kinds[1].max() + 1} groups; {K} best videos,"
    )
    print(
        f"a query for each of {len(rows.labels)} classes, {args.draws} draws of them: mean (lowest to highest draw)\n"
    )
    print("| rows by | own video left out | own group left out |\n|---|---|---|")
    print(
        format_row(
            "chance", [[compute_chance(rows, row_queries, kind_N) for row_queries in queries] for kind_N in kinds]
        )
    )
    for name, parts in vectors.items():
        vectors_ND = np.concatenate(parts).astype(np.float32)
        print(
            format_row(
                name,
                [
                    [compute_precision(vectors_ND, rows, row_queries, kind_N) for row_queries in queries]
                    for kind_N in kinds
                ],
            )
        )


def format_row(name: str, cells: list[list[float]]) -> str:
    texts = [f"{statistics.mean(cell):.1f} ({min(cell):.1f} to {max(cell):.1f})" for cell in cells]
    return f"| {name} | {' | '.join(texts)} |"


if __name__ == "__main__":
    main(tyro.cli(Args))
