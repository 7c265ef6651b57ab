"""A minimal preset as plain values, with a momentum to change."""

MINE = {
    "name": "mine",
    "model": {"num_residual_units": 3},
    "data": {},
    "train": {"epochs": 100},
    "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.8},
    "schedule": {"name": "exponential", "lr_decay": 0.96},
}
