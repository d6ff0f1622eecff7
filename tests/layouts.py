"""Labelled data sets in every layout, made of empty files, and rows of AVA."""

import json
from pathlib import Path

from unreel.corpus.lists import VideoEntry


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def rows(listed: list[VideoEntry], root: Path) -> list[tuple[str, str, str]]:
    return [(entry.path.relative_to(root).as_posix(), entry.label, entry.group) for entry in listed]


def folders(root: Path) -> Path:
    return touch(root, *(f"{label}/{label}{i}.mp4" for label in ("run", "walk") for i in range(4)))


def own_lists(root: Path) -> Path:
    folders(root)
    write(root / "train.txt", "run/run0.mp4\nrun/run1.mp4\nwalk/walk0.mp4\n")
    write(root / "test.txt", "run/run2.mp4\nwalk/walk1.mp4\n")
    return root


def ucf101(root: Path, videos: str = "") -> Path:
    names = ["HandStandPushups/v_HandStandPushups_g01_c01.avi", "HandStandPushups/v_HandStandPushups_g08_c01.avi"]
    touch(root / videos, *names, "Bow/v_Bow_g01_c01.avi", "Bow/v_Bow_g08_c01.avi")
    lists = root / "ucfTrainTestlist"
    for split, (train, test) in {1: ("08", "01"), 2: ("01", "08")}.items():
        train_rows = f"HandstandPushups/v_HandStandPushups_g{train}_c01.avi 2\nBow/v_Bow_g{train}_c01.avi 1\n"
        write(lists / f"trainlist0{split}.txt", train_rows)
        write(lists / f"testlist0{split}.txt", f"Bow/v_Bow_g{test}_c01.avi\n")
    write(lists / "classInd.txt", "1 Bow\r\n2 HandstandPushups\r\n")
    return root


def hmdb51(root: Path, videos: str = "") -> Path:
    clap = [f"#20_Rhythm_clap_u_nm_np1_le_goo_{n}.avi" for n in range(3)]
    sit = [f"Film_sit_f_cm_np1_fr_med_{n}.avi" for n in range(2)]
    touch(root / videos, *(f"clap/{name}" for name in clap), *(f"sit/{name}" for name in sit))
    lists = root / "testTrainMulti_7030_splits"
    write(lists / "clap_test_split1.txt", "".join(f"{n} {s} \n" for n, s in zip(clap, "120", strict=True)))
    write(lists / "sit_test_split1.txt", "".join(f"{n} {s} \n" for n, s in zip(sit, "12", strict=True)))
    return root


K_HEAD = "label,youtube_id,time_start,time_end,split\n"


def kinetics(root: Path) -> Path:
    train = (
        '"baking, cookies",-a_b,5,15,train\nbungee jumping,gone0000000,1,11,train\nbungee jumping,plain,0,10,train\n'
    )
    write(root / "train.csv", K_HEAD + train)
    write(root / "validate.csv", K_HEAD + "bungee jumping,val1,100,110,validate\n")
    write(root / "test.csv", K_HEAD.replace("label,", "") + "secret,1,11,test\n")
    touch(root, "train/baking/-a_b_000005_000015.mkv", "train/plain.mp4", "old/val1_000100_000110.mp4")
    return touch(root, "val/val1_000100_000110.mp4", "test/secret_000001_000011.mp4")


def something(root: Path, prefix: str = "something-something-v2-", lists: str = "") -> Path:
    train = [
        {"id": "1", "label": "putting a pen", "template": "Putting [something] on [something #2]"},
        {"id": 12, "label": "folding paper", "template": "Folding [something]"},
    ]
    test = [{"id": "3", "label": "folding a cloth", "template": "Folding [something]", "placeholders": ["a cloth"]}]
    write(root / lists / f"{prefix}train.json", train)
    write(root / lists / f"{prefix}validation.json", test)
    write(root / lists / f"{prefix}test.json", [{"id": "4"}])
    write(root / lists / f"{prefix}labels.json", {"Putting something on something #2": "0", "Folding something": "1"})
    return touch(root, *(f"20bn-something-something-v2/{n}.webm" for n in (1, 12, 3, 4)))


def diving48(root: Path, version: str = "_V2") -> Path:
    train = [{"vid_name": f"-A_b_0000{i}", "label": i, "start_frame": 0, "end_frame": 9} for i in range(2)]
    test = [{"vid_name": "_C_00000", "label": 1, "start_frame": 0, "end_frame": 9}]
    write(root / f"Diving48{version}_train.json", train)
    write(root / f"Diving48{version}_test.json", test)
    write(root / "Diving48_vocab.json", [["Back", "15som", "NoTwis", "PIKE"], ["Reverse", "Dive", "NoTwis", "TUCK"]])
    return touch(root, *(f"rgb/{name}.mp4" for name in ("-A_b_00000", "-A_b_00001", "_C_00000")))


MAKERS = {
    "folders": (folders, "class folders"),
    "lists": (own_lists, "lists"),
    "ucf101": (ucf101, "UCF101 split 1"),
    "hmdb51": (hmdb51, "HMDB51 split 1"),
    "kinetics": (kinetics, "Kinetics"),
    "ssv2": (something, "Something-Something V2"),
    "diving48": (diving48, "Diving48"),
}


AVA_ROWS = """\
-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,80,1
-5KQ66BBWC4,0902,0.332,0.194,0.481,0.891,12,0
-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,9,1
-5KQ66BBWC4,0903,-0.004,0.5,1.01,1,12,2
other,1.25,0.1,0.1,0.2,0.2,12
"""


def write_rows(folder: Path, text: str, name: str = "rows.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name
