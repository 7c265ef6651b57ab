"""Values that several tests start from."""

from resnet_tf.runs.records import EvaluationRecord

# A minimal preset, with a momentum to change.
MINE = {
    "name": "mine",
    "model": {"num_residual_units": 3},
    "data": {},
    "train": {"epochs": 100},
    "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.8},
    "schedule": {"name": "exponential", "lr_decay": 0.96},
}

# The keys that make airbench94_muon's network, but for its size.
AIRBENCH_NETWORK = {
    "unit": "single",
    "stem": "whitened-2x2",
    "stem_bias": True,
    "transition": "pooled",
    "shortcut": "none",
    "activation": "gelu",
    "initializer": "dirac",
    "norm_scale": False,
    "head_pooling": "max",
    "head_bias": False,
    "logit_scale": 0.125,
}

# Of one epoch of `MINE`.
EVALUATION = EvaluationRecord(
    date="2026-01-01T00:00:00Z",
    run="mine/20260101T000000Z-s0",
    preset="mine",
    seed=0,
    steps_planned=10,
    changed={},
    steps=10,
    epochs=1,
    split="test",
    view="1-crop",
    resolution=32,
    weights="last",
    data={"name": "cifar10", "title": "cifar10", "fingerprint": "f" * 64, "official": True},
    same_data_as_training=True,
    count=1000,
    top1=50.0,
    top1_interval=[46.9, 53.1],
    top5=100.0,
    loss=0.5,
)
