"""A finished run for the tests of the commands."""

import json

import pytest
from running import run_command

from resnet_tf.cli import train as train_command


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_preset, image_tree):
    """A folder with a preset file and a finished run of it."""
    folder = tmp_path_factory.mktemp("home")
    preset = folder / "tiny.json"
    preset.write_text(json.dumps(tiny_preset))
    run_command(train_command, "--preset", preset, "--data", image_tree, "--runs", folder / "runs", code=0)
    return folder
