"""The time of a training step's convolutions alone, the limit that no framework on the same kernels can pass.

`python -m benchmarks.convolutions CASE` times each distinct convolution of a case's network by itself, forward and
both gradients, and prints their sum as JSON.
"""

import collections
import json
import sys
import time

import numpy as np

from benchmarks.contestants import CASES, Case

REPEATS = 12


def seconds_a_step(case: Case) -> dict:
    """Returns the sum over all convolutions of a step of the best time of each, in seconds, by direction."""
    import tensorflow as tf
    from keras import layers

    from resnet_tf.models.resnet import resnet

    model = resnet(case.network, image_size=case.image_size, classes=case.classes)
    counts = collections.Counter(
        (
            *layer.input.shape[1:],
            layer.filters,
            layer.kernel_size[0],
            layer.strides[0],
            layer.padding.upper(),
            not number,
        )
        for number, layer in enumerate(found for found in model.layers if isinstance(found, layers.Conv2D))
    )
    sums = dict.fromkeys(("forward", "data gradient", "weight gradient"), 0.0)
    for (height, width, inputs, filters, kernel, strides, padding, first), count in counts.items():
        x = tf.random.normal([case.batch, height, width, inputs])
        weights = tf.random.normal([kernel, kernel, inputs, filters])
        how = {"strides": strides, "padding": padding}
        y = tf.nn.conv2d(x, weights, **how)
        directions = {
            "forward": lambda x, weights, y, how=how: tf.nn.conv2d(x, weights, **how),
            "data gradient": lambda x, weights, y, how=how: tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(x), filter=weights, out_backprop=y, **_raw(how)
            ),
            "weight gradient": lambda x, weights, y, how=how: tf.raw_ops.Conv2DBackpropFilter(
                input=x, filter_sizes=tf.shape(weights), out_backprop=y, **_raw(how)
            ),
        }
        for name, call in directions.items():
            if name == "data gradient" and first:
                continue  # nothing is trained below the first convolution
            sums[name] += count * _best(tf.function(call), x, weights, y)
    return {"seconds": sum(sums.values()), **sums}


def _raw(how: dict) -> dict:
    return {"strides": [1, how["strides"], how["strides"], 1], "padding": how["padding"]}


def _best(call, *arguments) -> float:
    """Returns the shortest of several calls; tensors are computed when a call returns on a CPU."""
    call(*arguments)
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        np.asarray(call(*arguments)).ravel()[:1]
        seconds.append(time.perf_counter() - began)
    return min(seconds)


if __name__ == "__main__":
    import resnet_tf  # noqa: F401  switches oneDNN on

    print(json.dumps(seconds_a_step(CASES[sys.argv[1]])))
