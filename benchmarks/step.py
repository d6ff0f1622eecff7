"""Time of a training step of each method against the bare network on the same clips, in alternation.

    python benchmarks/step.py --backbone tiny --size 64 --num-frames 8 [--methods trio iic cvrl]

The step is views, network, loss, memory or teacher, and optimiser, without decoding. The bare network processes as many
clips forward and backward as the method trains on, and as many forward only as its teacher or memory sees; the calls of
the network in a step are counted. A ratio of 0.9 means that the method costs 11 % on top of its network.
"""

import dataclasses
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import tyro
from timing import measure_seconds

from unreel.methods.registry import find_methods, load_method_module, load_preset
from unreel.models.registry import build_backbone
from unreel.types import Clips, Instance


@dataclasses.dataclass
class Args:
    """What to time."""

    methods: tuple[str, ...] = ()
    backbone: str = "tiny"
    size: int = 64
    num_frames: int = 8
    batch_size: int = 16
    rounds: int = 7
    device: str = "cpu"


def count_passes(method: torch.nn.Module, step: Callable[[], None]) -> list[tuple[int, bool]]:
    """(clips, with gradient?) of each call of the network, the teacher's copy included, in one step."""
    calls: list[tuple[int, bool]] = []

    def record_call(module: torch.nn.Module, inputs: Any, result: Any) -> None:
        calls.append((len(inputs[0]), torch.is_grad_enabled()))

    networks = [module for name, module in method.named_modules() if name.split(".")[-1] == "backbone"]
    hooks = [network.register_forward_hook(record_call) for network in networks]
    step()
    for hook in hooks:
        hook.remove()
    return calls


class MethodRates(NamedTuple):
    """Clips of an instance that are trained on and only seen, calls of the network, the step, bare network / step."""

    trained: float
    seen: float
    num_calls: int
    step_s: float
    ratios: list[float]


def measure_method(name: str, args: Args) -> MethodRates:
    """Steps of one method on random clips, in alternation with its bare network."""
    config, settings = load_preset(name)
    if settings.num_frames == 1:  # trained on frames, with a network that has no time
        args = dataclasses.replace(args, backbone=f"{args.backbone}-2d", num_frames=1)
    if getattr(config, "queue_size", 0):
        config = dataclasses.replace(config, queue_size=64 * args.batch_size)
    spec = config.view_spec(args.size)
    recipe = config.recipe(spec, 0)
    instances = [Instance(str(i), i, 0.0, 1.0) for i in range(1000)]
    torch.manual_seed(0)
    method = (
        load_method_module(name).Method(build_backbone(args.backbone), instances, config, 0).to(args.device).train()
    )
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=1e-4, fused=True)
    bare = build_backbone(args.backbone).to(args.device)
    shape = (args.batch_size, recipe.num_clips, args.num_frames + spec.lead_in, *spec.resize_hw, 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, device=args.device)
    index = torch.arange(args.batch_size, device=args.device)
    clips = Clips(frames, index, index, index.float(), epoch=0, draw_B=index.cpu())

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.device == "cuda"):
            loss = method(recipe(clips)).loss
        loss.backward()
        optimizer.step()
        method.after_step()

    calls = count_passes(method, step)
    trained, seen = (sum(n for n, grad in calls if grad is wanted) for wanted in (True, False))
    random = torch.rand(max(trained, seen), 3, args.num_frames, args.size, args.size, device=args.device)

    def network() -> None:
        bare.zero_grad(set_to_none=True)
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.device == "cuda"):
            bare(random[:trained]).mean().backward()
            with torch.no_grad():
                bare(random[:seen]) if seen else None

    times_s = [
        (measure_seconds(network, args.device), measure_seconds(step, args.device)) for _ in range(args.rounds + 2)
    ][2:]
    ratios = sorted(alone / whole for alone, whole in times_s)
    step_s = statistics.median(whole for _, whole in times_s)
    return MethodRates(trained / args.batch_size, seen / args.batch_size, len(calls), step_s, ratios)


def format_row(name: str, rates: MethodRates) -> str:
    """A row of the table."""
    spread = f"{statistics.median(rates.ratios):.2f} ({rates.ratios[0]:.2f} to {rates.ratios[-1]:.2f})"
    per_instance = f"{rates.trained:g} + {rates.seen:g}"
    return f"| `{name}` | {per_instance} | {rates.num_calls} | {1000 * rates.step_s:.0f} | {spread} |"


def main(args: Args) -> None:
    where = torch.cuda.get_device_name() if args.device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{args.backbone}, {args.num_frames} x {args.size} x {args.size}, batch {args.batch_size}; {where}\n")
    print("| method | clips of an instance, trained on + seen | network calls | step, ms | bare network / step |")
    print("|---|---|---|---|---|")
    for name in args.methods or sorted(find_methods()):
        print(format_row(name, measure_method(name, args)), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
