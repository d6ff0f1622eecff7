"""The page of `unreel cluster`: cards of clusters with their previews, a map, outliers and near-duplicates."""

from dataclasses import asdict
from pathlib import Path

from unreel.indexing.clustering.cluster_report import ClusterReport
from unreel.indexing.index.clip_index import Index
from unreel.io.limits import WorkerFailure
from unreel.io.text import format_clock, format_count, format_path
from unreel.io.worker_pool import run_isolated
from unreel.report.gallery import Tile, build_tile, read_tile_frames
from unreel.report.pages.clusters_page import ClusterCard, ClusterPage, describe_transitions, draw_map
from unreel.report.previews import encode_data_uri

NUM_OUTLIERS_SHOWN, NUM_DUPLICATES_SHOWN, MAX_CARDS = 12, 12, 60


def build_page(report: ClusterReport, preview_folder: Path) -> ClusterPage:
    """The content of the page, once the previews are in `preview_folder`."""
    index, clusters, rows = report.index, report.clusters, report.index.rows
    count_CC = report.transition_CC
    cards = [
        build_card(report, number, describe_transitions(number, count_CC), preview_folder)
        for number in range(min(clusters.num_clusters, MAX_CARDS))
    ]
    titles = [f"{Path(rows.get_path(n)).name} from {rows.start_s[n]:.1f} s" for n in range(len(rows))]
    return ClusterPage(
        name=index.title,
        description=clusters.description,
        facts=build_facts(report),
        cards=cards,
        map_svg=draw_map(report.xy_N2, clusters.cluster_N, titles),
        outliers=[
            build_row_tile(index, row, float(report.outlier_score_N[row]))
            for row in report.find_outliers(NUM_OUTLIERS_SHOWN)
        ],
        duplicates=[
            (
                build_row_tile(index, pair.row, pair.score),
                build_row_tile(index, pair.other_row, pair.score),
                pair.num_pairs,
            )
            for pair in report.duplicates[:NUM_DUPLICATES_SHOWN]
        ],
        notes=build_notes(clusters.num_clusters, cards),
    )


def build_notes(num_clusters: int, cards: list[ClusterCard]) -> list[str]:
    notes = []
    if num_clusters > MAX_CARDS:
        notes.append(f"The {MAX_CARDS} largest of {num_clusters} clusters are shown; segments.csv has all.")
    if num_missing := sum(not card.preview for card in cards):
        notes.append(
            f"{num_missing} clusters have no picture: their files can't be read any more; index the folder again."
        )
    return notes


def build_facts(report: ClusterReport) -> list[tuple[str, str, str]]:
    """(number, unit, explanation) of each fact at the top of the page."""
    num_unclustered = int((report.clusters.cluster_N < 0).sum())
    unclustered = f"{format_count(num_unclustered, 'clip')} in none" if num_unclustered else "every clip is in one"
    return [
        (str(report.clusters.num_clusters), "clusters", unclustered),
        (f"{len(report.index.rows):,}", "clips", f"of {format_count(len(report.index.rows.paths), 'video')}"),
        (str(len(report.duplicates)), "doubles", "pairs of videos that show almost the same"),
    ]


def build_card(report: ClusterReport, number: int, next_clusters: str, preview_folder: Path) -> ClusterCard:
    size = report.measure_cluster(number)
    sheet, preview = (encode_data_uri(preview_folder / f"{number}.{suffix}") for suffix in ("jpg", "mp4"))
    return ClusterCard(number, size.num_clips, size.num_videos, size.share, next_clusters, sheet, preview)


def build_row_tile(index: Index, row: int, score: float) -> Tile:
    """A strip of frames of a row, with its score."""
    moment = index.rows.get_moment(row)
    segment = asdict(moment)
    frames = run_isolated(read_tile_frames, segment)
    tile = build_tile(segment, "", [] if isinstance(frames, WorkerFailure) else frames)
    tile.name, tile.score = f"{format_path(Path(moment.path).name)} at {format_clock(moment.start_s)}", score
    return tile
