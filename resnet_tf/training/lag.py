"""Have batch norm's running statistics kept up with the weights? Looked at when a training has ended."""

import math
from collections.abc import Callable

from resnet_tf.evaluation.evaluate import recalibration_images
from resnet_tf.evaluation.score import score
from resnet_tf.models.from_preset import load_network
from resnet_tf.run_folder import Run
from resnet_tf.training.plan import Plan

SHOWS = 0.9  # of the validation loss: what statistics measured again must reach to be worth a warning


def warn_of_lag(run: Run, plan: Plan, row: dict, say: Callable[[str], None]) -> None:
    """Says where a finished run's running statistics lag so far behind its weights that the validation loss shows it.

    They are averages over the last ten steps or so; after few steps at a high learning rate the weights have moved on.
    Looked at only where the validation loss is worse than that of guessing, ln(classes), and the training's is better:
    so it costs an ordinary training nothing. Overfitting looks the same from there, and is told from lag by measuring
    the statistics again.

    Args:
        run: its last weights are saved.
        plan: of its last phase.
        row: the log's last.
    """
    guessing, found = math.log(plan.dataset.classes), row.get("validation_loss", 0.0)
    if not row["loss"] < guessing < found:
        return
    images = recalibration_images(plan, say=lambda line: None)
    network, _ = load_network(plan.preset, plan.dataset.classes, run.last, plan.validation.size, images)
    again = score(network, plan.validation, plan.dataset.classes).loss
    if again < SHOWS * found:
        say(
            f"warning: batch norm's running statistics lag behind the weights: the validation loss is {found:.3f}, and "
            f"{again:.3f} with statistics measured again. Score it with python eval.py --run {run.name} --recalibrate. "
            "predict.py takes the running ones; a rate that falls to the end (schedule.name=one_cycle) or more steps "
            "let them keep up."
        )
