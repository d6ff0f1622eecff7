"""OUT/report.html of `unreel cluster`: previews of each cluster, transitions, outliers and duplicates."""

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from markupsafe import Markup

from unreel.report.gallery import Tile
from unreel.report.html_writer import write_html

MAX_DOTS = 3000  # of the map, evenly spread over all rows
MAX_SUCCESSORS = 3  # clusters that are named as next


@dataclass(frozen=True)
class ClusterCard:
    """A cluster as the page shows it; `sheet` and `preview` are data URIs, empty where no file can be read."""

    number: int
    num_clips: int
    num_videos: int
    share: float
    successors: str
    contact_sheet: str
    preview: str


@dataclass(frozen=True)
class ClusterPage:
    """Everything the template shows."""

    name: str
    description: str
    facts: list[tuple[str, str, str]]
    cards: list[ClusterCard]
    map_svg: str
    outliers: list[Tile] = field(default_factory=list)
    duplicates: list[tuple[Tile, Tile, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def write_clusters_page(page: ClusterPage, path: Path) -> Path:
    """Write the page of the clusters, whole or not at all. Raises DiskError."""
    return write_html("clusters.html", {"page": page, "map": Markup(page.map_svg), "colour": choose_colour}, path)


def choose_colour(number: int) -> str:
    """A hue for each cluster; successive numbers are a golden angle apart, so that they differ clearly."""
    return f"hsl({number * 137.508 % 360:.0f} 62% 52%)" if number >= 0 else "var(--line)"


def draw_map(place_N2: np.ndarray, number_N: np.ndarray, titles: Sequence[str]) -> str:
    """The map as SVG: a dot with a tooltip for each of at most MAX_DOTS rows."""
    shown = np.unique(np.linspace(0, len(place_N2) - 1, min(MAX_DOTS, len(place_N2))).round().astype(int))
    drawn = [
        f'<circle cx="{place_N2[n, 0] * 100:.1f}" cy="{-place_N2[n, 1] * 100:.1f}" r="0.6" '
        f'fill="{choose_colour(int(number_N[n]))}"><title>{html.escape(titles[n])}</title></circle>'
        for n in shown
    ]
    low_2, high_2 = (place_N2 * (100, -100)).min(axis=0) - 3, (place_N2 * (100, -100)).max(axis=0) + 3
    box = " ".join(f"{value:.1f}" for value in (*low_2, *(high_2 - low_2)))
    return f'<svg viewBox="{box}" role="img" aria-label="map of the clips">{"".join(drawn)}</svg>'


def describe_transitions(number: int, transitions_CC: np.ndarray) -> str:
    """Which clusters follow this one, apart from itself, in words."""
    counts_C = transitions_CC[number].copy()
    counts_C[number] = 0
    order = [int(c) for c in np.argsort(-counts_C, kind="stable")[:MAX_SUCCESSORS] if counts_C[c]]
    return ", ".join(f"{c} ({counts_C[c]} times)" for c in order)
