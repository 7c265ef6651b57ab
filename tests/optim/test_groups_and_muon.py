"""Parameter groups against torch.optim.SGD's; Muon against torch.optim.Muon and a transcription of airbench94_muon."""

import keras
import numpy as np
import pytest
from assertions import user_error

from resnet_tf.optim.optimizers import build_optimizer, orthogonalised
from resnet_tf.presets import schema
from resnet_tf.presets.optimizer import OPTIMIZERS, Group, MuonSpec, SGDSpec
from resnet_tf.presets.parsing import build_named

STEPS = 10
RATES = np.linspace(0.24, 0.024, STEPS)
# Filters x inputs x height x width, as in torch: fewer and more filters than values in each.
SHAPES = {
    "narrow": (4, 3, 2, 2),
    "wide": (20, 2, 3, 3),
    "pointwise": (6, 6, 1, 1),
    "norm": (6,),
    "stem_bias": (5,),
    "head": (10, 6),
}


def drawn(shapes: dict[str, tuple], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def to_keras(array: np.ndarray) -> np.ndarray:
    """Filters x inputs x height x width as height x width x inputs x filters; a matrix transposed."""
    return np.moveaxis(array, [0, 1], [-1, -2]) if array.ndim > 1 else array


def to_torch(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, [-1, -2], [0, 1]) if array.ndim > 1 else array


def ours(spec, shapes: dict[str, tuple], rates=RATES) -> dict[str, np.ndarray]:
    """Returns the weights after a step at each of the rates with given gradients, as torch lays them out."""
    variables = [keras.Variable(to_keras(value), name=name) for name, value in drawn(shapes, 0).items()]
    optimizer = build_optimizer(spec, rates, steps_per_epoch=2)
    optimizer.build(variables)
    for step in range(1, len(rates) + 1):
        gradients = [keras.ops.convert_to_tensor(to_keras(value)) for value in drawn(shapes, step).values()]
        optimizer.apply(gradients, variables)
    return {name: to_torch(np.array(variable)) for name, variable in zip(shapes, variables, strict=True)}


def torchs(torch, kind, shapes: dict[str, tuple], groups: dict[str, dict], rates=RATES, **keywords):
    """Returns the same from an optimizer of torch; `groups` gives arguments by weight, "factor" one of the rate."""
    parameters = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in drawn(shapes, 0).items()}
    arguments = [{"params": [each], **groups.get(name, {})} for name, each in parameters.items()]
    optimizer = kind(arguments, lr=float(rates[0]), **keywords)
    for step, rate in enumerate(rates, start=1):
        for group in optimizer.param_groups:
            group["lr"] = float(rate) * group.get("factor", 1.0)
        for parameter, value in zip(parameters.values(), drawn(shapes, step).values(), strict=True):
            parameter.grad = torch.tensor(value)
        optimizer.step()
    return {name: parameter.detach().numpy() for name, parameter in parameters.items()}


def airbenchs(shapes: dict[str, tuple], reset: bool, iterations: int) -> dict[str, np.ndarray]:
    """Muon of airbench94_muon in numpy, in float64 where that is in half precision."""
    weights = {name: value.astype(float) for name, value in drawn(shapes, 0).items()}
    buffers = {name: np.zeros(shape) for name, shape in shapes.items()}
    for step, rate in enumerate(RATES, start=1):
        for name, gradient in drawn(shapes, step).items():
            weight = weights[name]
            buffers[name] = 0.6 * buffers[name] + gradient
            if reset:
                weight = weight * len(weight) ** 0.5 / np.linalg.norm(weight)
            x = (gradient + 0.6 * buffers[name]).reshape(len(weight), -1)
            x = x / (np.linalg.norm(x) + 1e-7)
            if transposed := x.shape[0] > x.shape[1]:
                x = x.T
            for _ in range(iterations):
                a = x @ x.T
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
            weights[name] = weight - rate * (x.T if transposed else x).reshape(weight.shape)
    return weights


def assert_equal_weights(mine: dict[str, np.ndarray], theirs: dict[str, np.ndarray], atol: float = 1e-5) -> None:
    for name in theirs:
        np.testing.assert_allclose(mine[name], theirs[name], atol=atol, rtol=0, err_msg=name)


KERNELS = {name: shape for name, shape in SHAPES.items() if len(shape) == 4}


@pytest.mark.parametrize(("reset", "iterations"), [(True, 3), (False, 3), (True, 5)])
def test_muon_is_airbenchs(reset, iterations):
    spec = MuonSpec(learning_rate=0.24, reset_filter_norm=reset, newton_schulz_steps=iterations)
    assert_equal_weights(ours(spec, KERNELS), airbenchs(KERNELS, reset, iterations), atol=1e-4)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (7, 7)])
