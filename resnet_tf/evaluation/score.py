"""Scores a network on a split: every image once, in exact counts."""

from collections.abc import Callable

import keras

from resnet_tf.data.batches import EvaluationBatches
from resnet_tf.evaluation.metrics import Scores, log_softmax


def score(
    model: keras.Model, batches: EvaluationBatches, classes: int, advance: Callable[[int], None] = lambda images: None
) -> Scores:
    """Returns the scores of a network on all images of `batches`.

    Args:
        model: from float32 images [batch, size, size, 3] in 0..255 to logits [batch, classes].
        advance: called after each batch with its number of images.
    """
    scores = Scores(classes)
    for images, labels in batches.dataset():
        logits = model.predict_on_batch(images)
        scores.update(log_softmax(logits), labels.numpy())
        advance(len(labels))
    return scores
