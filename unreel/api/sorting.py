"""An index sorted: clusters with what they look like, concepts that go on from mark to mark, and new footage."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from unreel.errors import DiskError
from unreel.report.clusters_page import ClusterCard, ClusterPage, dots, next_words, write_page
from unreel.report.moments import Moment, embedded, write_moments
from unreel.report.neighbours import Tile, strip_of, tile
from unreel.search.clusters import ClusterOptions
from unreel.search.index import Index, open_index
from unreel.search.sorting import Sorted, sort, write_tables
from unreel.video.processes import Ended, alone
from unreel.video.summary import shown

EXAMPLES, SHOWN_ODD, SHOWN_DOUBLES = 9, 12, 12
MOST_CARDS = 60
Advance = Callable[[int, int], None]


def cluster_index(
    index: str | Path | Index,
    out: str | Path,
    options: ClusterOptions | None = None,
    how: str = "pca",
    above: float | None = None,
    on_progress: Advance = lambda _done, _total: None,
) -> Sorted:
    """Cluster an index into the folder `out`: tables, contact sheets, previews and report.html. Raises UnreelError."""
    index, out = index if isinstance(index, Index) else open_index(index), Path(out)
    found = sort(index, options, how, above)
    pictures = out / "clusters"
    try:
        pictures.mkdir(parents=True, exist_ok=True)
        for old in [*pictures.glob("[0-9]*.mp4"), *pictures.glob("[0-9]*.jpg")]:
            old.unlink()
    except OSError as error:
        raise DiskError(f"{out}: nothing can be written there ({error.strerror})") from error
    write_tables(found, out)
    count = min(found.clusters.count, MOST_CARDS)
    for number in range(count):
        write_moments([moment(index, row) for row in found.examples(number, EXAMPLES)], pictures / str(number))
        on_progress(number + 1, count)
    write_page(page(found, pictures), out / "report.html")
    return found


def moment(index: Index, row: int) -> Moment:
    return Moment(index.rows.path(row), float(index.rows.start_s[row]), float(index.rows.end_s[row]))


def page(found: Sorted, pictures: Path) -> ClusterPage:
    """What the page shows of clusters whose pictures are made."""
    index, clusters, moves_CC = found.index, found.clusters, found.moves_CC
    numbers = range(min(clusters.count, MOST_CARDS))
    cards = [card(found, number, next_words(number, moves_CC), pictures) for number in numbers]
    rows = index.rows
    titles = [f"{Path(rows.path(n)).name} from {rows.start_s[n]:.1f} s" for n in range(len(rows))]
    notes = []
    if clusters.count > MOST_CARDS:
        notes.append(f"The {MOST_CARDS} largest of {clusters.count} clusters are shown; segments.csv has all.")
    if missing := sum(not made.preview for made in cards):
        notes.append(f"{missing} clusters have no picture: their files can't be read any more; index the folder again.")
    return ClusterPage(
        name=index.folder.resolve().name,
        said=clusters.said,
        facts=facts(found),
        cards=cards,
        map=dots(found.place_N2, clusters.number_N, titles),
        odd=[picture(index, row, float(found.odd_N[row])) for row in found.oddest(SHOWN_ODD)],
        doubles=[
            (picture(index, d.row, d.score), picture(index, d.other, d.score), d.pairs)
            for d in found.doubles[:SHOWN_DOUBLES]
        ],
        notes=notes,
    )


def facts(found: Sorted) -> list[tuple[str, str, str]]:
    none = int((found.clusters.number_N < 0).sum())
    what = [
        (str(found.clusters.count), "clusters", f"{none} clips belong to none" if none else "every clip is in one"),
        (f"{len(found.index.rows):,}", "clips", f"of {len(found.index.rows.paths):,} videos"),
        (str(len(found.doubles)), "doubles", "pairs of videos that show almost the same"),
    ]
    return what


def card(found: Sorted, number: int, following: str, pictures: Path) -> ClusterCard:
    row_n = np.flatnonzero(found.clusters.number_N == number)
    sheet, preview = (embedded(pictures / f"{number}.{kind}") for kind in ("jpg", "mp4"))
    videos, share = len(np.unique(found.index.rows.path_N[row_n])), len(row_n) / len(found.index.rows)
    return ClusterCard(number, len(row_n), videos, share, following, sheet, preview)


def picture(index: Index, row: int, score: float) -> Tile:
    """A strip of frames of a row, with its score."""
    path, start_s, end_s = moment(index, row)
    where = {"path": path, "start_s": start_s, "end_s": end_s}
    frames = alone(strip_of, where)
    made = tile(where, "", [] if isinstance(frames, Ended) else frames)
    made.name, made.score = f"{shown(Path(path).name)} at {int(start_s) // 60}:{start_s % 60:04.1f}", score
    return made
