"""The plot of the learning rate, read back as pixels."""

from types import SimpleNamespace

import numpy as np
from PIL import Image

from resnet_tf.presets.schedule import CosineRestarts, Exponential, Plateau, Warmup
from resnet_tf.training.schedule_plot import plot_schedule


def planned(schedule, learning_rate, steps, steps_per_epoch) -> SimpleNamespace:
    """Returns what the plot reads of a `Plan`."""
    rates = schedule.rates(learning_rate, steps, steps_per_epoch)
    preset = SimpleNamespace(schedule=schedule, optimizer=SimpleNamespace(learning_rate=learning_rate))
    return SimpleNamespace(preset=preset, total_steps=steps, steps_per_epoch=steps_per_epoch, learning_rates=rates)


def drawn(plans, path) -> np.ndarray:
    """Returns the plot of the phases, int [height, width, RGB]."""
    plot_schedule(plans, path, title="a title")
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    return np.asarray(Image.open(path).convert("RGB"), int)


def test_each_phase_has_its_own_colour(tmp_path):
    phases = [
        planned(CosineRestarts(period_epochs=2, peak_decay=0.5), 0.1, 40, 4),
        planned(Exponential(lr_decay=0.9, warmup=Warmup(steps=3)), 0.01, 12, 4),
    ]
    orange = [(abs(drawn(phases[:n], tmp_path / "a.png") - [0xD5, 0x5E, 0x00]).sum(-1) < 30).sum() for n in (1, 2)]
    assert orange[0] == 0
    assert orange[1] > 100


def test_the_suffix_is_the_format(tmp_path):
    plot_schedule([planned(Plateau(), 0.1, 40, 4)], tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF-")


def test_the_levels_of_a_plateau_are_shown(tmp_path):
    """Long blue lines, counted from the top: the plan and three falls below it."""
    image = drawn([planned(Plateau(), 0.1, 40, 4)], tmp_path / "a.png")
    is_line = ((image[..., 2] - image[..., 0]) > 40).sum(1) > 300
    assert np.count_nonzero(np.diff(is_line.astype(int)) == 1) == 4