def test_muon_equals_torchs_on_matrices(torch, monkeypatch, shape, nesterov):
    """torch multiplies the rate, but not that of the decay, by the root of filters / inputs where that is above 1."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)  # its iteration in float32, as ours
    factor = max(1.0, shape[0] / shape[1]) ** 0.5
    spec = MuonSpec(
        learning_rate=0.24,
        momentum=0.9,
        nesterov=nesterov,
        newton_schulz_steps=5,
        weight_decay=0.1 / factor,
        decay="decoupled",
    )
    keywords = {"momentum": 0.9, "nesterov": nesterov, "ns_steps": 5, "weight_decay": 0.1}
    theirs = torchs(torch, torch.optim.Muon, {"matrix": shape}, {}, **keywords)
    assert_equal_weights(ours(spec, {"matrix": shape}, RATES * factor), theirs, atol=1e-4)


def test_muon_trains_norms_and_head_as_sgd(torch):
    """The settings of airbench94_muon for a batch of 2,000: its filters have no decay."""
    norms = Group(learning_rate_factor=0.053 / 0.24, weight_decay=0.004 / 0.053, momentum=0.85)
    head = Group(learning_rate_factor=0.67 / 0.24, weight_decay=0.004 / 0.67, momentum=0.85)
    mine = ours(MuonSpec(learning_rate=0.24, reset_filter_norm=True, norms=norms, head=head), SHAPES)
    groups = {
        "norm": {"factor": 0.053 / 0.24, "weight_decay": 0.004 / 0.053},
        "head": {"factor": 0.67 / 0.24, "weight_decay": 0.004 / 0.67},
    }
    theirs = torchs(torch, torch.optim.SGD, SHAPES, groups, momentum=0.85, nesterov=True)
    assert_equal_weights(mine, {"norm": theirs["norm"], "head": theirs["head"]})
    assert_equal_weights(mine, airbenchs(KERNELS, True, 3), atol=1e-4)


def test_singular_values_move_towards_one():
    rng = np.random.default_rng(0)
    left, _ = np.linalg.qr(rng.normal(size=(27, 27)))
    right, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    values = np.geomspace(0.01, 1, 12)
    kernel = (left[:, :12] * values @ right).reshape(3, 3, 3, 12).astype(np.float32)
    x = np.array(orthogonalised(keras.ops.convert_to_tensor(kernel), 5)).reshape(27, 12)
    assert 0.65 < np.linalg.svd(x, compute_uv=False).min() < np.linalg.svd(x, compute_uv=False).max() < 1.25


def test_a_frozen_group_stays_as_it_was_after_so_many_epochs(torch):
    """An epoch is two steps: the norms stay as they are after six, the stem's bias after two."""
    group = Group(learning_rate_factor=0.5, frozen_after_epoch=3)
    spec = SGDSpec(learning_rate=0.24, weight_decay=0.1, norms=group, stem_bias=Group(frozen_after_epoch=1))
    mine, halves = ours(spec, SHAPES), {"norm": {"factor": 0.5}}
    whole, six, two = (
        torchs(torch, torch.optim.SGD, SHAPES, halves, RATES[:steps], momentum=0.9, weight_decay=0.1)
        for steps in (10, 6, 2)
    )
    assert_equal_weights(mine, whole | {"norm": six["norm"], "stem_bias": two["stem_bias"]})


@pytest.mark.parametrize("reset", [False, True])
def test_frozen_filters_do_not_change_at_all(reset):
    spec = MuonSpec(learning_rate=0.2, momentum=0.6, filters=Group(frozen_after_epoch=1), reset_filter_norm=reset)
    optimizer = build_optimizer(spec, np.full(9, 0.2), steps_per_epoch=2)
    rng = np.random.default_rng(0)
    filters = keras.Variable(rng.normal(size=(3, 3, 4, 8)).astype(np.float32), name="kernel")
    optimizer.build([filters])
    before = []
    for _ in range(4):
        before.append(np.array(filters))
        gradient = rng.normal(size=filters.shape).astype(np.float32)
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [filters])
    assert np.abs(before[2] - before[1]).max() > 0.01
    np.testing.assert_array_equal(np.array(filters), before[2])


def test_epochs_without_their_steps_are_refused():
    optimizer = build_optimizer(SGDSpec(learning_rate=0.1, head=Group(frozen_after_epoch=1)))
    with pytest.raises(ValueError, match="steps_per_epoch"):
        optimizer.build([keras.Variable(np.ones((2, 2), np.float32), name="head")])


