"""A folder in which the commands of a page run: what the page names lies there, and its commands are made small."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import traceback
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from zlib import crc32

import fsspec
import safetensors.torch
import stand_ins
import torch
from commands import Command, Done, call, skip_report, succeeds
from documented import ROOT
from networks import resnet_state
from page_blocks import Block
from page_words import add_options, make_small, replace_words
from released import CLIP, RELEASES, run_table
from videos import encode, textured

import unreel
from unreel.corpus.motion_set.boxes import make_box_set

NEEDS_SHELL = re.compile(r"[$|;&*?{]|^\w+=| --devices ")  # or processes that are started like the first one
SMALL_PICTURE = (48, 64)
LONG_S = 1000
LINKED = ("benchmarks", "website", "examples", "tests", "unreel")
STUB = """#!{python}
import os, sys
sys.path.append({folder!r})
from page_words import make_small
os.execv(sys.executable, [sys.executable, "-m", "unreel", *make_small(sys.argv[1:])])
"""


@dataclass(frozen=True)
class Sources:
    """What was made once for all pages."""

    motion_set: Path
    run: Path
    postgres: str


# The folder.


def fill_folder(page: str, blocks: Sequence[Block], sources: Sources) -> None:
    """In the working directory: what a page names, by the tables of `stand_ins`."""
    shown = "\n".join(replace_words(block.text, stand_ins.WORDS) for block in blocks if block.page == page)
    for block in blocks:
        name = stand_ins.SAVED.get((block.page, block.kind), "")
        if name and name in shown:
            text = replace_words(block.text, stand_ins.IN_FILES) + "\n"
            shown += text
            Path(name).write_text(text)
    named = list_names(shown) - stand_ins.MADE_BY_THE_PAGE.get(page, set())
    for name in LINKED:
        Path(name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "docs", "docs")
    for name in sorted(named):
        put_stand_in(name, sources)
    for name, seconds in stand_ins.RECORDINGS_S.items():
        if name in named or name.removeprefix("FOLDER/") in named:
            put_recording(Path(name), seconds)
    for name in sorted(named & set(stand_ins.INDEXES)):
        put_index(name, sources)
    for name in sorted(named & set(stand_ins.TABLES)):
        succeeds("export", "INDEX", "--to", f"lancedb:{name}")


def list_names(text: str) -> set[str]:
    """Names of files and folders, and of the folders that they lie in."""
    names = set(re.findall(r"[\w./-]+", re.sub("@|://", " ", text)))
    return names | {"/".join(name.split("/")[:n]) for name in names for n in range(1, name.count("/") + 1)}


def put_index(name: str, sources: Sources) -> None:
    """Of the page's FOLDER, or of videos that it does not see, and of its single videos; hours would take minutes."""
    folder = Path("FOLDER") if Path("FOLDER").exists() else sources.motion_set
    videos = [*sorted(folder.glob("*/*.mp4"))]
    videos += [path for path in map(Path, stand_ins.RECORDINGS_S) if path.exists() and path not in videos]
    listed = [path.absolute() for path in videos if stand_ins.RECORDINGS_S.get(str(path), 0) < LONG_S]
    rows = "".join(f"{path},{path.parent.name}\n" for path in listed)
    Path("indexed.csv").write_text(f"path,label\n{rows}")
    succeeds("index", sources.run, "indexed.csv", "--out", name)


def put_stand_in(name: str, sources: Sources) -> None:
    if name in stand_ins.LABELLED:
        shutil.copytree(sources.motion_set, name)
    elif name in stand_ins.OFFICIAL:
        put_official(sources.motion_set, Path(name))
    elif name in stand_ins.BOXES:
        make_box_set(Path(name), videos=4, seconds=3, size=SMALL_PICTURE, fps=12.5)
    elif name in stand_ins.PACKED:
        put_packed(sources.motion_set, name)
    elif name in stand_ins.RUNS:
        shutil.copytree(sources.run, name)
    elif name in stand_ins.OWN_METHODS:
        put_own_method(Path(name), stand_ins.OWN_METHODS[name])
    elif name in stand_ins.LISTS:
        folder = sources.motion_set
        Path(name).write_text("".join(f"{path.relative_to(folder)}\n" for path in sorted(folder.glob("*/*.mp4"))))
    elif name in stand_ins.WEIGHTS:
        put_weights(Path(name))


def put_official(motion_set: Path, root: Path) -> None:
    """Videos and lists under the names of UCF101, with two splits."""
    for source in sorted(motion_set.glob("*/*.mp4")):
        label, group = source.parent.name, int(source.stem[-4:]) + 1
        place = root / label / f"v_{label}_g{group:02}_c01.mp4"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)
    listed = sorted(root.glob("*/*.mp4"))
    labels = sorted({path.parent.name for path in listed})
    (root / "classInd.txt").write_text("".join(f"{n} {label}\n" for n, label in enumerate(labels, start=1)))
    for split in (1, 2, 3):
        for kind in ("train", "test"):
            rows = [p for p in listed if (int(p.stem[-6:-4]) % 3 == split % 3) == (kind == "test")]
            text = "".join(
                f"{p.relative_to(root)} {labels.index(p.parent.name) + 1}\n"
                if kind == "train"
                else f"{p.relative_to(root)}\n"
                for p in rows
            )
            (root / f"{kind}list0{split}.txt").write_text(text)


