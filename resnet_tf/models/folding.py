"""Folds batch norm into the convolutions: the same logits with fewer operations, for inference only."""

import keras
import numpy as np

from resnet_tf.models.resnet import norm_name, resnet
from resnet_tf.presets.network import Network


def folded(model: keras.Model, network: Network) -> keras.Model:
    """Returns a model for inference whose convolutions include the batch norms right after them.

    A norm multiplies by scale / sqrt(variance + epsilon) and adds; the convolution's kernel and bias do both. Logits
    differ by rounding only (below 1e-4 of the largest).

    Args:
        model: of `resnet(network)`.

    Source: Jacob et al. 2017 (arXiv:1712.05877), section 3.2.
    """
    inference_model = resnet(
        network,
        image_size=model.input_shape[1],
        classes=model.output_shape[1],
        statistics_shape=model.get_layer("normalization").statistics_shape,
        folded=True,
    )
    for layer in inference_model.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.use_bias:
            norm = model.get_layer(norm_name(layer.name))
            factor = np.asarray(norm.scale) / np.sqrt(np.asarray(norm.running_variance) + norm.epsilon)
            layer.kernel.assign(np.asarray(model.get_layer(layer.name).kernel) * factor)
            layer.bias.assign(np.asarray(norm.offset) - np.asarray(norm.running_mean) * factor)
        elif layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return inference_model
