"""The annotation files of Kinetics, Something-Something V2 and Diving48, from the person's own download.

Their videos are found by name wherever they lie below the folder, in any container.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unreel.corpus.discovery import LIST_SUBFOLDERS, walk_videos
from unreel.corpus.labels.subsets import ListedDataset
from unreel.corpus.lists import VIDEO_SUFFIXES, VideoEntry, read_json, read_table
from unreel.errors import InputError
from unreel.io.text import pluralize, preview_items

KINETICS_STEMS = {"train": ("train",), "validation": ("validate", "val", "validation"), "test": ("test",)}
SSV2_PREFIX = "something-something-v2-"


@dataclass(frozen=True)
class DatasetRequest:
    """Which data set is wanted; `splits` is where its lists are, if not in the folder `data` itself."""

    data: Path
    split: int = 1
    train: Path | None = None
    test: Path | None = None
    splits: Path | None = None
    seed: int = 0

    @property
    def list_folder(self) -> Path:
        return self.data if self.splits is None else self.splits

    def find_list(self, *names: str) -> Path | None:
        """The first of these files among the places where lists are."""
        paths = (self.list_folder / sub / name for sub in LIST_SUBFOLDERS for name in names)
        return next((path for path in paths if path.is_file()), None)


class VideoFinder:
    """Finds videos below a folder by name without suffix; `suffix` is what they have where nobody changed it."""

    def __init__(self, root: Path, suffix: str = ".mp4") -> None:
        self.root, self.suffix = root, suffix
        self._paths: dict[str, list[Path]] = {}
        for path in walk_videos(root):
            if path.suffix.lower() in VIDEO_SUFFIXES:
                self._paths.setdefault(path.stem, []).append(path)

    def find(self, stems: Sequence[str], preferred_folders: Iterable[str] = ()) -> Path:
        """The video of the first stem that is there, rather in a folder named in `near`; else where it might lie."""
        for stem in stems:
            paths = self._paths.get(stem, [])
            nearest = (path for path in paths if set(preferred_folders) & set(path.relative_to(self.root).parts[:-1]))
            if paths:
                return next(nearest, paths[0])
        return self.root / f"{stems[0]}{self.suffix}"


def is_kinetics_csv(path: Path) -> bool:
    """Told by its header; a file that can't be read is not, and whoever reads the whole of it says so."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return "youtube_id" in file.readline().lower()
    except OSError:
        return False


def find_kinetics_list(request: DatasetRequest, subset: str) -> Path | None:
    """The official CSV of a part (also named kinetics_train.csv and the like): it has a column youtube_id."""
    for folder in (request.list_folder / sub for sub in LIST_SUBFOLDERS):
        for name in KINETICS_STEMS[subset]:
            paths = [folder / f"{name}.csv", *sorted(folder.glob(f"[Kk]inetics*[-_]{name}.csv"))]
            found = next((path for path in paths if path.is_file() and is_kinetics_csv(path)), None)
            if found:
                return found
    return None


def read_kinetics(request: DatasetRequest) -> ListedDataset:
    """Kinetics-400, -600 or -700: tested on the validation list, as figures are reported. Source: Kay et al. 2017."""
    paths = {part: find_kinetics_list(request, part) for part in KINETICS_STEMS}
    test = paths["validation"] or paths["test"]
    train = _require_list(paths["train"], f"{request.list_folder}: no training list; Kinetics has train.csv")
    test = _require_list(test, f"{request.list_folder}: no test list; Kinetics is tested on validate.csv (or val.csv)")
    videos = VideoFinder(request.data)
    near = {"train": KINETICS_STEMS["train"], "test": KINETICS_STEMS["validation" if paths["validation"] else "test"]}
    listed = {part: _read_kinetics_rows(path, videos, near[part]) for part, path in (("train", train), ("test", test))}
    notes = [f"tested on {test.name}, the validation list, as is usual"] if paths["validation"] else []
    if paths["validation"] and paths["test"]:
        notes.append(f"{paths['test'].name} is left out: its labels are withheld, or not what figures are reported on")
    sources = {"train": str(train), "test": str(test)}
    return ListedDataset("Kinetics", request.data, listed, sources, notes, tolerated_findings=frozenset({"missing"}))


def _read_kinetics_rows(path: Path, videos: VideoFinder, preferred_folders: Sequence[str]) -> list[VideoEntry]:
    (_, names), *rows = read_table(path)
    columns = [name.lower() for name in names]
    absent = [name for name in ("label", "youtube_id", "time_start", "time_end") if name not in columns]
    if absent:
        raise InputError(f"{path}, line 1: no column {', '.join(absent)}; labels are needed to evaluate")
    listed = []
    for line, cells in rows:
        row = dict(zip(columns, cells, strict=False))
        try:
            label, name = row["label"], row["youtube_id"]
            span = f"{int(float(row['time_start'])):06d}_{int(float(row['time_end'])):06d}"
        except (KeyError, ValueError, OverflowError) as error:
            raise InputError(f"{path}, line {line}: expected {','.join(columns)}, got {','.join(cells)!r}") from error
        if not label or not name:
            raise InputError(f"{path}, line {line}: no {'youtube_id' if label else 'label'}")
        listed.append(VideoEntry(videos.find([f"{name}_{span}", name], preferred_folders), label, name))
    return listed


def find_ssv2_list(request: DatasetRequest, subset: str) -> Path | None:
    return request.find_list(f"{SSV2_PREFIX}{subset}.json", f"{subset}.json")


