"""What a process imports: counted, since seconds depend on the machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import succeeds

from unreel.cli.commands import COMMANDS
from unreel.evaluation.protocol_registry import list_protocols
from unreel.methods.registry import find_methods

HEAVY = ("torch", "numpy", "rich", "tyro", "pyarrow", "av", "cv2", "matplotlib", "jinja2", "lightning_fabric")
HELP = """
import contextlib, io, json, sys
from unreel.cli import main

imported = {}
for command in json.loads(sys.argv[1]):
    sys.argv = ["unreel", *command.split(), "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main()
    specs = {name: getattr(module, "__spec__", None) for name, module in sys.modules.items()}
    loaders = {name: type(getattr(spec, "loader", None)).__name__ for name, spec in specs.items()}
    imported[command] = [out.getvalue(), sorted(name for name, loader in loaders.items() if loader != "StandInFinder")]
print(json.dumps(imported))
"""
UNUSED_IN_TRAINING = ("torchmetrics", "transformers", "scipy", "sklearn", "pandas", "lightning", "faiss", "fastapi")


def list_imported(code: str, *args: object) -> set[str]:
    """The modules that a new process has imported at the end of `code`."""
    code += "\nimport json, sys\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_package_and_the_overview_import_nothing_heavy() -> None:
    code = "import unreel\nfrom unreel.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    imported = list_imported(code)
    assert not imported & set(HEAVY)
    own = {name for name in imported if name.split(".")[0] == "unreel"}
    cli = {f"unreel.cli.{name}" for name in ("commands", "entry_point", "shortage", "thread_waiting")} | {"unreel.cli"}
    assert own == {"unreel", "unreel.errors", "unreel.io", "unreel.io.text"} | cli


def list_commands_with_help() -> list[str]:
    """Every command whose help has to be quick, with the kinds of `evaluate` and `data`."""
    kinds = [f"evaluate {name}" for name in (*list_protocols(), "finetune", "detection", "all")]
    return [*COMMANDS, *kinds, "data check", "classify train", "classify apply", "pretrain --resume run"]


@pytest.fixture(scope="module")
def help_by_command() -> dict[str, tuple[str, set[str]]]:
    """For each command its help, and what one process that showed it and those before had imported by then."""
    methods = [f"pretrain --method {name}" for name in find_methods()]
    process = [sys.executable, "-c", HELP, json.dumps([*list_commands_with_help(), *methods])]
    done = subprocess.run(process, capture_output=True, text=True, check=True)
    answers = json.loads(done.stdout)
    return {command: (text, set(modules)) for command, (text, modules) in answers.items()}


@pytest.mark.parametrize("command", list_commands_with_help())
def test_the_help_of_a_command_imports_nothing_heavy(
    command: str, help_by_command: dict[str, tuple[str, set[str]]]
) -> None:
    text, imported = help_by_command[command]
    assert f"unreel {command.partition(' -')[0]}" in text
    assert not imported & ({*HEAVY} - {"rich", "tyro"})


@pytest.mark.parametrize("command", [*(f"pretrain --method {name}" for name in find_methods()), "bench", "pretrain"])
def test_help_without_libraries_is_the_help_with_them(
    command: str, help_by_command: dict[str, tuple[str, set[str]]]
) -> None:
    """Options and defaults of every method, in this process from files that have imported torch."""
    assert help_by_command[command][0] == succeeds(*command.split(), "--help").out


def test_a_training_process_imports_what_it_uses(motion_set: Path, tmp_path: Path) -> None:
    options = "--backbone tiny --size 32 --num-frames 4 --batch-size 4 --workers 0 --threads 1 --steps 1 --quiet"
    videos = tmp_path / "few.txt"
    videos.write_text("".join(f"{path}\n" for path in sorted(motion_set.rglob("*.mp4"))[::4]))
    command = ["pretrain", str(videos), "--out", str(tmp_path / "run"), *options.split()]
    code = f"from unreel.cli import main\ntry:\n    main({command!r})\nexcept SystemExit:\n    pass"
    imported = list_imported(code)
    assert (tmp_path / "run/report.html").exists()
    assert "lightning_fabric" in imported
    assert not imported & set(UNUSED_IN_TRAINING)


def test_using_an_encoder_needs_neither_fabric_nor_sharding() -> None:
    imported = list_imported("import unreel\nunreel.load_encoder, unreel.embed")
    assert not imported & {"lightning_fabric", "torch.distributed.tensor", "torch._dynamo", "matplotlib", "scipy"}


def test_too_few_addresses_are_refused_before_a_library_crashes() -> None:
    """FAISS ends its process with a signal where it gets no memory while it is loaded."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1_200_000 * 1024,) * 2)"
    code = f"{limit}; from unreel.cli import main; main(['index', 'base', 'videos', '--out', 'index'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.replace("\n", " ").startswith("unreel: `ulimit -v` is 1200000; loading PyTorch, PyAV and FAISS")


def test_nothing_walks_through_a_stand_in_without_end() -> None:
    code = "from unreel.cli.help.stand_ins import StandIn\nlist(StandIn.schema([]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "TypeError: while help is shown" in done.stderr
