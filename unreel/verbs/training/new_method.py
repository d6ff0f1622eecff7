"""Write the file of a new method, and its test."""

import importlib.metadata
import keyword
import sys
from pathlib import Path

from unreel.errors import InputError
from unreel.io.atomic_write import atomic_write_text, disk_errors
from unreel.methods.registry import find_methods

METHOD_TEMPLATE = '''"""NAME: clips of a video find each other: L = - mean_i log softmax_j(z_i . z'_j / t) at j = i."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from unreel.models.pooling import count_features, pool_views
from unreel.settings import make_single_machine_settings
from unreel.types import StepOutput
from unreel.views.two_views import TwoViewOptions


@dataclass(frozen=True)
class Config(TwoViewOptions):  # each field is a flag; clips, views and augmentation are inherited
    temperature: float = 0.1
    """t. This text is the help of --temperature."""


def NAME():
    """Two clips of a video, augmented as in CVRL: the values with which it begins."""
    return Config(pairs="independent", augment="cvrl"), make_single_machine_settings()


PRESETS = {"NAME": NAME}


class Method(nn.Module):
    def __init__(self, backbone, instances, config, seed):
        super().__init__()
        self.backbone, self.config = backbone, config
        self.head = nn.Linear(count_features(backbone), 128)

    def forward(self, views):  # views.tensors: "view1" and "view2", each (B, 3, T, H, W)
        z1, z2 = (normalize(self.head(f), dim=1) for f in pool_views(self.backbone, views.tensors).values())
        scores, target = z1 @ z2.T / self.config.temperature, torch.arange(len(z1), device=z1.device)
        return StepOutput(cross_entropy(scores, target), {"top1": (scores.argmax(1) == target).float().mean()})

    def after_step(self): ...  # comes after each change of the weights: the place of teachers and queues
'''

TEST_TEMPLATE = '''"""The loss of NAME against its formula, that it learns, and that it trains: pytest test_NAME.py"""

import math
from pathlib import Path

import NAME
import torch
from torch import nn

import unreel
from unreel.types import Views


class Network(nn.Module):
    """A network of one layer; `unreel.pretrain` takes it too."""

    def __init__(self) -> None:
        super().__init__()
        self.num_features = 6
        self.conv = nn.Conv3d(3, 6, 3, stride=2, padding=1)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.conv(clips).relu()


def make_batch() -> tuple[NAME.Method, Views]:
    """A method and a batch of four clips, each of a colour, with two views each; always the same."""
    torch.manual_seed(0)
    clips, index_B = torch.rand(4, 3, 1, 1, 1) + 0.1 * torch.rand(4, 3, 4, 16, 16), torch.arange(4)
    views = Views({"view1": clips, "view2": clips.flip(-1)}, index_B, index_B, index_B.double(), epoch=0)
    return NAME.Method(Network(), [], NAME.Config(), seed=0), views


def test_the_loss_is_that_of_the_formula() -> None:
    """One pair of clips at a time, in float64."""
    method, views = make_batch()
    method, clips = method.double().eval(), {name: view.double() for name, view in views.tensors.items()}
    z = {}
    for name, view in clips.items():
        vectors = [method.head(method.backbone(clip[None]).mean((2, 3, 4)))[0].detach() for clip in view]
        z[name] = [vector / vector.norm() for vector in vectors]
    terms = []
    for i, mine in enumerate(z["view1"]):
        exponents = [math.exp(float(mine @ other) / method.config.temperature) for other in z["view2"]]
        terms.append(-math.log(exponents[i] / sum(exponents)))
    loss = method(Views(clips, views.index_B, views.video_B, views.start_s_B, epoch=0)).loss
    assert math.isclose(loss.item(), sum(terms) / len(terms), rel_tol=1e-9)


def test_steps_on_one_batch_lower_the_loss() -> None:
    """By how much depends on the loss: the last five are lower, on the whole, than the first five."""
    method, views = make_batch()
    optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        loss = method(views).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < sum(losses[:5])


def test_it_trains(tmp_path: Path) -> None:
    options = {"steps": 2, "batch_size": 4, "size": 16, "num_frames": 4, "workers": 0, "device": "cpu"}
    outcome = unreel.pretrain("synthetic://all", tmp_path, method=NAME, quiet=True, backbone=Network, **options)
    assert outcome["step"] == 2
'''


def new_method(name: str, out: str | Path = ".") -> tuple[Path, Path]:
    """Write the file of a new method, which trains as it is, and its test.

    Args:
        name: what the method is called: its file, and its preset.
        out: folder to write NAME.py and test_NAME.py into.

    Returns:
        The two files.

    Raises:
        InputError: the name can't be used, or a file is there already.
        DiskError: `out` can't be written.

    >>> method, test = unreel.new_method("tubelet", out)
    >>> method.name, test.name
    ('tubelet.py', 'test_tubelet.py')
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise InputError(f"'{name}' can't be the name of a method; use lower case letters, digits and _, e.g. tubelet")
    if name in find_methods():
        raise InputError(f"unreel has a method '{name}' already; choose another name")
    if name in sys.stdlib_module_names or name in importlib.metadata.packages_distributions():
        raise InputError(f"Python has a module '{name}' already, which the file would hide; choose another name")
    folder = Path(out)
    paths = folder / f"{name}.py", folder / f"test_{name}.py"
    for path in paths:
        if path.exists():
            raise InputError(f"{path} is there already, and was not changed; choose another name or --out")
    with disk_errors(folder, "the method can't be written"):
        folder.mkdir(parents=True, exist_ok=True)
        for path, template in zip(paths, (METHOD_TEMPLATE, TEST_TEMPLATE), strict=True):
            atomic_write_text(path, template.replace("NAME", name))
    return paths
