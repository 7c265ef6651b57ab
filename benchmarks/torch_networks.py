"""Residual networks in torch, written after torchvision's `resnet.py` and section 4.2 of the paper; no code of ours."""

import re
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Unit(nn.Module):
    """BasicBlock and Bottleneck; `option_a` subsamples and appends zero channels, otherwise a projection.

    Args:
        groups: how many the 3x3 convolution of a bottleneck has, and their width where `width` is 64.
    """

    def __init__(self, kind, inputs, width, strides, option_a, slope, groups=(1, 64), norm=nn.BatchNorm2d):
        super().__init__()
        outputs = width * (4 if kind == "bottleneck" else 1)
        if kind == "basic":
            kernels = [(3, inputs, width, strides, 1), (3, width, width, 1, 1)]
        else:
            inner = int(width * (groups[1] / 64.0)) * groups[0]
            kernels = [(1, inputs, inner, 1, 1), (3, inner, inner, strides, groups[0]), (1, inner, outputs, 1, 1)]
        for number, (kernel, before, after, stride, parts) in enumerate(kernels, start=1):
            conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=parts, bias=False)
            self.add_module(f"conv{number}", conv)
            self.add_module(f"bn{number}", norm(after))
        self.last, self.strides, self.missing = len(kernels), strides, outputs - inputs
        self.activate = _activation(slope)
        self.downsample = None
        if (strides > 1 or inputs != outputs) and not option_a:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, strides, bias=False), norm(outputs))

    def forward(self, x):
        y = x
        for number in range(1, self.last + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            if number < self.last:
                y = self.activate(y)
        if self.downsample is not None:
            x = self.downsample(x)
        elif self.strides > 1 or self.missing:
            x = functional.pad(x[:, :, :: self.strides, :: self.strides], (0, 0, 0, 0, 0, self.missing))
        return self.activate(x + y)


class Transition(nn.Module):
    """Convolution, max-pooling, which halves the picture, norm and activation."""

    def __init__(self, inputs: int, outputs: int, slope: float, norm=nn.BatchNorm2d):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), norm(outputs)
        self.activate = _activation(slope)

    def forward(self, x):
        return self.activate(self.bn(functional.max_pool2d(self.conv(x), 2)))


class TorchResNet(nn.Module):
    """Input [batch, 3, height, width], normalised. `slope` 0 is ReLU, None GELU; `pooled`: with each `Transition`.

    Args:
        unit: further arguments of every `Unit`: `groups`, `norm`; the norm is that of stem and transitions too.
    """

    def __init__(
        self, kind, stage_sizes, widths, stem, stem_width, classes, option_a=False, slope=0.0, pooled=False, **unit
    ):
        super().__init__()
        norm = unit.get("norm", nn.BatchNorm2d)
        conv, self.pool = {
            "3x3": (nn.Conv2d(3, stem_width, 3, 1, 1, bias=False), nn.Identity()),
            "7x7-pool": (nn.Conv2d(3, stem_width, 7, 2, 3, bias=False), nn.MaxPool2d(3, 2, 1)),
            "4x4-valid-pool": (nn.Conv2d(3, stem_width, 4, 1, 0, bias=False), nn.MaxPool2d(2, 2)),
        }[stem]
        self.conv1, self.bn1, self.activate = conv, norm(stem_width), _activation(slope)
        inputs, transitions, stages = stem_width, [], []
        for stage, (units, width) in enumerate(zip(stage_sizes, widths, strict=True)):
            layers, outputs = [], width * (4 if kind == "bottleneck" else 1)
            transitions.append(Transition(inputs, outputs, slope, norm) if pooled else nn.Identity())
            inputs = outputs if pooled else inputs
            for number in range(units):
                strides = 2 if stage and not number and not pooled else 1
                layers.append(Unit(kind, inputs, width, strides, option_a, slope, **unit))
                inputs = outputs
            stages.append(nn.Sequential(*layers))
        self.transitions, self.layers = nn.ModuleList(transitions), nn.ModuleList(stages)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.pool(self.activate(self.bn1(self.conv1(x))))
        for transition, stage in zip(self.transitions, self.layers, strict=True):
            x = stage(transition(x))
        return self.fc(x.mean((2, 3)))


def _activation(slope: float | None):
    if slope is None:
        return functional.gelu
    return partial(functional.leaky_relu, negative_slope=slope) if slope else functional.relu


def torch_name(path: str) -> str:
    """Translates a Keras weight's path: "stage2_unit1_shortcut_norm/scale" -> "layers.1.0.downsample.1.weight"."""
    layer, weight = path.split("/")
    words = {"scale": "weight", "kernel": "weight", "offset": "bias", "running_variance": "running_var"}
    place = ""
    if found := re.match(r"stage(\d+)_unit(\d+)_(.+)", layer):
        place = f"layers.{int(found[1]) - 1}.{int(found[2]) - 1}."
        layer = found[3]
    if found := re.match(r"stage(\d+)_transition(.*)", layer):
        place, layer = f"transitions.{int(found[1]) - 1}.", "bn" if found[2] else "conv"
    outside = {"stem": "conv1", "stem_norm": "bn1", "head": "fc"}
    inside = {"shortcut": "downsample.0", "shortcut_norm": "downsample.1"}
    layer = {**outside, **inside}.get(layer, layer.replace("norm", "bn"))
    return f"{place}{layer}.{words.get(weight, weight)}"


def as_torch(array: np.ndarray) -> torch.Tensor:
    """Returns a kernel in torch's order: [height, width, in, out] becomes [out, in, height, width]."""
    order = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim, (0,))
    return torch.tensor(np.transpose(array, order).copy())


def as_ours(tensor: torch.Tensor) -> np.ndarray:
    """Returns a kernel in Keras's order: [out, in, height, width] becomes [height, width, in, out]."""
    order = {4: (2, 3, 1, 0), 2: (1, 0)}.get(tensor.ndim, (0,))
    return np.transpose(tensor.detach().numpy(), order)


def copy_weights(model, network: TorchResNet) -> None:
    """Copies a Keras model's weights into the network; each side must have just what the other has."""
    weights = [weight for weight in model.weights if not weight.path.startswith("normalization/")]
    state = {torch_name(weight.path): as_torch(np.asarray(weight)) for weight in weights}
    assert len(state) == len(weights)
    left = network.load_state_dict(state, strict=False)
    assert not left.unexpected_keys, left
    assert all(name.endswith("num_batches_tracked") for name in left.missing_keys), left
