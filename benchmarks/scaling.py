"""What a preset costs on many devices, worked out on paper: `python -m benchmarks.scaling --images-per-second 2500`.

Nothing is measured here. From a device's speed, the network between the devices and the speed of decoding it follows
how long a step computes, how long it sends gradients (a ring: every device sends and receives 2 (n - 1) / n of them)
and batch norm's sums (`MESSAGES_PER_NORM`), how many cores must decode and how fast files must be read.
"""

import argparse
import sys
from dataclasses import dataclass

from resnet_tf.cli.command import run_command
from resnet_tf.errors import UserError
from resnet_tf.format import markdown_table
from resnet_tf.models.cost import network_size
from resnet_tf.presets.catalogue import DATASETS
from resnet_tf.presets.preset_files import load_preset
from resnet_tf.presets.schema import Preset

HEADINGS = ("devices", "images/s", "computing", "gradients", "norms", "hours", "cores that decode", "MB/s read")
# The mean, then the variance, which needs the mean; and the gradient of each.
MESSAGES_PER_NORM = 4


@dataclass(frozen=True)
class Machine:
    """What a device and its surroundings can do.

    Attributes:
        images_per_second: of the preset's network, training, at a batch that fills the device.
        gigabytes_per_second: that a device sends and receives at the same time, between any two.
        latency: of one message around all devices, in seconds.
        decoded_per_second: training images that a core reads, decodes and crops.
        bytes_per_image: of a file.
    """

    images_per_second: float
    gigabytes_per_second: float
    latency: float
    decoded_per_second: float
    bytes_per_image: float


@dataclass(frozen=True)
class Cost:
    """A training on so many devices; seconds are of one step, hours of the whole training."""

    devices: int
    computing: float
    gradients: float
    norms: float
    images_per_second: float
    hours: float
    cores: float
    megabytes_per_second: float


def cost(preset: Preset, machine: Machine, devices: int) -> Cost:
    """Works a training out; computing and sending are added up, which overlapping would better.

    Raises:
        UserError: the preset has several phases, of other sizes and lengths each, or images of unknown number.
    """
    if preset.phases:
        raise UserError(
            f"a training of one phase is worked out. Received: preset {preset.name} of {len(preset.phases)}.",
            "several-phases",
        )
    about = DATASETS[preset.data.dataset]
    if about.train_size is None:
        raise UserError(
            f"a data set of known size is worked out. Received: {preset.data.dataset}.", "data-size-unknown"
        )
    size = network_size(preset.model, preset.data.image_size, about.classes)
    batch = preset.train.batch_size
    computing = batch / devices / machine.images_per_second
    shares = 2 * (devices - 1) / devices
    gradients = shares * 4 * size.parameters / (1e9 * machine.gigabytes_per_second)
    norms = MESSAGES_PER_NORM * size.norms * machine.latency if devices > 1 else 0.0
    rate = batch / (computing + gradients + norms)
    images = about.train_size - preset.data.validation_size
    return Cost(
        devices,
        computing,
        gradients,
        norms,
        rate,
        preset.train.total_steps(images // batch) * batch / rate / 3600,
        rate / machine.decoded_per_second,
        rate * machine.bytes_per_image / 1e6,
    )


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="imagenet-resnet34-exp3", help="a preset (default: imagenet-resnet34-exp3)")
    parser.add_argument("--images-per-second", type=float, required=True, help="of one device")
    parser.add_argument("--gigabytes-per-second", type=float, default=25.0, help="between devices (default: 25)")
    parser.add_argument("--latency", type=float, default=30e-6, help="of a small all-reduce, seconds (default: 3e-5)")
    parser.add_argument("--decoded-per-second", type=float, default=150.0, help="images a core (default: 150)")
    parser.add_argument("--bytes-per-image", type=float, default=110e3, help="of a file (default: 110,000)")
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 8, 64], help="how many (default: 1 8 64)")
    options = parser.parse_args(arguments)
    machine = Machine(
        options.images_per_second,
        options.gigabytes_per_second,
        options.latency,
        options.decoded_per_second,
        options.bytes_per_image,
    )
    preset = load_preset(options.preset)
    print(markdown_table(HEADINGS, [cells(cost(preset, machine, devices)) for devices in options.devices]))


def cells(found: Cost) -> list[str]:
    """Returns a cost under `HEADINGS`."""
    return [
        str(found.devices),
        f"{found.images_per_second:,.0f}",
        *(f"{1000 * seconds:.1f} ms" for seconds in (found.computing, found.gradients, found.norms)),
        f"{found.hours:.1f}",
        f"{found.cores:.0f}",
        f"{found.megabytes_per_second:,.0f}",
    ]


if __name__ == "__main__":
    sys.exit(run_command(main))