@pytest.mark.parametrize("decay_on", ["all", "kernels"])
def test_groups_of_sgd_are_torchs(torch, decay_on):
    """The filters keep the optimizer's decay; norms and head have values of their own."""
    norms = Group(learning_rate_factor=64.0, weight_decay=0.0 if decay_on == "kernels" else 0.02)
    stem_bias = Group(learning_rate_factor=2.0, weight_decay=norms.weight_decay)
    head = Group(learning_rate_factor=0.5, momentum=0.0)
    own = {"norms": norms, "stem_bias": stem_bias, "head": head}
    spec = SGDSpec(learning_rate=0.01, momentum=0.85, weight_decay=0.1, decay_on=decay_on, **own)
    groups = {
        "norm": {"factor": 64.0, "weight_decay": norms.weight_decay},
        "stem_bias": {"factor": 2.0, "weight_decay": norms.weight_decay},
        "head": {"factor": 0.5, "momentum": 0.0},
    }
    rates = RATES / 24
    theirs = torchs(torch, torch.optim.SGD, SHAPES, groups, rates, momentum=0.85, weight_decay=0.1)
    assert_equal_weights(ours(spec, SHAPES, rates), theirs)


def test_a_group_without_values_changes_nothing():
    plain = SGDSpec(learning_rate=0.1, weight_decay=0.1, nesterov=True)
    grouped = SGDSpec(
        learning_rate=0.1, weight_decay=0.1, nesterov=True, filters=Group(), norms=Group(), head=Group(momentum=0.9)
    )
    mine, same = ours(plain, SHAPES), ours(grouped, SHAPES)
    for name in SHAPES:
        np.testing.assert_array_equal(mine[name], same[name])


def test_the_weights_of_a_network_are_in_their_groups():
    from resnet_tf.models.resnet import resnet

    network = resnet(num_residual_units=1, filters=(4, 6), image_size=8, shortcut="projection")
    optimizer = build_optimizer(MuonSpec(learning_rate=0.1))
    optimizer.build(network.trainable_variables)
    kinds = {weight.path: kind for weight, kind in zip(network.trainable_variables, optimizer.kinds, strict=True)}
    for path, kind in kinds.items():
        expected = "head" if path.startswith("head/") else "norms" if "norm" in path else "filters"
        assert kind == expected, path
    assert set(kinds.values()) == {"filters", "norms", "head"}


def test_groups_are_kept_by_saving(tmp_path):
    spec = MuonSpec(learning_rate=0.1, head=Group(weight_decay=0.1), reset_filter_norm=True)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, name="head")])
    model.compile(build_optimizer(spec, RATES), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(np.ones((4, 5), np.float32), np.zeros(4, int), verbose=0)
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").optimizer.spec == spec


MUON = {"name": "muon", "learning_rate": 0.24}
SGD = {"name": "sgd", "learning_rate": 0.1}


@pytest.mark.parametrize(
    ("values", "code", "named"),
    [
        ({**MUON, "newton_schulz_steps": 0}, "preset-wrong-value", "newton_schulz_steps"),
        ({**MUON, "momentum": 0}, "preset-wrong-value", "nesterov"),
        ({**MUON, "norm": {}}, "preset-unknown-key", "norms"),
        ({**SGD, "newton_schulz_steps": 3}, "preset-unknown-key", "newton_schulz_steps"),
        ({**SGD, "head": 3}, "preset-wrong-type", "head"),
        ({**SGD, "head": {"learning_rate": 3}}, "preset-unknown-key", "learning_rate_factor"),
        ({**SGD, "head": {"learning_rate_factor": 0}}, "preset-wrong-value", "learning_rate_factor"),
        ({**SGD, "filters": {"momentum": 1}}, "preset-wrong-value", "momentum"),
        ({**SGD, "decay_on": "kernels", "norms": {"weight_decay": 0.1}}, "preset-wrong-value", "decay_on"),
        ({"name": "adam", "learning_rate": 0.1, "head": {}}, "preset-unknown-key", "head"),
    ],
)
def test_wrong_groups_are_refused(values, code, named):
    error = user_error(build_named, OPTIMIZERS, values, "'optimizer'")
    assert error.code == code
    assert named in str(error)


def test_a_preset_with_groups_is_the_same_from_its_plain_values():
    values = {
        "name": "x",
        "model": {"num_residual_units": 1},
        "data": {},
        "train": {"epochs": 1},
        "optimizer": {**MUON, "norms": {"weight_decay": 0.1}},
        "schedule": {"name": "constant"},
    }
    preset = schema.from_dict(values)
    assert preset.optimizer.norms == Group(weight_decay=0.1)
    assert schema.from_dict(schema.to_dict(preset)) == preset
    assert schema.from_dict({**values, "optimizer": MUON}).hash != preset.hash
