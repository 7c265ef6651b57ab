"""Measures batch norm's statistics again: averages over many batches replace the running ones."""

from collections.abc import Iterable

import keras
import numpy as np

from resnet_tf.models.layers import BatchNormalization


def recalibrate(model: keras.Model, batches: Iterable) -> None:
    """Replaces every running mean and variance by its average over batches.

    Running statistics lag behind the weights and weigh the last few batches most; averages with fixed weights do
    neither. Trainable weights do not change.

    Args:
        model: of `resnet()`, its batch norms not folded. Their momentum becomes 0: do not train it any further.
        batches: float32 images [batch, image_size, image_size, 3] in 0..255, as training sees them; at least one.

    Source: Ioffe and Szegedy 2015 (arXiv:1502.03167), algorithm 2: the mean of the batches' means and of their
    unbiased variances.
    """
    norms = [layer for layer in model.layers if isinstance(layer, BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0  # so a forward pass stores the batch's own statistics
    sums = [[np.zeros(norm.scale.shape), np.zeros(norm.scale.shape)] for norm in norms]
    steps = 0
    for batch in batches:
        model(batch, training=True)
        for (mean, variance), norm in zip(sums, norms, strict=True):
            mean += np.asarray(norm.running_mean)
            variance += np.asarray(norm.running_variance)
        steps += 1
    for (mean, variance), norm in zip(sums, norms, strict=True):
        norm.running_mean.assign(mean / steps)
        norm.running_variance.assign(variance / steps)
