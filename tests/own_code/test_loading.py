"""Code of one's own: found by file and module, read anew, kept as a copy, and refused in one sentence."""

import importlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from own import METHOD, STRENGTH, write_files, write_method

from unreel.errors import CheckpointError, InputError, OwnCodeError
from unreel.methods.registry import load_method_module, load_preset, name_method
from unreel.models.registry import build_backbone
from unreel.own_code.copies import load_copies, save_copies
from unreel.own_code.loading import find_registered, get_loaded, get_member
from unreel.own_code.source_files import collect_package_sources, collect_parts_of_unreel, collect_sources
from unreel.training.run_folder.config import build_run_config
from unreel.types import Clips


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with files of one's own; the path and the modules of this process are put back afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    monkeypatch.setattr("unreel.own_code.loading._LOADED", {})
    yield write_files(tmp_path / "elsewhere")
    for name in set(sys.modules) - set(before):
        if name.partition("_")[0] in ("pull", "strength", "net", "edges", "crop", "notes"):
            del sys.modules[name]


def force(name: str) -> float:
    """What the loaded method says that the force of its Config is worth."""
    return get_loaded(name, "method").module.force_of(load_preset(name)[0])  # type: ignore[no-any-return]


def test_a_file_with_what_it_imports_is_read_anew_each_time(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    typed = str(own / "pull.py") + ":near"
    assert name_method(typed) == "pull.py:near" and load_preset("pull.py:near")[0].pairs == "same-moment"
    assert list(get_loaded("pull.py:near", "method").sources.files) == ["pull.py", "strength.py"]
    first = get_loaded("pull.py:near", "method").sources
    assert force("pull.py:near") == 1.0
    (own / "strength.py").write_text("def force_of(config):\n    return 7 * config.force\n")
    assert force("pull.py:near") == 1.0  # a run goes on with what it began with
    name_method(typed)
    assert force("pull.py:near") == 7.0 and get_loaded("pull.py:near", "method").sources.hash != first.hash
    (own / "strength.py").write_text(STRENGTH)
    name_method(typed)
    assert get_loaded("pull.py:near", "method").sources.hash == first.hash
    for number in range(2, 5):  # in the same second, of the same length: bytecode that Python keeps would be older
        write_method(own, 'pairs="same-moment"', f'force={number}.0, pairs="same-moment"')
        (own / "strength.py").write_text(f"def force_of(config):\n    return {number} * config.force\n")
        name_method(typed)
        assert force("pull.py:near") == number**2
    assert not list(own.rglob("*.pyc"))


def test_a_module_of_the_current_folder_needs_no_dot(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OwnCodeError, match=r"'pull:near' can't be imported .*current folder .*PYTHONPATH"):
        name_method("pull:near")
    monkeypatch.chdir(own)
    assert name_method("pull:near") == "pull:near" and load_preset("pull:near")[0].force == 1.0
    with pytest.raises(InputError, match="a file pull.py here; name it --method pull.py"):
        load_method_module("pull")
    with pytest.raises(OwnCodeError, match=r"'\.\./pull:near' is no module; give its file with \.py"):
        name_method("../pull:near")


def test_modules_classes_and_presets_are_given_from_python(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own)
    name_method("pull:near")
    module = sys.modules["pull"]
    assert name_method(module) == "pull:near"
    assert name_method(module.near) == "pull:near"
    assert name_method(module.Method) == "pull:Method" and load_preset("pull:Method")[0] == module.near()[0]
    config = build_run_config(module.Method, {"force": 2.0, "backbone": "net:Small"})
    assert (config.method, config.options.force, config.settings.backbone) == ("pull:Method", 2.0, "net:Small")
    small = sys.modules["net"].Small
    named = build_run_config(module, {"backbone": small, "backbone_options": {"width": 6}}).settings
    assert (named.backbone, named.backbone_options) == ("net:Small", '{"width": 6}')
    with pytest.raises(OwnCodeError, match="a Small object can't be recorded; give a class"):
        build_run_config(module, {"backbone": small()})


def test_a_module_that_was_edited_after_its_import_has_no_known_source(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own)
    name_method("pull:near")
    module, first = sys.modules["pull"], get_loaded("pull:near", "method").sources.hash
    write_method(own, "self.config = backbone", "self.config = 3 or backbone")
    name_method("pull:near")
    assert get_loaded("pull:near", "method").sources.hash == first  # the text that runs, not the one on the disk
    name_method(module.Method)
    assert get_loaded("pull:Method", "method").sources.hash == first
    monkeypatch.setattr("unreel.own_code.loading._LOADED", {})
    with pytest.warns(RuntimeWarning, match=r"pull\.py was edited after it was imported"):
        name_method(module.Method)
    assert get_loaded("pull:Method", "method").sources.hash == ""
    importlib.reload(module)
    name_method(module.Method)
    assert get_loaded("pull:Method", "method").sources.hash not in ("", first)


def test_a_class_of_a_notebook_is_known_by_its_cells(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells, text = (
        ModuleType("__main__"),
        METHOD.replace("from strength import force_of", "force_of = lambda c: c.force"),
    )
    monkeypatch.setitem(sys.modules, "__main__", cells)
    monkeypatch.setattr("linecache.cache", {"<cell 1>": (len(text), None, text.splitlines(keepends=True), "<cell 1>")})
    exec(compile(text, "<cell 1>", "exec"), vars(cells))
    name = name_method(cells.Method)
    assert name == "notebook.py:Method" and load_preset(name)[0].pairs == "same-moment"
    assert get_loaded(name, "method").sources.files["notebook.py"].decode().strip() == text.strip()


def test_what_a_file_imports_is_followed_within_its_folder_alone(own: Path) -> None:
    (own / "package").mkdir()
    (own / "package" / "__init__.py").write_text("")
    (own / "package" / "a.py").write_text("import json, torch, strength\nfrom . import b\nfrom unreel import types\n")
    (own / "package" / "b.py").write_text("from .a import x\n")
    files = collect_sources(own / "package" / "a.py", own).files
    assert set(files) == {"package/a.py", "package/__init__.py", "package/b.py", "strength.py"}
    assert next(iter(files)) == "package/a.py"
    ours = collect_package_sources("unreel.methods.simclr").files
    assert "unreel/losses/infonce.py" in ours and "unreel/views/two_views.py" in ours
    of_own = collect_parts_of_unreel(collect_sources(own / "pull.py", own)).files
    assert "unreel/views/two_views.py" in of_own and "unreel/losses/infonce.py" not in of_own
    others = ("unreel/cli", "unreel/methods/moco", "unreel/__init__", "unreel/training", "tests")
    assert not any(name.startswith(others) for name in ours)


REFUSED = {
    "a syntax error": ("def near():", "def near(:", r"pull\.py:\d+: a syntax error, .*`def near\(:`"),
    "an error while it is imported": (
        "PRESETS = {",
        "PRESETS = absent or {",
        r"NameError: .*\(.*pull\.py:\d+: `PRESETS",
    ),
    "no presets": ('PRESETS = {"near": near}', "", "pull.py has no PRESETS, a dict of functions"),
    "a list of presets": ('{"near": near}', "[near]", r"pull\.py:\d+: PRESETS is a list; it must be a dict"),
    "two presets": (
        '{"near": near}',
        '{"near": near, "far": near}',
        "pull.py has 2 presets; name one: --method pull.py:near or",
    ),
    "no Config": ("class Config", "class Options", "pull.py has no Config, the dataclass of its options"),
    "a Config that is no dataclass": (
        "@dataclass(frozen=True)\nclass Config(TwoViewOptions)",
        "class Config",
        r"Config is no data",
    ),
    "an option without a type": (
        "force: float = 1.0",
        "force = 1.0",
        r"pull\.py:\d+: Config.force is no field, .* write force: float = 1.0, or",
    ),
    "an inherited option that is set without a type": (
        "force: float = 1.0",
        'force: float = 1.0\n    pairs = "independent"',
        "Config.pairs is no field, .* write pairs: str = 'independent'",
    ),
    "options without a decorator": ("@dataclass(frozen=True)", "", r"Config.force is no field, .*@dataclass"),
    "no check": (
        "def check(self, settings, num_instances):",
        "check = None\n\n    def test(self):",
        r"pull\.py:\d+: Config has no check\(self, settings, num_instances\); inherit it",
    ),
    "a check of another kind": (
        "(self, settings, num_instances)",
        "(self)",
        r"pull\.py:\d+: Config.check can't be called as check",
    ),
    "views that are missing": ("(TwoViewOptions):", ":", r"Config has no view_spec\(self, size\); inherit it"),
    "no after_step": ("def after_step", "def after", r"pull\.py:\d+: Method has no after_step\(self\)"),
    "no forward": ("def forward", "def compute", r"pull\.py:\d+: Method has no forward\(self, views\)"),
    "other arguments": (
        "backbone, instances, config, seed",
        "backbone",
        r"pull\.py:\d+: Method.__init__ can't be called as",
    ),
    "no module": ("Method(nn.Module)", "Method", r"pull\.py:\d+: Method is no class of torch.nn.Module"),
    "a preset that returns one": (
        'return Config(pairs="same-moment"), make_single_machine_settings()',
        "return Config()",
        r"pull\.py:\d+: near returns a Config; a preset returns",
    ),
    "a preset that fails": ('pairs="same-moment"', "pears=3", r"pull\.py:\d+: near fails as a preset: TypeError"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_mistakes_against_the_contract_are_sentences_with_a_line(own: Path, mistake: str) -> None:
    old, new, says = REFUSED[mistake]
    path = write_method(own, old, new).removesuffix(":near")
    with pytest.raises(InputError, match=says):
        load_preset(name_method(path))


def test_constants_of_a_config_need_no_type(own: Path) -> None:
    constants = "LIMIT = 3\n    _least = 0\n    shapes: ClassVar = (1, 2)\n    double = property(lambda c: 2 * c.force)"
    path = write_method(own, "force: float = 1.0", f"{constants}\n    force: float = 1.0")
    text = (own / "pull.py").read_text().replace("from dataclasses", "from typing import ClassVar\nfrom dataclasses")
    (own / "pull.py").write_text(text)
    assert load_preset(name_method(path))[0].double == 2.0


def test_names_that_lead_nowhere(own: Path) -> None:
    with pytest.raises(OwnCodeError, match=r"there is no file .*absent\.py"):
        name_method(str(own / "absent.py:near"))
    with pytest.raises(InputError, match="unknown preset 'nera'. Did you mean 'near'"):
        load_preset(name_method(str(own / "pull.py:nera")))
    with pytest.raises(OwnCodeError, match="there is no 'Smal' in .*net.py; it defines Small, Wide, number"):
        build_backbone(str(own / "net.py:Smal"))
    with pytest.raises(
        OwnCodeError, match=r"net\.py:15: backbone .*missing a required argument: 'width'; .*--backbone-options"
    ):
        build_backbone(str(own / "net.py:Wide"))
    with pytest.raises(OwnCodeError, match="unexpected keyword argument 'depth'; it takes .width."):
        build_backbone(str(own / "net.py:Small"), options={"depth": 3})
    with pytest.raises(
        OwnCodeError, match=r"is not a class or function that returns a torch.nn.Module \(.*net\.py:19\)"
    ):
        build_backbone(str(own / "net.py:number"))
    with pytest.raises(InputError, match="two files of this run are called pull.py"):
        other = write_files(own / "other", pull=METHOD + "\nSmall = 3\n")
        build_run_config(str(own / "pull.py:near"), {"backbone": str(other / "pull.py:Small")})


def test_views_and_augmentations_of_ones_own_make_the_views(own: Path) -> None:
    options = {
        "first_view": str(own / "edges.py:edges"),
        "augment": str(own / "crop.py:corner"),
        "second_view": "residual",
        "flip": False,
    }
    config = build_run_config("simclr", options).options
    assert (config.first_view, config.augment) == ("edges.py:edges", "crop.py:corner")
    spec = config.view_spec(32)
    assert spec.lead_in == 1 and config.view_spec(32).names == ("edges.py:edges", "residual")
    recipe, rows = config.recipe(spec, 0), torch.arange(16)
    frames = torch.randint(0, 256, (16, recipe.num_clips, 5, *spec.resize_hw, 3), dtype=torch.uint8)
    made = recipe(Clips(frames, rows, rows, torch.zeros(16), epoch=0)).tensors["view1"]
    clips = frames[:, 0].permute(0, 4, 1, 2, 3)[:, :, 1:].float() / 255
    both = [cut - cut.roll(1, dims=-1) for cut in (clips[..., :32, :32], clips[..., -32:, -32:])]
    chosen = [[bool(torch.allclose(made[i], one[i], atol=1e-6)) for one in both] for i in range(16)]
    assert all(sum(pair) >= 1 for pair in chosen) and {pair[0] for pair in chosen} == {
        True,
        False,
    }  # as their numbers say
    with pytest.raises(InputError, match="view '.*number' is a int; it must be a function"):
        build_run_config("simclr", {"first_view": str(own / "edges.py:number")}).options.view_spec(32).lead_in  # noqa: B018


def test_a_copy_is_used_only_where_the_original_is_gone_and_only_if_it_is_whole(own: Path, tmp_path: Path) -> None:
    name_method(str(own / "pull.py:near"))
    names, folder = {"method": "pull.py:near", "backbone": "tiny"}, tmp_path / "run"
    save_copies(folder, names)
    entry = json.loads((folder / "code" / "sources.json").read_text())["code"][0]
    assert (entry["kind"], entry["name"], list(entry["files"])) == (
        "method",
        "pull.py:near",
        ["pull.py", "strength.py"],
    )
    copy = folder / "code" / entry["folder"] / "pull.py"
    assert copy.read_text() == METHOD

    def load_again() -> list[str]:
        from unreel.own_code import loading

        loading._LOADED.clear()
        return load_copies(folder)

    assert load_again() == [] and get_loaded("pull.py", "method").sources.root == str(own)
    (own / "strength.py").write_text("def force_of(config):\n    return -1.0\n")
    notes = load_again()
    assert len(notes) == 1 and "is gone or was changed; the copy" in notes[0]
    assert force("pull.py:near") == 1.0 and get_loaded("pull.py", "method").sources.root == str(copy.parent)
    shutil.rmtree(own)
    assert len(load_again()) == 1 and force("pull.py:near") == 1.0
    copy.write_text(METHOD + "\n")
    with pytest.raises(
        CheckpointError, match=r"pull\.py is missing or was changed, and so is .*pull\.py; put back pull\.py"
    ):
        load_again()
    assert find_registered("pull.py") is None
    copy.write_text(METHOD)
    assert len(load_again()) == 1
    assert build_run_config("pull.py:near", {}).method == "pull.py:near"  # as a run names it


def test_members_are_found_by_dots_too(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own)
    code, small = get_member("net.Small", "backbone")
    assert code.reference == "net" and small.__name__ == "Small" and code.find_line("Small").endswith("net.py:5")
