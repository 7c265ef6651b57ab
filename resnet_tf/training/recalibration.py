"""Measures batch norm's statistics again on training images, where the running ones lag behind the weights."""

import math
from collections.abc import Iterator

from resnet_tf.log import logger
from resnet_tf.models import weights
from resnet_tf.models.recalibration import recalibrate
from resnet_tf.pipeline.broken import naming_broken_files
from resnet_tf.runs.run_folder import Run
from resnet_tf.scoring.score import score
from resnet_tf.training.plan import Plan

# Training images, rounded up to whole batches; more change little: Wu and Johnson 2021 (arXiv:2105.07576), section 3.3.
RECALIBRATION = 10_000
SHOWS = 0.9  # of the validation loss: what statistics measured again must reach to take the running ones' place


def mend_lag(run: Run, plan: Plan, row: dict) -> float | None:
    """Gives a run's last weights statistics measured again, where the running ones lag so far that it shows.

    Running statistics are averages over the last ten steps or so; after few steps at a high learning rate the weights
    have moved on. Looked at only where the validation loss is worse than that of guessing, ln(classes), and the
    training's is better, so it costs an ordinary training nothing. Overfitting looks the same there; measuring the
    statistics again tells the two apart. What the run resumes from keeps the running ones.

    Args:
        run: its last weights are saved.
        plan: of its last phase.
        row: the log's last.

    Returns:
        The validation top-1 with the new statistics, in percent; None where the running ones stay. The file of the
        weights holds it too, and that it is "recalibrated".
    """
    guessing, found = math.log(plan.dataset.classes), row.get("validation_loss", 0.0)
    if not row.get("loss", math.inf) < guessing < found:
        return None
    network = plan.network()
    about = weights.load(network, run.last)
    recalibrate(network, recalibration_images(plan))
    again = score(network, plan.validation, plan.dataset.classes)
    if again.loss >= SHOWS * found:
        return None
    weights.save(network, run.last, {**about, "validation_top1": again.top1, "recalibrated": True})
    logger.info(
        f"batch norm's running statistics lag behind the weights (validation loss {found:.3f}): the last weights get "
        f"statistics measured again ({again.loss:.3f}). A learning rate that falls to its end over more steps lets "
        "them keep up."
    )
    return again.top1


def recalibration_steps(plan: Plan) -> int:
    """Returns how many training batches hold `RECALIBRATION` images; all of an epoch's where it has fewer."""
    return min(-(-RECALIBRATION // plan.preset.train.batch_size), plan.steps_per_epoch)


def recalibration_images(plan: Plan) -> Iterator:
    """Yields training batches of a phase, as many as hold `RECALIBRATION` images; fewer where an epoch has."""
    steps = recalibration_steps(plan)
    with naming_broken_files():
        for images, _ in plan.batches.dataset(0, steps):
            yield images
