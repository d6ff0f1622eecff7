"""FLOPs of a training step and the peak FLOP/s of a device, from which model FLOPs utilisation (MFU) follows.

MFU is the share of the device's published peak that the network's own arithmetic reaches; recomputed or wasted work
is not counted. A CPU has no published peak: the fastest float32 matrix product measured on it stands in.
Source: Chowdhery et al. 2022 (PaLM), appendix B.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count


class DevicePeak(NamedTuple):
    """Dense TFLOP/s of a device: bfloat16 and TF32 on its tensor cores, None without such cores; float32 elsewhere."""

    bf16: float | None
    tf32: float | None
    fp32: float


DATASHEET_SOURCE = "NVIDIA's data sheet of the {name}, dense figures (without sparsity)"
# Part of the device's name -> peak; the first match is used, so longer names come first.
DEVICE_PEAKS: dict[str, DevicePeak] = {
    "H200": DevicePeak(989.0, 495.0, 67.0),
    "H100 PCIe": DevicePeak(756.0, 378.0, 51.0),
    "H100 NVL": DevicePeak(835.0, 418.0, 60.0),
    "H100": DevicePeak(989.0, 495.0, 67.0),
    "A100": DevicePeak(312.0, 156.0, 19.5),
    "L40S": DevicePeak(362.0, 183.0, 91.6),
    "A10": DevicePeak(125.0, 62.5, 31.2),
    "L4": DevicePeak(121.0, 60.0, 30.3),
    "V100 SXM2": DevicePeak(None, None, 15.7),
    "T4": DevicePeak(None, None, 8.1),
}


class DeviceRate(NamedTuple):
    """A peak in FLOP/s, and where it was published or how it was measured."""

    flops_per_s: float
    source: str


def find_peak(device_name: str, precision: str, allow_tf32: bool) -> DeviceRate | None:
    """The published peak of a device for the run's precision; None if it is not in the table, as for every CPU."""
    parts = device_name.replace("-", " ").split()
    for name, peak in DEVICE_PEAKS.items():
        if all(part in parts for part in name.split()):
            kind = "bf16" if precision.startswith("bf16") else "tf32" if allow_tf32 and peak.tf32 else "fp32"
            tflops: float | None = getattr(peak, kind)
            return DeviceRate(tflops * 1e12, f"{kind}, {DATASHEET_SOURCE.format(name=name)}") if tflops else None
    return None


def measure_cpu_peak(size: int = 1024, rounds: int = 5) -> DeviceRate:
    """FLOP/s of the fastest float32 product of two `size` x `size` matrices with torch's present number of threads.

    As a matrix product and as a 1x1 convolution: torch gives them to different libraries, and which is faster depends
    on the processor.
    """
    a, b = torch.rand(size, size), torch.rand(size, size)
    products: list[Callable[[], object]] = [lambda: a @ b, lambda: F.conv2d(a[None, :, :, None], b[:, :, None, None])]
    with torch.inference_mode():
        fastest_s = min(measure_seconds(product) for product in products for _ in range(rounds))
    threads = torch.get_num_threads()
    rate, plural = 2 * size**3 / fastest_s, "s" if threads > 1 else ""
    source = f"a float32 matrix product measured here, {rate / 1e9:.0f} GFLOP/s with {threads} thread{plural}"
    return DeviceRate(rate, source)


def measure_seconds(work: Callable[[], object]) -> float:
    """Wall seconds of one call on the CPU."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


class StepFlops(NamedTuple):
    """FLOPs of a step; a multiplication and an addition count as two."""

    forward: int
    backward: int

    @property
    def total(self) -> int:
        return self.forward + self.backward


def count_flops(forward: Callable[[], torch.Tensor]) -> StepFlops:
    """FLOPs of the convolutions and matrix products of `forward`, which returns a scalar, and of its gradient.

    Element-wise work (normalisation, activations, losses) is not counted, as is usual for MFU. The network must run
    uncompiled.
    """
    mapping: Any = {torch.ops.aten.convolution_backward: count_convolution_backward}
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        loss = forward()
        forward_flops = counter.get_total_flops()
        loss.backward()
    return StepFlops(forward_flops, counter.get_total_flops() - forward_flops)


def count_convolution_backward(
    grad_out_shape: Sequence[int],
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    output_mask: Sequence[bool],
    out_shape: Any = None,
) -> int:
    """FLOPs of the forward pass, once for each of the two gradients that is computed.

    Torch's own formula for the gradient of the weights is wrong for grouped convolutions: it counts dense ones.
    """
    once: int = conv_flop_count(list(x_shape), list(weight_shape), list(grad_out_shape), transposed=transposed)
    return once * (bool(output_mask[0]) + bool(output_mask[1]))
