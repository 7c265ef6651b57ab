"""Scores a network on a split: every image once, in exact counts."""

from collections.abc import Callable

import keras

from resnet_tf.pipeline.batches import EvaluationBatches
from resnet_tf.pipeline.read import naming_broken_files
from resnet_tf.scoring.metrics import Scores, mean_over_views


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
            logits = model.predict_on_batch(images.numpy().reshape(-1, *images.shape[2:]))
            scores.update(mean_over_views(logits, images.shape[1]), labels.numpy())
            advance(scores.count, len(batches.split))
    return scores
