"""What stands for the names and the lengths in the documentation's commands when a test runs them, and what is not run.

`test_commands_run.py` runs every command and every piece of Python of the pages, page by page, in a folder where these
stand-ins lie. Else the words of a command are those of its page.
"""

# Names of the pages, and what lies there before the first command of the page.
LABELLED = "DATA FOLDER JHMDB K400 LABELS NEW VIDEOS WEIZMANN archive labelled new-videos unlabelled videos".split()
OFFICIAL, BOXES, PACKED = ["UCF101", "HMDB51"], ["AVA"], ["corpus"]
RUNS = ["RUN", "RUN1", "run"]
INDEXES = ["INDEX", "index", "weizmann"]
TABLES = ["PLACE"]  # of an index, with LanceDB
OWN_METHODS = {"own.py": ("fast", "mine"), "path/to/own.py": ("fast",)}
RECORDINGS_S = {
    "VIDEO": 16, "query.mp4": 16, "new.mp4": 2, "videos/walk.mp4": 16, "WEIZMANN/bend/daria_bend.mp4": 2,
    "FOLDER/a.mp4": 104, "a.mp4": 104, "b.mp4": 6, "day1.mp4": 304, "day2.mp4": 44, "recording.mp4": 3606,
    "north/0001.mp4": 13, "FOLDER/north/0001.mp4": 13, "FOLDER/north/0002.mp4": 13, "FOLDER/gate/0001.mp4": 13,
    "FOLDER/gate/0002.mp4": 13, "FOLDER/gate/0003.mp4": 13,
}  # fmt: skip
WEIGHTS = {  # and the table of `tests/released.py` that draws them
    "r3d_18.pth": "r3d_18",
    "iic.pth": "iic r3d",
    "iic-v2.pth": "iic-v2 r18",
    "dualvar.pth": "dualvar r21d",
    "coclr.pth": "coclr s3d",
    "cvrl.pth": "cvrl",
    "slowfast.pth": "slowfast",
    "resnet50.safetensors": "",
}
SAVED = {  # blocks that the page tells to save as a file
    ("docs/sweeps.md", "yaml"): "sweep.yaml",
    ("docs/how_to/own_network.md", "python"): "net.py",
    ("docs/how_to/many_cameras.md", "text"): "cameras.csv",
}
MADE_BY_THE_PAGE = {
    "README.md": {"run", "index"},
    "docs/tutorial.md": {"videos", "new-videos", "index", "run"},
}
IN_FILES = {
    "steps: 600": "steps: 2",
    "batch_size: 16": "batch_size: 4\n  size: 32",
    "[0, 1, 2]": "[0]",
    "gate/0001.mp4,,gate": "gate/0001.mp4,,gate\ngate/0002.mp4,,gate\ngate/0003.mp4,,gate",
}
LISTS = {"list.txt": "videos"}  # relative to a folder
MADE_AGAIN = {"docs/classify.md": ["moves", "archive.csv"]}  # by its Python, which does what its commands did
# What lies there after the last command of a page, beside what its commands name themselves.
MAKES = {
    "docs/explore.md": [
        f"FOLDER.unreel/{name}"
        for name in ("manifest.parquet", "quarantine.csv", "run", "index", "explore.json", "inspected.jsonl")
    ],
    "docs/own_method.md": ["tubelet.py", "test_tubelet.py", "RUN/provenance.json", "RUN/code/sources.json"],
    "docs/tutorial.md": [
        *("videos.unreel/run/config.json", "videos.unreel/run/report.html"),
        *("docs/tutorial-report.jpg", "docs/tutorial-page.jpg", "embeddings.parquet"),
    ],
}
SAYS = {
    "unreel explore videos --minutes 5 --no-open": "16 videos can be used",
    "unreel apply videos.unreel/index/concepts/drifts-left.json new-videos --csv": "video,start_s,end_s,probability",
    "unreel evaluate retrieval videos.unreel/run videos": "frame difference",
}

