"""Replaces batch norm's running statistics at a training's end where they lag behind the weights."""

import math
from collections.abc import Iterator

from resnet_tf.log import logger
from resnet_tf.models import weights
from resnet_tf.models.recalibration import recalibrate
from resnet_tf.pipeline.read import naming_broken_files
from resnet_tf.runs.run import Run
from resnet_tf.scoring.score import score
from resnet_tf.training.plan import Plan

# Training images, rounded up to whole batches; more change little: Wu and Johnson 2021 (arXiv:2105.07576), section 3.3.
RECALIBRATION = 10_000
LARGEST_RATIO = 0.9  # of the validation loss with new statistics to that with the running ones, for them to be replaced


def recalibrate_if_lagging(run: Run, plan: Plan, row: dict) -> float | None:
    """Measures batch norm's statistics again for a run's last weights, if the running ones clearly lag behind them.

    Running statistics are averages over the last ten steps or so, in which the weights move far if the learning rate is
    high. They are looked at only if the validation loss is worse than that of guessing, ln(classes), and the training
    loss better, so an ordinary training loses no time. Overfitting looks the same, but new statistics do not help it.
    The state that a run resumes from keeps the running ones.

    Args:
        run: its last weights are saved.
        plan: of its last phase.
        row: the log's last.

    Returns:
        The validation top-1 with the new statistics, in percent; None where the running ones stay. The weight file's
        metadata hold it too, and "recalibrated".
    """
    guessing, running_loss = math.log(plan.dataset.classes), row.get("validation_loss", 0.0)
    if not row.get("loss", math.inf) < guessing < running_loss:
        return None
    network = plan.build_network()
    metadata = weights.load(network, run.last)
    recalibrate(network, recalibration_images(plan))
    scores = score(network, plan.validation, plan.dataset.classes)
    if scores.loss >= LARGEST_RATIO * running_loss:
        return None
    weights.save(network, run.last, {**metadata, "validation_top1": scores.top1, "recalibrated": True})
    logger.info(
        "batch norm's running statistics lag behind the weights. They were measured again for the last weights: "
        f"validation loss {running_loss:.3f} -> {scores.loss:.3f}. A learning rate that falls over more steps avoids "
        "this."
    )
    return scores.top1


def recalibration_steps(plan: Plan) -> int:
    """Returns how many training batches hold `RECALIBRATION` images; all of an epoch's where it has fewer."""
    return min(-(-RECALIBRATION // plan.preset.train.batch_size), plan.steps_per_epoch)


def recalibration_images(plan: Plan) -> Iterator:
    """Yields that many training batches of a phase, without labels."""
    with naming_broken_files():
        for images, _ in plan.batches.dataset(0, recalibration_steps(plan)):
            yield images
