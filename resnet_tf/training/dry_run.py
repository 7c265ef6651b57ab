"""A dry run: the network, steps and learning rates of a training, and its time from a few timed steps."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from resnet_tf.datasets import sources
from resnet_tf.format import duration
from resnet_tf.models.cost import describe_stages, network_size
from resnet_tf.presets.schema import Preset
from resnet_tf.runs.run import RUNS
from resnet_tf.training.device import device_description, warn_of_xla
from resnet_tf.training.plan import Plan, make_plans, step_errors_in_one_line
from resnet_tf.training.schedule_plot import plot_schedule
from resnet_tf.training.step import check_backend
from resnet_tf.transfer import describe_start, source_of, start_from

TIMED_STEPS = 8
FASTER = 1.05  # a smaller ratio is within the noise of so few steps
OTHER = {"float32": "mixed_bfloat16", "mixed_bfloat16": "float32"}


@dataclass(frozen=True, eq=False)
class TimedPlan:
    """A phase, and the time its steps take.

    Attributes:
        first, later: seconds of its first step, which includes tracing, and of a later one.
    """

    plan: Plan
    first: float
    later: float

    @property
    def seconds(self) -> float:
        """Of the whole phase, without validation, saving and waiting for images."""
        return self.first + (self.plan.total_steps - 1) * self.later


def dry_run(
    preset: Preset, data: str | None = None, seed: int = 0, figure: str | None = None, runs: str | Path = RUNS
) -> list[TimedPlan]:
    """Prints what training a preset would do and cost; returns its phases, timed.

    Args:
        figure: a .png, .pdf or .svg file for a plot of the learning rate.
        runs: the folder in which a run is looked for whose weights the training starts from.

    Raises:
        UserError: as a training would, for its images, its recipe and the weights that it starts from.
    """
    check_backend()
    source = source_of(preset, runs)
    dataset = sources.load(preset.data.dataset, data)
    plans = make_plans(preset, dataset, seed)
    print(f"preset {preset.name}: {preset.title}")
    print(describe_stages(network_size(preset.model, preset.data.image_size, dataset.classes)))
    held_out = len(plans[0].validation.split) if plans[0].validation else 0
    print(f"images   {dataset.title}")
    print(f"         {len(plans[0].batches.split):,} training, {held_out:,} validation, {len(dataset.test):,} test")
    if source is not None:
        print(describe_start(start_from(source, plans[0].build_network(), preset, dataset, seed).about))
    print(f"device   {device_description()}")
    warn_of_xla(preset)
    timed = []
    for number, plan in enumerate(plans, start=1):
        if len(plans) > 1:
            print(f"phase {number} of {len(plans)}, {plan.preset.data.image_size} px")
        timed.append(_print_phase(plan))
    print(f"in all   {duration(_total(timed))} of steps, without validation, saving and waiting for images")
    if figure is not None:
        plot_schedule(plans, figure, f"preset {preset.name}: {preset.title}")
        print(f"figure   {figure}")
    return timed


def compare_precisions(timed: Sequence[TimedPlan]) -> None:
    """Prints how long a training would take in the other precision, from fewer timed steps, and how to choose it."""
    others = []
    for own in timed:
        train = own.plan.preset.train
        preset = replace(own.plan.preset, train=replace(train, precision=OTHER[train.precision]))
        others.append(_timed(replace(own.plan, preset=preset), TIMED_STEPS // 2))
    ratio = round(_total(timed) / _total(others), 2)
    name = others[0].plan.preset.train.precision
    print(f"{name.removeprefix('mixed_'):<8} {duration(_total(others))}, {ratio:.2f} times as fast", end="")
    print(f": --set train.precision={name}" if ratio >= FASTER else "")


def _total(timed: Sequence[TimedPlan]) -> float:
    return sum(each.seconds for each in timed)


def _print_phase(plan: Plan) -> TimedPlan:
    """Prints a phase's steps, learning rates and speed."""
    epochs, batch = plan.total_steps / plan.steps_per_epoch, plan.preset.train.batch_size
    print(f"steps    {plan.total_steps:,} of batch {batch} ({epochs:.4g} epochs of {plan.steps_per_epoch:,})")
    print(f"schedule {plan.preset.schedule.describe()}")
    for step in sorted({round(place) for place in np.linspace(0, plan.total_steps - 1, 6)}):
        print(f"         step {step:>9,}  epoch {step / plan.steps_per_epoch:>7.1f}  {plan.learning_rates[step]:.3g}")
    timed = _timed(plan, TIMED_STEPS)
    speed = f"{timed.later:.3f} s a step, {batch / timed.later:,.0f} images/s"
    print(f"time     first step {timed.first:.1f} s, then {speed}")
    return timed


def _timed(plan: Plan, steps: int) -> TimedPlan:
    """Times a phase's first step and, as their median, `steps` later ones."""
    step, seconds = plan.build_step(), []
    with step_errors_in_one_line(plan):
        for images, labels in plan.batches.dataset(0, min(plan.total_steps, 1 + steps)):
            began = time.monotonic()
            step(images, labels)
            seconds.append(time.monotonic() - began)
    return TimedPlan(plan, seconds[0], float(np.median(seconds[1:] or seconds)))
