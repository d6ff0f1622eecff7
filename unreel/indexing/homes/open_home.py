"""An index in a database, opened as an `Index`: rows in memory, vectors and nearest neighbours in the database."""

import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from unreel.indexing.homes.address import HomeAddress, parse_address
from unreel.indexing.homes.approximate import Nearest, choose_search
from unreel.indexing.homes.cached_files import fetch_files
from unreel.indexing.homes.content import FORMAT_VERSION, ROWS_PARQUET, slider_ends
from unreel.indexing.homes.home import FILLING_RECORD, Home, HomeChangedError, connect_home
from unreel.indexing.homes.home_concepts import HomeConcepts
from unreel.indexing.homes.home_rows import HomeSearch, HomeVectors
from unreel.indexing.homes.records import read_description
from unreel.indexing.index.approximate.ann_index import ExactRows
from unreel.indexing.index.clip_index import Index, read_rows
from unreel.indexing.index.clip_index import open_index as open_folder
from unreel.indexing.index.score_scale import load_scale
from unreel.indexing.store.embedding_store import read_store_json
from unreel.indexing.store.file_names import PART_WEIGHTS_JSON, SCALE_JSON
from unreel.models.encoder.row_parts import load_parts
from unreel.models.encoder.spec import EncoderSpec

EXPORT_HINT = "write it again: unreel export INDEX --to KIND:PLACE, or unreel index ... --to KIND:PLACE"


def open_index(folder: str | Path, nearest: Nearest | None = None) -> Index:
    """Open an index.

    Args:
        folder: what `unreel index` wrote, or the address of a database that `unreel export` or `unreel index
            --to` filled: lancedb:PATH, qdrant:URL or postgres:URL, each with #TABLE where it isn't "unreel".
        nearest: "exact" compares all rows; "approximate" uses the database's own index, which is made the first time,
            and whose recall is measured; None is what the index was written with.

    Returns:
        The index: rows with path and seconds, and their unit vectors float32 (N, D); as a memory map, or read from the
        database where they are asked for.

    Raises:
        InputError: the index is missing, incomplete or of other rows, or the database does not answer. While an update
            of a folder is not finished, it is as it was before, with a warning.

    >>> opened = unreel.open_index(index)
    >>> opened.vectors_ND.shape[0] == len(opened.rows)
    True
    """
    address = parse_address(folder) if isinstance(folder, str) else None
    if address is not None:
        return open_home(address, nearest)
    index = open_folder(folder)
    return compare_all_rows(index) if nearest == "exact" else index


def compare_all_rows(index: Index) -> Index:
    """An index in a folder whose search compares all rows, however many there are."""
    description = index.ann_index.description
    return replace(index, ann_index=ExactRows(index.vectors_ND, description)) if description.is_approximate else index


def open_home(address: HomeAddress, nearest: Nearest | None = None) -> Index:
    """The index in a database, searched as `open_index` says. Raises InputError."""
    home = connect_home(address)
    try:
        return _open_connected(home, nearest)
    except BaseException:
        home.close()
        raise


def _open_connected(home: Home, nearest: Nearest | None) -> Index:
    description = require_whole(home)
    folder = fetch_files(home, description)
    home.open_index(description)
    metadata = read_store_json(folder)
    rows, fingerprint = read_rows([folder / ROWS_PARQUET])
    if fingerprint != description["fingerprint"] or len(rows) != description["rows"]:
        raise home.fail("half an index, its rows are others than it says", EXPORT_HINT)
    if (count := home.count_rows()) != len(rows):
        raise home.fail(f"half filled: {count} of {len(rows)} rows are in the table '{home.table}'", EXPORT_HINT)
    dim = description["widths"][""]
    if (width := home.read_block(0, 1).shape[1]) != dim:
        raise home.fail(f"vectors of {width} numbers in the table '{home.table}', not of {dim}", EXPORT_HINT)
    try:
        spec = EncoderSpec.from_json(metadata["encoder"])
    except (KeyError, ValueError) as error:
        raise home.fail(f"half an index, its encoder can't be read ({error})", EXPORT_HINT) from error
    parts = load_parts(folder / PART_WEIGHTS_JSON, spec, dim)
    vectors = HomeVectors(home, len(rows), dim)
    weakref.finalize(vectors, home.close)
    exact = HomeSearch(home, len(rows), dim, fingerprint, slider_ends(parts))
    search = choose_search(exact, vectors, parts, description["widths"], nearest)
    return Index(
        folder,
        metadata,
        rows,
        cast(np.ndarray, vectors),  # it offers what is used of an array
        search,
        parts,
        load_scale(folder / SCALE_JSON, fingerprint),
        HomeConcepts(home, str(metadata["encoder_hash"])),
        home.address.name,
    )


def require_whole(home: Home) -> dict[str, Any]:
    """The description of a home's index. Raises InputError where there is none that can be read, HomeChangedError while
    it is being filled."""
    description = read_description(home)
    if home.read_records(FILLING_RECORD):
        raise HomeChangedError(
            f"{home.address}: the table '{home.table}' is being filled, or a filling of it was broken off",
            "ask again when that is done, or write it again",
        )
    if description is None and home.count_rows():
        made = "holds rows of another program, or of an unreel that wrote no descriptions"
        raise home.fail(f"the table '{home.table}' {made}", EXPORT_HINT)
    if description is None:
        raise home.fail(f"no index there in a table '{home.table}'", f"is the address right? Else {EXPORT_HINT}")
    if description.get("unreel_home") != FORMAT_VERSION:
        version = description.get("unreel_home")
        raise home.fail(f"an index of version {version}, this unreel reads {FORMAT_VERSION}", EXPORT_HINT)
    return description
