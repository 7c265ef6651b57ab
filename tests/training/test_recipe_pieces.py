"""The pieces of longer recipes in a training that is stopped and resumed: it ends in the same bits."""

import os
import signal

import numpy as np
import pytest
from plain import AIRBENCH_NETWORK

from resnet_tf.errors import Stopped
from resnet_tf.models.layers import StochasticDepth
from resnet_tf.training import checkpoint

MUON = {
    "name": "muon",
    "learning_rate": 0.05,
    "reset_filter_norm": True,
    "norms": {"learning_rate_factor": 2.0, "momentum": 0.85},
    "stem_bias": {"learning_rate_factor": 2.0, "frozen_after_epoch": 2},
    "head": {"weight_decay": 1e-3},
}
GROUPS = {"norms": {"learning_rate_factor": 8.0, "weight_decay": 0.0}}
PIECES = {
    "muon, a moving average, stochastic depth": {
        "model": {"stochastic_depth": 0.5},
        "optimizer": {**MUON, "ema": {"decay": 0.9}},
    },
    "groups, lookahead, mixing": {
        "data": {"augment": "flip_horizontal | trivial_augment | random_erasing"},
        "train": {"mixup": 0.2, "cutmix": 1.0},
        "loss": {"label_smoothing": 0.1},
        "optimizer": {**GROUPS, "lookahead": {"every_steps": 3, "start_epoch": 0, "power": 1}},
    },
    "network": {
        "optimizer": MUON,
        "model": {**AIRBENCH_NETWORK, "filters": [24]},
        "data": {"augment": "pad_crop(2, padding_mode='reflect') | alternate_flip"},
    },
}


@pytest.mark.parametrize("piece", [*list(PIECES)[:-1], pytest.param("network", marks=pytest.mark.slow)])
def test_stopped_and_resumed_it_ends_in_the_same_bits(piece, train, on_step, assert_same_run):
    whole = train(**PIECES[piece])
    for step in (4, 20):  # within an epoch, and at the end of one
        on_step.acts = {step: lambda phase: os.kill(os.getpid(), signal.SIGINT)}
        with pytest.raises(Stopped):
            train(resume=step > 4, **PIECES[piece])
    assert_same_run(whole, train(resume=True, **PIECES[piece]))
    arrays = checkpoint.load(whole.state).arrays
    if piece.startswith("muon"):  # each kernel's norm is that of its filters but for the last update
        kernels = [value for name, value in arrays.items() if name.startswith("model/") and value.ndim == 4]
        for kernel in kernels:
            assert np.linalg.norm(kernel) == pytest.approx(kernel.shape[-1] ** 0.5, rel=0.1)


@pytest.mark.parametrize("dtype", ["int64", "uint32"])
def test_the_number_of_a_layers_draws_is_restored_from_a_state_of_either_backend(dtype):
    layer = StochasticDepth(0.5, seed=3)
    state = np.array([2**32 - 1, 7], dtype)
    checkpoint.restore({"model/numbers": layer.numbers.state}, {"model/numbers": state})
    np.testing.assert_array_equal(layer.numbers.state, state)