def has_ssv2_lists(request: DatasetRequest) -> bool:
    """A train.json alone could be anything's; with labels.json beside it, it is this."""
    plain = request.find_list("train.json") and request.find_list("labels.json")
    return bool(request.find_list(f"{SSV2_PREFIX}train.json", f"{SSV2_PREFIX}validation.json") or plain)


def read_ssv2(request: DatasetRequest) -> ListedDataset:
    """Something-Something V2, class = template without brackets, tested on validation. Source: Goyal et al. 2017."""
    train = _require_list(
        find_ssv2_list(request, "train"), f"{request.list_folder}: no training list; looked for {SSV2_PREFIX}train.json"
    )
    what = f"{request.list_folder}: no test list; Something-Something V2 is tested on {SSV2_PREFIX}validation.json"
    test = _require_list(find_ssv2_list(request, "validation"), what)
    named = find_ssv2_list(request, "labels")
    classes = list(_read_ssv2_classes(named)) if named else []
    videos = VideoFinder(request.data, ".webm")
    listed = {}
    for part, path in (("train", train), ("test", test)):
        rows = _read_json_rows(path, ("id", "template"))
        found = [(videos.find([str(row["id"])], ["20bn-something-something-v2"]), _parse_template(row)) for row in rows]
        listed[part] = [VideoEntry(file, label) for file, label in found]
        strange = sorted({label for _, label in found} - set(classes)) if classes else []
        if strange:
            raise InputError(
                f"{path}: {pluralize(len(strange), 'template')} not among the classes of {named}: {preview_items(strange)}"
            )
    notes = [f"tested on {test.name}, the validation list, as is usual"]
    sources = {"train": str(train), "test": str(test)}
    return ListedDataset("Something-Something V2", request.data, listed, sources, notes, classes, str(named))


def _parse_template(row: dict[str, Any]) -> str:
    return str(row["template"]).replace("[", "").replace("]", "").strip()


def _read_ssv2_classes(path: Path) -> dict[str, Any]:
    labels = read_json(path)
    if not isinstance(labels, dict):
        raise InputError(f"{path}: expected an object of class names, got a {type(labels).__name__}")
    return labels


def find_diving48_list(request: DatasetRequest, subset: str) -> Path | None:
    """The corrected labels (V2) before the first ones, and both parts of one version."""
    names = [f"Diving48{version}_{{}}.json" for version in ("_V2", "")]
    whole = [
        name for name in names if request.find_list(name.format("train")) and request.find_list(name.format("test"))
    ]
    return request.find_list(*(name.format(subset) for name in whole or names))


def read_diving48(request: DatasetRequest) -> ListedDataset:
    """Diving48, classes named by the vocabulary, groups by source recording. Source: Li, Li and Vasconcelos 2018."""
    what = f"{request.list_folder}: no {{}} list; looked for Diving48_V2_{{}}.json and Diving48_{{}}.json"
    sources = {
        p: _require_list(find_diving48_list(request, p), what.format(n, p, p))
        for p, n in (("train", "training"), ("test",) * 2)
    }
    vocabulary = request.find_list("Diving48_vocab.json")
    names = _read_vocabulary(vocabulary) if vocabulary else []
    videos = VideoFinder(request.data)
    listed = {part: _read_diving48_rows(path, videos, names) for part, path in sources.items()}
    notes = [] if names else ["no Diving48_vocab.json: classes are called by their numbers"]
    # The vocabulary is older than the corrected lists, so a class that they no longer have is no fault of the folder.
    allowed = frozenset({"empty"})
    paths = {part: str(path) for part, path in sources.items()}
    return ListedDataset("Diving48", request.data, listed, paths, notes, names, str(vocabulary), allowed)


def _read_diving48_rows(path: Path, videos: VideoFinder, class_names: list[str]) -> list[VideoEntry]:
    listed = []
    for number, row in enumerate(_read_json_rows(path, ("vid_name", "label")), start=1):
        name, label = str(row["vid_name"]), str(row["label"])
        if class_names and not (label.isdecimal() and int(label) < len(class_names)):
            raise InputError(
                f"{path}, entry {number}: label {label}, but the vocabulary has {len(class_names)} classes from 0"
            )
        file = videos.find([name], ["rgb"])
        listed.append(VideoEntry(file, class_names[int(label)] if class_names else label, name.rpartition("_")[0]))
    return listed


def _read_vocabulary(path: Path) -> list[str]:
    """["Back", "15som", "05Twis", "FREE"] is the class Back-15som-05Twis-FREE."""
    entries = read_json(path)
    if not isinstance(entries, list):
        raise InputError(f"{path}: expected a list of classes, got a {type(entries).__name__}")
    names = ["-".join(map(str, entry)) if isinstance(entry, list) else str(entry) for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: {pluralize(len(twice), 'class')} named twice: {preview_items(twice)}")
    return names


def _read_json_rows(path: Path, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """The objects of a JSON list, each with all `keys`."""
    rows = read_json(path)
    if not isinstance(rows, list):
        raise InputError(f"{path}: expected a list of videos, got a {type(rows).__name__}")
    for number, row in enumerate(rows, start=1):
        absent = [k for k in keys if row.get(k) in (None, "")] if isinstance(row, dict) else list(keys)
        if absent:
            raise InputError(f"{path}, entry {number}: no {' and no '.join(absent)}")
    return rows


def _require_list(path: Path | None, message: str) -> Path:
    if path is None:
        raise InputError(f"{message}. Give the folder of the official lists with --splits")
    return path
