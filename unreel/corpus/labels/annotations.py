"""The annotation files of Kinetics, Something-Something V2 and Diving48, from the user's own download.

Their videos are found by name wherever they lie below the folder, in any container.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unreel.corpus.discovery import VideoFinder
from unreel.corpus.labels.listed_dataset import DatasetRequest, ListedDataset
from unreel.corpus.lists import VideoEntry, read_json, read_table
from unreel.errors import InputError
from unreel.io.text import format_count, preview_items

KINETICS_STEMS = {"train": ("train",), "validation": ("validate", "val", "validation"), "test": ("test",)}
SSV2_PREFIX = "something-something-v2-"


def is_kinetics_csv(path: Path) -> bool:
    """Whether the header has a column youtube_id; False for a file that can't be read, which its reader reports."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return "youtube_id" in file.readline().lower()
    except OSError:
        return False


def find_kinetics_list(request: DatasetRequest, subset: str) -> Path | None:
    """The official CSV of a part, which may also be named kinetics_train.csv and the like."""
    for folder in request.list_folders:
        for name in KINETICS_STEMS[subset]:
            paths = [folder / f"{name}.csv", *sorted(folder.glob(f"[Kk]inetics*[-_]{name}.csv"))]
            for path in paths:
                if path.is_file() and is_kinetics_csv(path):
                    return path
    return None


def read_kinetics(request: DatasetRequest) -> ListedDataset:
    """Kinetics-400, -600 or -700, tested on the validation list, as papers do. Source: Kay et al. 2017."""
    paths = {subset: find_kinetics_list(request, subset) for subset in KINETICS_STEMS}
    folder, has_validation = request.list_folder, paths["validation"] is not None
    test = paths["validation"] or paths["test"]
    train = _require_list(paths["train"], f"{folder}: no training list; Kinetics has train.csv")
    test = _require_list(test, f"{folder}: no test list; Kinetics is tested on validate.csv (or val.csv)")
    finder = VideoFinder(request.data)
    entries = {
        "train": _read_kinetics_rows(train, finder, KINETICS_STEMS["train"]),
        "test": _read_kinetics_rows(test, finder, KINETICS_STEMS["validation" if has_validation else "test"]),
    }
    notes = [f"tested on {test.name}, the validation list, as is usual"] if has_validation else []
    if has_validation and paths["test"]:
        notes.append(f"{paths['test'].name} is not used: its labels are withheld, or results are not reported on it")
    sources = {"train": str(train), "test": str(test)}
    return ListedDataset("Kinetics", request.data, entries, sources, notes, allows_missing_videos=True)


def _read_kinetics_rows(path: Path, finder: VideoFinder, preferred_folders: Sequence[str]) -> list[VideoEntry]:
    (_, header), *rows = read_table(path)
    columns = [name.lower() for name in header]
    missing = [name for name in ("label", "youtube_id", "time_start", "time_end") if name not in columns]
    if missing:
        raise InputError(f"{path}, line 1: no column {', '.join(missing)}; evaluation needs labels")
    entries = []
    for line, cells in rows:
        row = dict(zip(columns, cells, strict=False))
        try:
            label, name = row["label"], row["youtube_id"]
            span = f"{int(float(row['time_start'])):06d}_{int(float(row['time_end'])):06d}"
        except (KeyError, ValueError, OverflowError) as error:
            raise InputError(f"{path}, line {line}: expected {','.join(columns)}, got {','.join(cells)!r}") from error
        if not label or not name:
            raise InputError(f"{path}, line {line}: no {'youtube_id' if label else 'label'}")
        entries.append(VideoEntry(finder.find([f"{name}_{span}", name], preferred_folders), label, name))
    return entries


def has_ssv2_lists(request: DatasetRequest) -> bool:
    """Whether the lists are those of Something-Something V2; train.json alone counts only beside labels.json."""
    plain = request.find_list("train.json") and request.find_list("labels.json")
    return bool(request.find_list(f"{SSV2_PREFIX}train.json", f"{SSV2_PREFIX}validation.json") or plain)


def find_ssv2_list(request: DatasetRequest, subset: str) -> Path | None:
    return request.find_list(f"{SSV2_PREFIX}{subset}.json", f"{subset}.json")