# Values that make a command small: they take the place of longer ones, and are added where none stands.
TRAINING = {"--steps": "2", "--size": "32", "--batch-size": "4", "--workers": "0", "--threads": "1"}
SMALL = {
    "pretrain": TRAINING,
    "explore": TRAINING,
    "bench": TRAINING | {"--rounds": "1", "--loop-steps": "1", "--max-videos": "8"},
    "synth": {"--videos": "4"},
    "serve": {"--port": "0"},
    "evaluate": {"--num-clips": "2"},
    "evaluate finetune": {"--num-clips": "2", "--epochs": "1", "--batch-size": "4"},
    "evaluate detection": {},
    "sweep": {"--seeds": "0", "--common": "steps=2 size=32 batch_size=4 workers=0 threads=1"},
}
SCRIPTS = {  # of benchmarks/, with values that are not made smaller but given
    "appearance_cost": "--rounds 1",
    "appearance_weight": "--num-clips 1",
    "augment": "--size 32 --num-frames 4 --batch-size 2 --rounds 1",
    "claims": "--steps 2 --seeds 0 --num-clips 1 --only iic",
    "evaluations": "--num-clips 1",
    "extract": "--videos 4 --rounds 1",
    "growth": "--sizes 1000 --samplers 1000",
    "index": "--videos 4 --rounds 1",
    "layouts": "--networks tiny --rounds 1",
    "loader": "--videos 4 --rounds 1 --size 32",
    "map": "--drawings 2",
    "memory": "--draws 50",
    "monitor_study": "--num-clips 1",
    "nearest": "--rows 2000 --queries 10 --people 2",
    "old_and_new": "--rounds 1 --steps 1 --clips 4 --batch-size 4 --methods iic",
    "pace": "--rounds 1 --questions 3 --people 2 --pages 2 --idle-s 1",
    "packed": "--videos 1 --seconds 2 --short-sides 64",
    "precision": "--draws 1",
    "processes": "--rounds 1 --steps 6",
    "released_style": "--rounds 1 --steps 1 --videos 4 --batch-size 4",
    "scale_costs": "--videos 10 --rows 2000 4000",
    "serve": "--rows 2000 --questions 3 --people 2",
    "shards": "--networks r3d18",
    "step": "--methods iic --rounds 1 --size 32 --batch-size 4",
}
FEWER_SETTINGS = {  # of the sweep of all methods, which has 24 rows: those that later commands name
    "trio",
    "trio rank_weight=0.5",
    "iic",
    "iic-v2",
    "cvrl",
    "dual-moco",
}
SMALL_WHERE_SHOWN = {"--devices": "2", "--clips-at-once": "2", "--workers": "1"}
LEFT_OUT = {
    "--minutes": "two steps stand for them",
    "--push": "needs a hub",
    "--open": "opens a browser",
    "--part": "belongs to a file of several networks",
}