def put_packed(motion_set: Path, name: str) -> None:
    """A packed corpus behind fsspec."""
    succeeds("pack", motion_set, name, "--workers", 1, "--no-gain")
    store = fsspec.filesystem("memory")
    for path in Path(name).rglob("*"):
        if path.is_file():
            store.pipe(f"/{path}", path.read_bytes())


def put_own_method(path: Path, presets: tuple[str, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = unreel.new_method("tubelet_like", path.parent)
    text = Path(path.parent, "tubelet_like.py").read_text()
    path.write_text(text + "".join(f'PRESETS["{name}"] = next(iter(PRESETS.values()))\n' for name in presets))
    del made


def put_weights(path: Path) -> None:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(resnet_state(), path)
        return
    _, _, table, options, eps, wrap = RELEASES[stand_ins.WEIGHTS[path.name]]
    torch.save(wrap(run_table(table, CLIP, eps, **options)[0]), path)


def put_recording(path: Path, seconds: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fps = 2 if seconds > LONG_S else 10
    made = path.with_name(f"{path.name}.mp4")
    first = crc32(str(path).encode()) % 1000  # equal files would be counted once
    encode(made, seconds * fps, time_base=Fraction(1, fps), size=SMALL_PICTURE, draw=textured, first=first)
    made.rename(path)


# Running.


def run_block(block: Block, sources: Sources) -> str:
    """What went wrong, or an empty string: it failed, or left out what it should have made."""
    if block.kind == "python":
        for name in stand_ins.MADE_AGAIN.get(block.page, ()):
            remove(Path(name))
        done, text = run_python(replace_words_in_python(block.text)), block.text
    else:
        text = replace_words(block.text, stand_ins.WORDS)
        clear_target(text)
        is_plain = text.startswith("unreel ") and not NEEDS_SHELL.search(text)
        text = text.replace("postgresql://POSTGRES", sources.postgres)
        done = run_unreel(make_small(shlex.split(text)[1:])) if is_plain else run_in_shell(text)
    if done.code:
        return f"{block.place}: {text}\nended with {done.code}: {done.out[-500:]}\n{done.err[-1500:]}"
    if stand_ins.SAYS.get(block.text, "") not in done.out:
        return f"{block.place}: {text}\ndoes not say {stand_ins.SAYS[block.text]}: {done.out}"
    missing = [target for target in list_targets(text) if not Path(target).exists()]
    return f"{block.place}: {text}\nleft no {missing}" if missing else ""


def replace_words_in_python(text: str) -> str:
    for shown, stand_in in stand_ins.PYTHON.items():
        text = text.replace(shown, stand_in)
    return text


def run_python(text: str) -> Done:
    try:
        exec(compile(text, "page", "exec"), {"__name__": "page"})
    except Exception:
        return Done(1, "", traceback.format_exc())
    return Done(0, "", "")


def run_unreel(words: list[str]) -> Done:
    serves = words[0] == "serve" or (words[0] == "explore" and "--no-open" not in words)
    return ask_and_stop(words) if serves else call(*words)


def ask_and_stop(words: list[str]) -> Done:
    """A command that serves a page: one question, then Ctrl-C."""
    with Command(*words, before=skip_report) as command:
        lines = []
        for line in command.stdout:
            lines.append(line)
            if found := re.search(r"http://\S+", line):
                with urllib.request.urlopen(f"{found[0].rstrip('/')}/api/health", timeout=60) as answer:
                    assert answer.status == 200
                break
        command.send_signal(signal.SIGINT)
        _, err = command.communicate()
        is_served = bool(lines) and "http://" in lines[-1]
        return Done(0 if is_served else command.wait() or 1, "".join(lines), err)


def run_in_shell(text: str) -> Done:
    """With a `unreel` that makes its commands small, `srun` and `sudo` that run what they are given, and no browser."""
    bin_folder = Path("bin").absolute()
    if not bin_folder.exists():
        bin_folder.mkdir()
        for name, script in {
            "unreel": STUB.format(python=sys.executable, folder=str(Path(__file__).parent)),
            "python": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
            "pytest": f'#!/bin/sh\nexec {sys.executable} -m pytest -p no:cacheprovider "$@"\n',
            "srun": '#!/bin/sh\nshift\nexec "$@"\n',
            "torchrun": f'#!/bin/sh\nexec {sys.executable} -m torch.distributed.run "$@"\n',
        }.items():
            (bin_folder / name).write_text(script)
            (bin_folder / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    if found := re.match(r"python benchmarks/(\w+)\.py ?", text):
        text = add_options(text, found[1])
    if text.startswith("torchrun"):
        head, _, tail = text.partition(" unreel ")
        text = f"{head} unreel {shlex.join(make_small(shlex.split(tail)))}"
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, env=environment, timeout=900)
    return Done(done.returncode, done.stdout, done.stderr)


def list_targets(text: str) -> list[str]:
    """What a command writes, where its words say so."""
    found = re.findall(r" --out (\S+)", text)
    return found + re.findall(r" --to (?!postgres)[\w-]+:([\w./-]+)", text)


def clear_target(text: str) -> None:
    """A new folder must not exist; the lines of a block are often alternatives with the same name."""
    words = text.split()
    made = list_targets(text) + [words[n] for n, name in ((2, "synth"), (3, "pack")) if words[1:2] == [name]]
    if words[:2] == ["unreel", "export"] or "#!" in text:
        return
    for target in map(Path, made):
        remove(target)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