def read_ssv2(request: DatasetRequest) -> ListedDataset:
    """Something-Something V2, class = template without brackets, tested on validation. Source: Goyal et al. 2017."""
    folder = request.list_folder
    no_train = f"{folder}: no training list; looked for {SSV2_PREFIX}train.json"
    no_test = f"{folder}: no test list; Something-Something V2 is tested on {SSV2_PREFIX}validation.json"
    train = _require_list(find_ssv2_list(request, "train"), no_train)
    test = _require_list(find_ssv2_list(request, "validation"), no_test)
    class_list = find_ssv2_list(request, "labels")
    classes = list(_read_ssv2_classes(class_list)) if class_list else []
    finder = VideoFinder(request.data, ".webm")
    entries = {subset: _read_ssv2_rows(path, finder) for subset, path in (("train", train), ("test", test))}
    for subset, path in (("train", train), ("test", test)):
        unknown = sorted({entry.label for entry in entries[subset]} - set(classes)) if classes else []
        if unknown:
            count, names = format_count(len(unknown), "template"), preview_items(unknown)
            raise InputError(f"{path}: {count} not among the classes of {class_list}: {names}")
    notes = [f"tested on {test.name}, the validation list, as is usual"]
    sources = {"train": str(train), "test": str(test)}
    return ListedDataset("Something-Something V2", request.data, entries, sources, notes, classes, str(class_list))


def _read_ssv2_rows(path: Path, finder: VideoFinder) -> list[VideoEntry]:
    rows = _read_json_rows(path, ("id", "template"))
    return [VideoEntry(finder.find([str(row["id"])], ["20bn-something-something-v2"]), _get_class(row)) for row in rows]


def _get_class(row: dict[str, Any]) -> str:
    return str(row["template"]).replace("[", "").replace("]", "").strip()


def _read_ssv2_classes(path: Path) -> dict[str, Any]:
    labels = read_json(path)
    if not isinstance(labels, dict):
        raise InputError(f"{path}: expected an object of class names, got a {type(labels).__name__}")
    return labels


def find_diving48_list(request: DatasetRequest, subset: str) -> Path | None:
    """The list of a part; preferably the corrected labels (V2), and the version that has both parts."""
    names = [f"Diving48{version}_{{}}.json" for version in ("_V2", "")]
    complete = [
        name for name in names if request.find_list(name.format("train")) and request.find_list(name.format("test"))
    ]
    return request.find_list(*(name.format(subset) for name in complete or names))


def read_diving48(request: DatasetRequest) -> ListedDataset:
    """Diving48, classes named by the vocabulary, groups by source recording. Source: Li, Li and Vasconcelos 2018."""
    message = f"{request.list_folder}: no {{}} list; looked for Diving48_V2_{{}}.json and Diving48_{{}}.json"
    paths = {
        subset: _require_list(find_diving48_list(request, subset), message.format(title, subset, subset))
        for subset, title in (("train", "training"), ("test", "test"))
    }
    vocabulary = request.find_list("Diving48_vocab.json")
    classes = _read_vocabulary(vocabulary) if vocabulary else []
    finder = VideoFinder(request.data)
    return ListedDataset(
        "Diving48",
        request.data,
        {subset: _read_diving48_rows(path, finder, classes) for subset, path in paths.items()},
        {subset: str(path) for subset, path in paths.items()},
        [] if classes else ["no Diving48_vocab.json: classes are called by their numbers"],
        classes,
        str(vocabulary),
        allows_empty_classes=True,  # the vocabulary is older than the corrected lists, which have fewer classes
    )


def _read_diving48_rows(path: Path, finder: VideoFinder, classes: list[str]) -> list[VideoEntry]:
    entries = []
    for number, row in enumerate(_read_json_rows(path, ("vid_name", "label")), start=1):
        name, label = str(row["vid_name"]), str(row["label"])
        if classes and not (label.isdecimal() and int(label) < len(classes)):
            raise InputError(
                f"{path}, entry {number}: label {label}, but the vocabulary has {len(classes)} classes from 0"
            )
        video = finder.find([name], ["rgb"])
        entries.append(VideoEntry(video, classes[int(label)] if classes else label, name.rpartition("_")[0]))
    return entries


def _read_vocabulary(path: Path) -> list[str]:
    """["Back", "15som", "05Twis", "FREE"] is the class Back-15som-05Twis-FREE."""
    rows = read_json(path)
    if not isinstance(rows, list):
        raise InputError(f"{path}: expected a list of classes, got a {type(rows).__name__}")
    names = ["-".join(map(str, row)) if isinstance(row, list) else str(row) for row in rows]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{path}: {format_count(len(repeated), 'class')} named twice: {preview_items(repeated)}")
    return names


def _read_json_rows(path: Path, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """The objects of a JSON list, each with all `keys`."""
    rows = read_json(path)
    if not isinstance(rows, list):
        raise InputError(f"{path}: expected a list of videos, got a {type(rows).__name__}")
    for number, row in enumerate(rows, start=1):
        missing = [k for k in keys if row.get(k) in (None, "")] if isinstance(row, dict) else list(keys)
        if missing:
            raise InputError(f"{path}, entry {number}: no {' and no '.join(missing)}")
    return rows


def _require_list(path: Path | None, message: str) -> Path:
    if path is None:
        raise InputError(f"{message}. Give the folder of the official lists with --splits")
    return path
