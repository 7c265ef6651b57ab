"""Messages for mistakes: the nearest name, short values, exit codes."""

import pickle
import signal

import pytest

from resnet_tf.errors import Stopped, UserError, nearest, shown, unknown

PRESETS = ["1", "2", "3", "4", "5", "demo", "resnet20-cifar10-paper", "resnet32-cifar10-paper", "resnet50-imagenet"]


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("resnt20", PRESETS, "resnet20-cifar10-paper"),
        ("resnet32", PRESETS, "resnet32-cifar10-paper"),
        ("resnet50-imagnet", PRESETS, "resnet50-imagenet"),
        ("Demo", PRESETS, "demo"),
        ("epoch", ["batch_size", "epochs", "steps"], "epochs"),
        ("momentun", ["learning_rate", "momentum", "nesterov"], "momentum"),
        ("epochs", ["train.batch_size", "train.epochs", "model.filters"], "train.epochs"),
        ("identity_pad", ["identity-pad", "projection"], "identity-pad"),
        ("zzz", PRESETS, None),
        ("", PRESETS, None),
        ("x", [], None),
    ],
)
def test_nearest_name(name, known, expected):
    assert nearest(name, known) == expected


def test_unknown_names_the_nearest_or_all():
    near = unknown("key in 'train':", "epoch", ["epochs", "steps"], "a-code", "See --help.")
    assert str(near) == "unknown key in 'train': 'epoch'. Did you mean 'epochs'? See --help."
    far = unknown("preset", "q", ["4", "demo"], "a-code")
    assert str(far) == "unknown preset 'q'. Known: 4, demo."
    assert isinstance(near, UserError)


def test_long_and_deep_values_are_shown_short():
    deep = []
    for _ in range(5000):
        deep = [deep]
    for value in ("a" * 10**6, [["b" * 1000] * 1000] * 1000, {str(i): i for i in range(10**5)}, deep):
        assert len(shown(value)) < 250
    assert shown({"a": [1, "b", None]}) == "{'a': [1, 'b', None]}"
    assert len(str(unknown("preset", "a" * 10**6, PRESETS, "a-code"))) < 400


def test_an_error_comes_whole_out_of_another_process():
    error = pickle.loads(pickle.dumps(UserError("what is wrong", "a-code")))
    assert (str(error), error.code, error.exit_code) == ("what is wrong", "a-code", 2)


def test_exit_codes_are_those_of_shells():
    assert UserError("x", "a-code").exit_code == 2
    assert Stopped("x", signal.SIGINT).exit_code == 130
    assert Stopped("x", signal.SIGTERM).exit_code == 143
