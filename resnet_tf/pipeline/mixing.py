"""mixup and cutmix: every image of a training batch is mixed with the one before it, and its label likewise.

One share and one box a batch, as in torchvision's reference training. What is drawn is a pure function of (seed, step).
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

_STREAM = 3  # of random numbers; the order of the images and augmentation have their own
_QUANTILES = 2**16  # of a Beta distribution, from which a share is drawn


@dataclass(frozen=True)
class Mixing:
    """Mixes images in pairs; with both alphas given, each step does one or the other with equal chance.

    Attributes:
        mixup: alpha; images are averaged with weights lambda and 1 - lambda, lambda from Beta(alpha, alpha). 0: off.
        cutmix: alpha; a box of (1 - lambda) of the image's area, cut off at the border, is replaced by the same box of
            the other image. 0: off.
        classes: of the data set.

    Source: Zhang et al. 2017 (arXiv:1710.09412), Yun et al. 2019 (arXiv:1905.04899), by the rules of torchvision's
    references/classification/transforms.py.
    """

    mixup: float
    cutmix: float
    classes: int

    def draw(self, seed: int, step: tf.Tensor) -> tf.Tensor:
        """Returns float32 [4], uniform in [0, 1): which of both is done, lambda's quantile, the box's row and column.

        Args:
            seed: of the run.
            step: int64 scalar, from 0.
        """
        key = tf.random.fold_in(tf.constant([seed, _STREAM], tf.int64), tf.cast(step, tf.int64), alg="philox")
        return tf.random.stateless_uniform([4], key, alg="philox")

    def mix(self, own: tuple, others: tuple, numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the mixed images, float32 as they come, and the share of each class, float32 [batch, classes].

        Args:
            own: float32 images [batch, height, width, 3] and int32 labels [batch].
            others: what each is mixed with, in the same form.
            numbers: from `draw`.
        """
        (images, labels), (other_images, other_labels) = own, others
        height, width = images.shape[1:3]
        ways = []  # each the weight of an image's own pixels, float32 [height, width, 1], and of its label
        if self.mixup:
            weight = _quantile(self.mixup, numbers[1])
            ways.append((tf.fill([height, width, 1], weight), weight))
        if self.cutmix:
            ways.append(_box(_quantile(self.cutmix, numbers[1]), numbers[2:], height, width))
        pixels, share = ways[0]
        if len(ways) == 2:
            pixels, share = (tf.where(numbers[0] < 0.5, *both) for both in zip(*ways, strict=True))
        targets = share * tf.one_hot(labels, self.classes) + (1 - share) * tf.one_hot(other_labels, self.classes)
        return pixels * images + (1 - pixels) * other_images, targets


def quantiles(alpha: float) -> np.ndarray:
    """Returns float32 [65536], equally likely values of a number from Beta(alpha, alpha), in ascending order.

    They are multiples of 2**-20: scipy's last bits, in which machines may differ, are rounded away.
    """
    from scipy.special import betaincinv

    places = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    return np.float32(np.round(betaincinv(alpha, alpha, places) * 2**20) / 2**20)


def _quantile(alpha: float, number: tf.Tensor) -> tf.Tensor:
    return tf.gather(tf.constant(quantiles(alpha)), tf.cast(number * _QUANTILES, tf.int32))


def _box(weight: tf.Tensor, place: tf.Tensor, height: int, width: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns float32 [height, width, 1], 0 within the box and 1 elsewhere, and the share of the pixels outside it."""
    half = tf.sqrt(1 - tf.cast(weight, tf.float64)) / 2
    inside = []
    for side, number in ((height, place[0]), (width, place[1])):
        centre, reach = tf.cast(number * side, tf.int32), tf.cast(half * side, tf.int32)
        inside.append((tf.range(side) >= centre - reach) & (tf.range(side) < centre + reach))
    outside = 1 - tf.cast(inside[0][:, None] & inside[1], tf.float32)
    return outside[:, :, None], tf.reduce_sum(outside) / (height * width)
