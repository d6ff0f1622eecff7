"""How much looks should count beside motion: R@1 and mAP for shares of an image model, on training videos alone.

    python benchmarks/appearance_weight.py ENCODER [ENCODER ...] --data DATA [DATA ...]

Choices must not be made on test videos, so the training list of each DATA is split by recordings into queries and a
gallery: in five ways, or where there are fewer than 12 recordings, each in turn (Weizmann's are its people). Both
cosines are divided by their spread over all pairs, that of looks without its mean, as in an index
(unreel/models/encoder/row_parts.py). The last column
is the share that an index would choose without labels.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import tyro
from readout import QUERY_SHARE

from unreel.embedding import load_encoder
from unreel.evaluation.baselines.appearance import build_appearance_extractor
from unreel.evaluation.feature_extraction import build_encoder_extractor, extract_features
from unreel.evaluation.labelled_videos import load_labelled_videos
from unreel.evaluation.metrics.cosine_ranking import QueryGallery, compute_average_precisions, rank_first_correct
from unreel.evaluation.validation_split import choose_validation_groups
from unreel.evaluation.video_features import ENCODER, FeatureKey
from unreel.models.encoder.row_parts import RowParts, measure_weights, scale_parts
from unreel.models.encoder.spec import APPEARANCE
from unreel.types import Instance

SHARES, NUM_SPLITS, FEW_RECORDINGS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0), 5, 12


@dataclasses.dataclass(frozen=True)
class Args:
    """Encoders, labelled sets, and the image model."""

    encoders: tyro.conf.Positional[tuple[Path, ...]]
    data: tuple[Path, ...]
    model: str = "efficientnet-lite2"
    num_clips: int = 10
    threads: int = 1


def split_queries(instances: Sequence[Instance]) -> Iterator[np.ndarray]:
    """Masks (N,) of queries."""
    groups = np.array([instance.group or instance.path for instance in instances])
    if len(set(groups)) < FEW_RECORDINGS:
        yield from (groups == group for group in sorted(set(groups)))
    else:
        yield from (choose_validation_groups(instances, QUERY_SHARE, seed) for seed in range(NUM_SPLITS))


def score_share(parts: RowParts, share: float, joined_ND: np.ndarray, instances: Sequence[Instance]) -> str:
    """R@1 and mAP of rows as an index has them for this share of looks, mean over the splits."""
    length_P = np.sqrt(parts.weigh(1 - share))
    rows_ND = scale_parts(parts.split(parts.set_lengths(joined_ND)), length_P)
    labels, figures = np.array([instance.label for instance in instances]), []
    for is_query_N in split_queries(instances):
        vectors = QueryGallery(rows_ND[is_query_N], rows_ND[~is_query_N])
        pair = labels[is_query_N].tolist(), labels[~is_query_N].tolist()
        first = 100 * float((rank_first_correct(vectors, *pair) == 0).mean())
        figures.append((first, 100 * float(compute_average_precisions(vectors, *pair).mean())))
    return "{:.1f} / {:.1f}".format(*np.mean(figures, axis=0))


def measure(encoder_path: Path, data: Path, args: Args) -> list[str]:
    """A row of the table."""
    encoder, train = load_encoder(encoder_path), list(load_labelled_videos(data).train)
    extractors = [build_encoder_extractor(encoder, layers=("pooled",))]
    extractors.append(build_appearance_extractor(args.model, encoder.spec, "cpu"))
    features = extract_features(train, encoder.spec, extractors, args.num_clips)
    own, looks = FeatureKey(ENCODER, "pooled"), features.vectors[FeatureKey(APPEARANCE, "pooled")]
    parts = [*(features.get_view(own, name) for name in features.columns[own]), looks]
    equal = RowParts.make_equal((*features.columns[own], APPEARANCE), [part.shape[1] for part in parts])
    weighted = measure_weights(equal, parts, np.arange(len(looks)))
    joined_ND = np.concatenate(parts, axis=1)
    cells = [score_share(weighted, share, joined_ND, features.instances) for share in SHARES]
    return [f"{encoder_path.name}, {data.name}", *cells, f"{1 - weighted.motion_weight:.2f}"]


def main(args: Args) -> None:
    torch.set_num_threads(args.threads)
    header = ["encoder, set; R@1 / mAP, percent", *(f"{share:.1f}" for share in SHARES), "share chosen"]
    print(f"| {' | '.join(header)} |\n{'|---' * len(header)}|")
    for data in args.data:
        for encoder in args.encoders:
            print(f"| {' | '.join(measure(encoder, data, args))} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
