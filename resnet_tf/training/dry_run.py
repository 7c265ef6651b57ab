"""What a training would be, without doing it: network, steps, learning rates, and time from a few timed steps."""

import time

import numpy as np

from resnet_tf.datasets import sources
from resnet_tf.format import duration
from resnet_tf.models.cost import describe_stages, network_size
from resnet_tf.presets.schema import Preset
from resnet_tf.training.device import device_description, warn_of_xla
from resnet_tf.training.plan import Plan, make_plans
from resnet_tf.training.schedule_plot import PlannedPhase, plot_schedule

TIMED_STEPS = 8


def dry_run(
    preset: Preset,
    data: str | None = None,
    seed: int = 0,
    figure: str | None = None,
) -> None:
    """Says what training a preset would do and cost; trains nothing.

    Args:
        figure: a .png, .pdf or .svg file that takes the curve of the learning rate.

    Raises:
        UserError: as a training would, for its images.
    """
    dataset = sources.load(preset.data.dataset, data)
    plans = make_plans(preset, dataset, seed)
    print(f"preset {preset.name}: {preset.title}")
    print(describe_stages(network_size(preset.model, preset.data.image_size, dataset.classes)))
    held_out = len(plans[0].validation.split) if plans[0].validation else 0
    print(f"images   {dataset.title}")
    print(f"         {len(plans[0].batches.split):,} training, {held_out:,} validation, {len(dataset.test):,} test")
    print(f"device   {device_description()}")
    warn_of_xla(preset)
    seconds = 0.0
    for number, plan in enumerate(plans, start=1):
        if len(plans) > 1:
            print(f"phase {number} of {len(plans)}, {plan.preset.data.image_size} px")
        seconds += _tell_phase(plan)
    print(f"in all   {duration(seconds)} of training, without validation and saving")
    if figure is not None:
        plot_schedule([_planned(plan) for plan in plans], figure, f"preset {preset.name}: {preset.title}")
        print(f"figure   {figure}")


def _planned(plan: Plan) -> PlannedPhase:
    rate = plan.preset.optimizer.learning_rate
    return PlannedPhase(plan.preset.schedule, rate, plan.total_steps, plan.steps_per_epoch)


def _tell_phase(plan: Plan) -> float:
    """Says a phase's steps, rates and speed; returns the seconds it would take."""
    epochs = plan.total_steps / plan.steps_per_epoch
    batch = plan.preset.train.batch_size
    print(f"steps    {plan.total_steps:,} of batch {batch} ({epochs:.4g} epochs of {plan.steps_per_epoch:,})")
    print(f"rate     {plan.preset.schedule.describe()}")
    for step in landmarks(plan):
        print(f"         step {step:>9,}  epoch {step / plan.steps_per_epoch:>7.1f}  {plan.rates[step]:.3g}")
    first, step_seconds = timed_steps(plan)
    print(f"time     first step {first:.1f} s, then {step_seconds:.3f} s a step, {batch / step_seconds:,.0f} images/s")
    return first + (plan.total_steps - 1) * step_seconds


def landmarks(plan: Plan, most: int = 6) -> list[int]:
    """Returns the steps that tell the schedule's shape: evenly spread, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(0, plan.total_steps - 1, most)})


def timed_steps(plan: Plan) -> tuple[float, float]:
    """Returns seconds of the first step (tracing included) and the median of the steps after it."""
    step, seconds = plan.build_step(), []
    for images, labels in plan.batches.dataset(0, min(plan.total_steps, 1 + TIMED_STEPS)):
        began = time.monotonic()
        step(images, labels)
        seconds.append(time.monotonic() - began)
    return seconds[0], float(np.median(seconds[1:] or seconds))
