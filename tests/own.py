"""Code of one's own for tests: a method of a few lines, a network, a view and an augmentation, as files."""

from pathlib import Path
from typing import Any

METHOD = '''
"""Pull: the two views of an instance are pulled together."""

from dataclasses import dataclass

from torch import nn

from strength import force_of
from unreel.settings import make_single_machine_settings
from unreel.types import StepOutput
from unreel.views.two_views import TwoViewOptions


@dataclass(frozen=True)
class Config(TwoViewOptions):
    """Options of pull."""

    force: float = 1.0
    """How hard."""

    def check(self, settings, num_instances):
        pass


def near():
    """Views of one moment."""
    return Config(pairs="same-moment"), make_single_machine_settings()


PRESETS = {"near": near}


class Method(nn.Module):
    def __init__(self, backbone, instances, config, seed):
        super().__init__()
        self.backbone, self.config = backbone, config

    def forward(self, views):
        a, b = (self.backbone(views.tensors[n]).mean(dim=(2, 3, 4)) for n in ("view1", "view2"))
        return StepOutput(force_of(self.config) * (a - b).square().mean(), {})

    def after_step(self):
        pass
'''

STRENGTH = """
def force_of(config):
    return config.force
"""

NETWORK = """
from torch import nn


class Small(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv = nn.Conv3d(3, width, 3, stride=2, padding=1)

    def forward(self, clips):
        return self.conv(clips).relu()


class Wide(nn.Module):
    def __init__(self, width):
        super().__init__()


def number():
    return 3
"""

EDGES = """
from unreel.views.view_spec import View


def edges(clips, spec):
    clips = clips[:, :, spec.lead_in :]
    return clips - clips.roll(1, dims=-1)


motion = View(lambda clips, spec: clips.diff(dim=2), looks_back=True, shows_motion=True)
number = 3
"""

CROP = """
def corner(clips, draw_uniforms, size):
    up = draw_uniforms("corner", 1)[:, 0] < 0.5
    cut = clips[..., :size, :size].clone()
    cut[up] = clips[up][..., -size:, -size:]
    return cut
"""


def write_files(folder: Path, **changes: str) -> Path:
    """pull.py (a method), strength.py (which it imports), net.py, edges.py and crop.py; texts by stem replace them."""
    folder.mkdir(parents=True, exist_ok=True)
    texts: dict[str, Any] = {"pull": METHOD, "strength": STRENGTH, "net": NETWORK, "edges": EDGES, "crop": CROP}
    for stem, text in (texts | changes).items():
        (folder / f"{stem}.py").write_text(text)
    return folder


def write_method(folder: Path, old: str = "", new: str = "") -> str:
    """pull.py in which `old` is `new`; returns its name with its preset."""
    assert old in METHOD
    return f"{write_files(folder, pull=METHOD.replace(old, new) if old else METHOD) / 'pull.py'}:near"
