"""The notebooks of examples/, every cell in a true Jupyter kernel, with fewer videos and steps."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
FEWER = {"NUM_VIDEOS": 4, "STEPS": 4}


def list_code(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def make_small(source: str) -> str:
    """The cell with the parameters, with small values."""
    for name, value in FEWER.items():
        source = re.sub(rf"^(.*\b{name}\b.* = .*)$", rf"\1\n{name} = {value}", source, flags=re.MULTILINE)
    return source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_has_no_outputs(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert path.stat().st_size < 20_000
    assert [cell for cell in list_code(notebook) if cell["outputs"] or cell["execution_count"]] == []
    parameters = [cell for cell in list_code(notebook) if "parameters" in cell["metadata"].get("tags", [])]
    assert len(parameters) == 1 and "NUM_VIDEOS = " in make_small("".join(parameters[0]["source"]))
    for n, cell in enumerate(list_code(notebook)):
        code = "".join(line for line in cell["source"] if not line.startswith("%"))
        compile(code, f"{path.name}, code cell {n}", "exec")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_its_first_cell_to_its_last(path: Path, tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(path, as_version=4)
    first = list_code(notebook)[0]
    first["source"] = make_small(first["source"])
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert [cell["source"] for cell in list_code(notebook) if cell["execution_count"] is None] == []
    assert any(cell["outputs"] for cell in list_code(notebook)[-2:])


def test_every_notebook_stands_on_the_page_about_them() -> None:
    page = (FOLDER.parent / "docs" / "how_to" / "notebooks.md").read_text(encoding="utf-8")
    assert [path.name for path in NOTEBOOKS if f"examples/{path.name}" not in page] == []


TRAINING = """
import unreel
from unreel.verbs.training import pretrain
pretrain.report = lambda run: run  # takes a minute
unreel.make_set("videos", classes=2, videos=4, frames=24, size=(48, 64))
small = dict(log_steps=1, size=32, batch_size=4, workers=1, monitor_epochs=9999)
outcome = unreel.pretrain("videos", "run", steps=100_000, **small)
print(outcome)
"""
GOING_ON = """
print("goes on to", unreel.resume("run", steps=outcome["step"] + 2, quiet=True)["step"] - outcome["step"])
"""


@pytest.mark.slow
def test_an_interrupt_ends_a_training_and_it_goes_on(tmp_path: Path) -> None:
    """What Jupyter's Interrupt sends, after the first steps: the cell ends without an error and the kernel lives."""
    manager_module = pytest.importorskip("jupyter_client.manager")
    pytest.importorskip("ipykernel")
    manager, client = manager_module.start_new_kernel(cwd=str(tmp_path))
    try:
        said: list[str] = []

        def listen(message: dict[str, Any]) -> None:
            content = message["content"]
            said.append(content.get("text", "") or content.get("data", {}).get("text/plain", ""))
            if "step 2/" in said[-1]:
                manager.interrupt_kernel()

        reply = client.execute_interactive(TRAINING, timeout=600, output_hook=listen)
        assert reply["content"]["status"] == "ok" and "'interrupted': True" in "".join(said), said
        reply = client.execute_interactive(GOING_ON, timeout=600, output_hook=listen)
        assert reply["content"]["status"] == "ok" and "goes on to 2" in "".join(said), said
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