# Words of a command, and what stands in their place.
WORDS = {  # claims.py draws hundreds of videos for --synthetic
    "--from 0 --to 0": "--from 12 --to 15",  # S
    "KIND:PLACE": "parquet:rows.parquet",
    "FILE.yaml": "sweep.yaml",
    "--out CSV": "--out FILE.csv",
    "unreel inflate FILE": "unreel inflate resnet50.safetensors",
    **{
        f"unreel import FILE --out ENCODER --as {name}": f"unreel import {name}.pth --out ENCODER --as {name}"
        for name in ("iic-v2", "iic", "dualvar", "coclr", "cvrl", "slowfast")
    },
    "unreel import FILE": "unreel import r3d_18.pth",
    "s3://bucket/corpus": "memory://corpus",
    "gs://bucket/corpus": "memory://corpus",
    "https://host/corpus": "memory://corpus",
    "qdrant:http://localhost:6333": "qdrant:vectors",
    "postgres:postgresql://me@host/db --nearest": "postgres:postgresql://me@host/db --table near --nearest",
    "postgresql://me@host/db": "postgresql://POSTGRES",
    "--yes 812": "--yes 212",
    "--scores docs/claims": "--scores scores",
    "--yes bend --no wave1": "--yes drift_left --no drift_up",
    "--yes 12 80": "--yes 12 30",
    "OLD NEW WEIZMANN": ". . WEIZMANN",
    "FAKE OLD NEW": "FAKE . .",
    "benchmarks/claims.py OUT --synthetic": "benchmarks/claims.py OUT --weizmann WEIZMANN",
    "--synthetic --classes 8": "",
    "--weizmann WEIZMANN --synthetic": "--weizmann WEIZMANN",
    "OUT/videos/synth8/seed0": "",
    "runs/jhmdb/{trio,iic,cvrl}-seed{0,1,2}": "runs/jhmdb/trio-seed0 RUN",
    "runs/jhmdb/{trio,iic}-seed{0,1,2}": "runs/jhmdb/trio-seed0 RUN",
    "--out runs/jhmdb": "--out swept",
    "seed{0,1,2}": "seed0",
    "--finetune --jobs 2": "--jobs 2",
    "--shares 0.01 0.1 --draws 1 --finetune": "--ks 1 --shares 0.1 --draws 1 --finetune --epochs 1",
    "evaluate few-labels cvrl": "evaluate few-labels RUN",  # 300 steps of a large network
    "evaluate finetune cvrl": "evaluate finetune RUN",
    "evaluate detection cvrl AVA": "evaluate detection RUN AVA",
    "--recipe cvrl": "--recipe cvrl --epochs 1",
    "--label kitchen": "--label drift_left",
    "unreel compare evaluation1": "cp -r evaluation evaluation2 && unreel compare evaluation",
    "unreel compare EVAL EVAL": "cp -r EVAL EVAL2 && unreel compare EVAL EVAL2",
    "evaluate detection RUN DATA": "evaluate detection RUN AVA",
    "--nnodes 2 --nproc-per-node 8": "--nnodes 1 --nproc-per-node 2",
    "--backbone r3d152 --width 2": "--backbone r3d18",
    "HOST:29500": "localhost:0",
    "RAY_ADDRESS=HOST:6379 unreel": "unreel",
    "--folder /data": "--folder .",
    "RUN/checkpoints/step-00000480": "RUN/checkpoints/step-00000002",
    "--seed S": "--seed 0",
    "runs/jhmdb/trio-seedS": "runs/jhmdb/trio-seed0",
}
PYTHON = {
    "minutes=30": "steps=2, size=32, batch_size=4, workers=0",
    '"videos", out="run"': '"videos", out="run", steps=2, size=32, batch_size=4, workers=0',
}

# Commands that begin like this are not run.
NOT_RUN = {
    "make ": "sets up an environment from a package index first; what it calls is run by tests, or runs them",
    "pip install ": "asks a package index",
    "uv pip install ": "asks a package index",
    "docker ": "needs a daemon of containers",
    "rm -rf dist && python -m build": "asks a package index; tests/installation/test_wheel.py builds a wheel",
    "pytest -m slow ": "`make test-slow` runs these tests",
    "sudo sh examples/rehearsal.sh": "needs root and network namespaces; tests/training/test_rehearsal.py",
    "sudo BIN=": "needs root and network namespaces; tests/training/test_rehearsal.py",
    "duckdb ": "a program of its own",
    "python benchmarks/gpu.py": "needs a GPU; tests/benchmarks/test_gpu.py runs its rows with tiny shapes",
    "python benchmarks/base_encoder.py": "replaces the encoder that comes with unreel",
    "import mteb": "fetches its data; tests/model_export/test_mteb_model.py",
}
# Indented blocks that are no commands begin like this.
NO_COMMANDS = {
    "README.md": ["unreel/errors.py"],
    "docs/architecture.md": ["errors seeding", "file or piece", "checkpoint -> load_encoder"],
    "docs/classify.md": ["videos/jump/a.mp4", "video,start_s"],
    "docs/explore.md": ["NAME.unreel/manifest.parquet"],
    "docs/how_to/many_cameras.md": ["path,label,group"],
    "docs/methods.md": ["L = CE", "rank(q, p)"],
    "docs/own_method.md": ["[project.entry-points"],
    "docs/sweeps.md": ["variance = "],
}
