"""What the tests of augmentations share: pictures of noise, and the numbers that a chain draws for them."""

import numpy as np
import tensorflow as tf

from resnet_tf.pipeline.augment import draws
from resnet_tf.presets.augmentation import parse

LIKELY = 1e-3  # least p-value taken for chance; seeds are fixed, so a test that passes goes on passing


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def numbers_of(expression: str, rows: int, seed: int = 5, step: int = 9) -> tuple[tuple, list[np.ndarray]]:
    chain = parse(expression)
    return chain, [numbers.numpy() for numbers in draws(chain, seed, tf.constant(step, tf.int64), rows)]
