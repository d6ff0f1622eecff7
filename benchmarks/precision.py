"""Precision at 10 of a search with one clip per class: trained encoders, the untrained network, frame difference.

    python benchmarks/precision.py DATA --runs RUN ... [--draws 3] [--workers 1]

DATA is a labelled set with lists. All its videos are indexed as `unreel index` does, clips sliding by half a clip, and
searched as `unreel search` does. A query is a row drawn from a class's test videos; the best clip of a video speaks for
it, so ten hits are ten videos. Left out are the query's own video, or all of its group (clips cut of one recording),
which is the stricter figure. Everybody sees the same clips, indexes the same rows and gets the same queries.
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
from unreel.indexing.index.ann_index import AnnIndex
from unreel.indexing.index.row_table import RowTable, encode_names
from unreel.indexing.search.results import HitOptions, search_by_vector
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Instance
from unreel.video.loading.loaders import build_sequential_loader
from unreel.video.loading.sliding_clips import CHUNK_CLIPS, SlidingClipDataset

K = 10


@dataclasses.dataclass
class Args:
    """What to index and who asks."""

    data: tyro.conf.Positional[Path]
    runs: tuple[Path, ...]
    draws: int = 3
    workers: int = 1


def sources(runs: tuple[Path, ...]) -> tuple[EncoderSpec, dict[str, FeatureExtractor]]:
    """Everybody who looks at the clips, by name; the encoders must have been trained on clips of one kind."""
    encoders = {run.name: load_encoder(run) for run in runs}
    first = next(iter(encoders.values()))
    if any((e.spec.clip, e.spec.views.size) != (first.spec.clip, first.spec.views.size) for e in encoders.values()):
        raise InputError("these runs were trained on different clips, so they can't index the same rows")
    found = {name: build_encoder_extractor(encoder) for name, encoder in encoders.items()}
    found[UNTRAINED_ENCODER] = build_encoder_extractor(build_untrained_encoder(first), UNTRAINED_ENCODER)
    return first.spec, found | {FRAME_DIFFERENCE: build_difference_extractor(first.spec)}


def clips(videos: list[Instance], spec: EncoderSpec, workers: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Number, frames and seconds of all clips of each video, which has to be short enough for one chunk."""
    sliding = SlidingClipDataset([(video, 0) for video in videos], spec.clip, spec.views.resize_hw, 0.0)
    for sample in build_sequential_loader(sliding, workers):
        if sample.frames is None or sample.spans_s is None or len(sample.spans_s) > CHUNK_CLIPS:
            raise InputError(f"{videos[sample.index].path}: can't be read, or has more than {CHUNK_CLIPS} clips")
        yield sample.index, np.asarray(sample.frames), np.asarray(sample.spans_s)


def rows_of(videos: list[Instance], spans: list[np.ndarray]) -> RowTable:
    who = [video for video, spans_K2 in zip(videos, spans, strict=True) for _ in spans_K2]
    paths, span_N2 = [video.path for video in who], np.concatenate(spans)
    return RowTable.from_columns(paths, [video.label for video in who], paths, span_N2[:, 0], span_N2[:, 1])


def precision(vectors_ND: np.ndarray, rows: RowTable, queries: list[int], left_out_N: np.ndarray) -> float:
    """Mean share of the ten best videos that are of the query's class, in percent; `left_out_N` numbers what shares."""
    nearest, shares = AnnIndex.build(vectors_ND), []
    for query in queries:
        allowed_N = left_out_N != left_out_N[query]
        options = HitOptions(K, gap_s=1e9)
        hits = search_by_vector(nearest, rows, vectors_ND[query], options, allowed_N, lambda row_n: vectors_ND[row_n])
        shares.append(np.mean([rows.label_N[hit.rows[0]] == rows.label_N[query] for hit in hits]))
    return 100 * float(np.mean(shares))


def drawn(rows: RowTable, test: set[str], draw: int) -> list[int]:
    """One row of a test video for each class."""
    rng, is_test_P = np.random.default_rng(draw), np.array([path in test for path in rows.paths])
    asked = [np.flatnonzero((rows.label_N == label) & is_test_P[rows.path_N]) for label in range(len(rows.labels))]
    return [int(rng.choice(of_class)) for of_class in asked]


def chance(rows: RowTable, queries: list[int], left_out_N: np.ndarray) -> float:
    """Mean share of the query's class among the videos that may be found, in percent."""
    shares = []
    for query in queries:
        videos, first = np.unique(rows.path_N[left_out_N != left_out_N[query]], return_index=True)
        labels = rows.label_N[left_out_N != left_out_N[query]][first]
        shares.append((labels == rows.label_N[query]).sum() / len(videos))
    return 100 * float(np.mean(shares))


def grouped(videos: list[Instance], rows: RowTable) -> np.ndarray:
    """Number of the group of each row, int64 (N,)."""
    group_of = {video.path: video.group or video.path for video in videos}
    return encode_names([group_of[path] for path in rows.paths])[0][rows.path_N]


def main(args: Args) -> None:
    both = load_labelled_videos(args.data)
    videos, (spec, looking) = [*both.train, *both.test], sources(args.runs)
    found: dict[str, list[np.ndarray]] = {name: [] for name in looking}
    spans: list[np.ndarray] = []
    for number, frames, spans_K2 in clips(videos, spec, args.workers):
        spans.append(spans_K2)
        for name, source in looking.items():
            found[name].append(join_views(next(iter(source(frames, number).values()))))
    rows = rows_of(videos, spans)
    kinds = (rows.path_N, grouped(videos, rows))
    test = {video.path for video in both.test}
    queries = [drawn(rows, test, draw) for draw in range(args.draws)]
    print(f"{both.name}: {len(rows)} clips of {len(videos)} videos in {kinds[1].max() + 1} groups; {K} best videos,")
    print(
        f"a query for each of {len(rows.labels)} classes, {args.draws} draws of them: mean (lowest to highest draw)\n"
    )
    print("| rows by | own video left out | own group left out |\n|---|---|---|")
    print(line("chance", [[chance(rows, asked, kind_N) for asked in queries] for kind_N in kinds]))
    for name, parts in found.items():
        vectors_ND = np.concatenate(parts).astype(np.float32)
        print(line(name, [[precision(vectors_ND, rows, asked, kind_N) for asked in queries] for kind_N in kinds]))


def line(name: str, cells: list[list[float]]) -> str:
    words = [f"{statistics.mean(cell):.1f} ({min(cell):.1f} to {max(cell):.1f})" for cell in cells]
    return f"| {name} | {' | '.join(words)} |"


if __name__ == "__main__":
    main(tyro.cli(Args))
