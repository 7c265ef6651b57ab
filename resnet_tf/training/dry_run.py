"""A dry run: the network, steps and learning rates of a training, and its time from a few timed steps."""

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


def dry_run(preset: Preset, data: str | None = None, seed: int = 0, figure: str | None = None) -> None:
    """Prints what training a preset would do and cost.

    Args:
        figure: a .png, .pdf or .svg file for a plot of the learning rate.

    Raises:
        UserError: as a training would, for its images and its recipe.
    """
    dataset = sources.load(preset.data.dataset, data)
    plans = make_plans(preset, dataset, seed)
    print(f"preset {preset.name}: {preset.title}")
    print(describe_stages(network_size(preset.model, preset.data.image_size, dataset.classes)))
    held_out = len(plans[0].validation.split) if plans[0].validation else 0
    print(f"images   {dataset.title}")
    print(f"         {len(plans[0].batches.split):,} training, {held_out:,} validation, {len(dataset.test):,} test")
    if preset.train.init:
        print(f"start    from the weights of {preset.train.init}")
    print(f"device   {device_description()}")
    warn_of_xla(preset)
    seconds, phases = 0.0, []
    for number, plan in enumerate(plans, start=1):
        if len(plans) > 1:
            print(f"phase {number} of {len(plans)}, {plan.preset.data.image_size} px")
        seconds += _print_phase(plan)
        learning_rate, steps = plan.preset.optimizer.learning_rate, plan.total_steps
        phases.append(PlannedPhase(plan.preset.schedule, learning_rate, steps, plan.steps_per_epoch))
    print(f"in all   {duration(seconds)} of training, without validation and saving")
    if figure is not None:
        plot_schedule(phases, figure, f"preset {preset.name}: {preset.title}")
        print(f"figure   {figure}")


def _print_phase(plan: Plan) -> float:
    """Prints a phase's steps, learning rates and speed; returns the seconds it would take."""
    epochs, batch = plan.total_steps / plan.steps_per_epoch, plan.preset.train.batch_size
    print(f"steps    {plan.total_steps:,} of batch {batch} ({epochs:.4g} epochs of {plan.steps_per_epoch:,})")
    print(f"schedule {plan.preset.schedule.describe()}")
    for step in sorted({round(place) for place in np.linspace(0, plan.total_steps - 1, 6)}):
        print(f"         step {step:>9,}  epoch {step / plan.steps_per_epoch:>7.1f}  {plan.learning_rates[step]:.3g}")
    step, seconds = plan.build_step(), []
    for images, labels in plan.batches.dataset(0, min(plan.total_steps, 1 + TIMED_STEPS)):
        began = time.monotonic()
        step(images, labels)
        seconds.append(time.monotonic() - began)
    first, later = seconds[0], float(np.median(seconds[1:] or seconds))  # the first includes tracing
    print(f"time     first step {first:.1f} s, then {later:.3f} s a step, {batch / later:,.0f} images/s")
    return first + (plan.total_steps - 1) * later
