"""Scores a network on a split: every image once, in exact counts."""

from collections.abc import Callable

import keras
import numpy as np

from resnet_tf.pipeline.batches import EvaluationBatches
from resnet_tf.pipeline.read import naming_broken_files
from resnet_tf.scoring.metrics import Scores, log_softmax


def score(
    model: keras.Model,
    batches: EvaluationBatches,
    classes: int,
    advance: Callable[[int, int], None] = lambda done, total: None,
    keep_all: bool = False,
) -> Scores:
    """Returns the scores of a network on all images of `batches`; the softmax of an image's views is averaged.

    Args:
        model: from float32 images [batch, size, size, 3] in 0..255 to logits [batch, classes].
        advance: called after each batch with the images done and their total.
        keep_all: see `Scores`.
    """
    scores = Scores(classes, keep_all)
    with naming_broken_files():
        for images, labels in batches.dataset():
            views = images.shape[1]
            logits = model.predict_on_batch(images.numpy().reshape(-1, *images.shape[2:]))
            each = log_softmax(logits).reshape(-1, views, classes)
            scores.update(np.logaddexp.reduce(each, axis=1) - np.log(views), labels.numpy())
            advance(scores.count, len(batches.split))
    return scores
