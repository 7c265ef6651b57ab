"""Class-activation maps: each place's share of a logit, as the definition says."""

import keras
import numpy as np

from resnet_tf.models.resnet import resnet
from resnet_tf.prediction.predict import class_activation


def test_of_a_maximum_the_place_that_has_it_contributes_all():
    """Two channels over 2 x 2 places: 0.9 counts nothing beside 1, and two equal maxima share what they contribute."""
    features = np.array([[[1.0, 4.0], [0.9, 4.0]], [[0.0, 2.0], [-1.0, 0.0]]])
    logit = np.array([3.0, 0.5]) @ features.max(axis=(0, 1))
    found = class_activation(features, np.array([3.0, 0.5]), "max")
    np.testing.assert_allclose(found, np.array([[3 + 1, 1], [0, 0]]) / 4)
    assert found.sum() * 4 == logit


def test_the_shares_of_all_places_average_to_the_logit():
    """Zhou et al. 2016, equation 2: the map before anything is cut off or scaled."""
    model = resnet(num_residual_units=1, filters=(4, 6), image_size=12, classes=3, seed=1)
    images = np.random.default_rng(0).normal(size=(5, 12, 12, 3)).astype(np.float32)
    looking = keras.Model(model.inputs, [model.output, model.get_layer("pool").input])
    logits, features = looking.predict_on_batch(images)
    head = model.get_layer("head")
    kernel, bias = np.asarray(head.kernel), np.asarray(head.bias)
    for logit, seen in zip(logits, features, strict=True):
        for number in range(3):
            shares = np.array([[seen[y, x] @ kernel[:, number] for x in range(6)] for y in range(6)])
            assert np.isclose(shares.mean() + bias[number], logit[number], atol=1e-4)
            found = class_activation(seen, kernel[:, number])
            if shares.max() > 0:
                np.testing.assert_allclose(found, np.maximum(shares, 0) / shares.max(), atol=1e-5)
            else:
                assert not found.any()
