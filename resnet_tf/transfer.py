"""A run's weights where another work starts: as a Keras model, or in the network of another training."""

import dataclasses
import hashlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from resnet_tf.datasets.splits import Dataset, split_train_validation
from resnet_tf.errors import UserError
from resnet_tf.models import weights as weight_files
from resnet_tf.models.build import build_network
from resnet_tf.presets.network import Network
from resnet_tf.presets.schema import Preset
from resnet_tf.runs.choose import named_run
from resnet_tf.runs.run import RUNS, Run

# Keys of a network that affect only its training, or that the shapes of the weights reveal already.
_NOT_COMPUTED = ("initializer", "zero_last_scale", "stochastic_depth", "norm_scale", "norm_momentum")
_NOT_COMPUTED += ("parameter_limit", "num_residual_units", "stage_sizes")
_OF_HEAD = ("head_bias", "logit_scale")


def from_pretrained(
    name_or_run: str | PathLike | Run,
    classes: int | None = None,
    include_top: bool = True,
    *,
    runs: str | Path = RUNS,
    weights: str | None = None,
    seed: int = 0,
) -> keras.Model:
    """Returns a run's trained network as an ordinary Keras model: to predict with, as features, or to train on.

    Args:
        name_or_run: a run, its name or folder; or a preset's name or file, which stands for its best finished run and,
            where there is none, for its published one ("quick-long").
        classes: number of logits of a new head with fresh weights, which are not scaled (`logit_scale`): ordinary
            learning rates suit it. None: the run's own head.
        include_top: False: without a head, the model returns the features that it takes, pooled over the image.
        runs: the folder in which runs are looked for.
        weights: "last" or "best"; default: as the preset says.
        seed: of the fresh head's weights.

    Returns:
        A model from images [batch, image_size, image_size, 3] in 0..255, uint8 or float, in the size of the preset's
        last phase, to float32 logits [batch, classes], or to features [batch, channels]. The normalisation inside is
        that of the run's training images. Batch norm is not folded. Its layers have the dtype policy that is set, whose
        variables must be float32: "mixed_bfloat16", not "bfloat16".

    Raises:
        UserError: no such run, or arguments that contradict each other.
    """
    if classes is not None and not include_top:
        raise UserError(
            f"a model without a head has no classes. Received: classes={classes}, include_top=False; leave one out.",
            "options-conflict",
        )
    if classes is not None and classes < 1:
        raise UserError(f"classes must be at least 1. Received: {classes}.", "classes-out-of-range")
    run = named_run(name_or_run, runs, "load")
    preset = run.preset.last_phase
    if classes is not None:
        preset = dataclasses.replace(preset, model=dataclasses.replace(preset.model, logit_scale=1.0))
    policy = keras.config.dtype_policy().name  # the caller's, as in any Keras model
    model = build_network(preset, classes or len(run.about["class_names"]), seed=seed, precision=policy)
    weight_files.load(model, run.weights(weights or preset.evaluation.weights), head=classes is None)
    if include_top:
        return model
    return keras.Model(model.input, model.get_layer("pool").output, name=f"{model.name}_features")


class Start(NamedTuple):
    """The weights that a training starts from.

    Attributes:
        content: of the weight file.
        about: what run.json keeps: "run", "weights" ("last" or "best"), "sha256", "head" (whether it was loaded),
            "arrays" (how many were), "differs" (see `_differences`), "trained_on" (see `_trained_on`),
            "validation_seen" (how many of the new validation images the weights were trained on) and "another_state"
            (whether they were trained on another state of the data set, so that all of them may have been).
    """

    content: bytes
    about: dict


def source_of(preset: Preset, runs: str | Path) -> Run | None:
    """Returns the run whose weights a training of the preset starts from; None: random ones.

    Args:
        runs: the folder in which it is looked for; the training's own, which may not exist yet.

    Raises:
        UserError: it does not exist.
    """
    return None if preset.train.init is None else named_run(preset.train.init, runs, "start from", new_folder=True)


def start_from(source: Run, network: keras.Model, preset: Preset, dataset: Dataset, seed: int) -> Start:
    """Loads a run's weights into the network of a new training, all but the head where the classes are others.

    Input normalisation and batch norm's running statistics are among them: the other weights expect these.

    Args:
        preset, dataset, seed: of the new training.

    Raises:
        UserError: the run has no weights, or they do not fit into the network.
    """
    which = source.preset.last_phase.evaluation.weights
    path, head = source.weights(which), list(dataset.class_names) == source.about["class_names"]
    weight_files.load(network, path, head)
    content = path.read_bytes()
    arrays = sum(head or not variable.path.startswith(weight_files.HEAD) for variable in network.weights)
    digest = hashlib.sha256(content).hexdigest()
    trained_on = _trained_on(source)
    about = {
        "run": source.name,
        "weights": which,
        "sha256": digest,
        "head": head,
        "arrays": arrays,
        "differs": _differences(source.preset.model, preset.model, head),
        "trained_on": trained_on,
        **_validation_seen(trained_on, dataset, preset.data.validation_size, seed),
    }
    return Start(content, about)


def _trained_on(run: Run) -> list[dict]:
    """Returns what decides on which images a run's weights were trained, by it and by the runs that it started from."""
    about, data = run.about, run.preset.data
    own = {"dataset": data.dataset, "fingerprint": about["data"]["fingerprint"]}
    own |= {"classes": _digest(about["class_names"]), "seed": about["seed"], "validation_size": data.validation_size}
    return [*about.get("init", {}).get("trained_on", []), own]


def _digest(class_names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(class_names).encode()).hexdigest()[:12]


def _validation_seen(trained_on: list[dict], dataset: Dataset, validation_size: int, seed: int) -> dict:
    """Returns how many of the new training's validation images the initial weights were trained on, see `Start`.

    Each seed and size holds out other images of a data set without a validation split of its own. In another state of
    the data set, such as a folder with fewer photos or a copy of other bytes, nobody can tell which ones they were.
    """
    labels = dataset.train.labels
    if dataset.validation is not None:
        return {"validation_seen": 0, "another_state": False}
    seen, another_state = np.zeros(len(labels), bool), False
    for earlier in trained_on:
        if earlier["fingerprint"] == dataset.fingerprint:
            seen[split_train_validation(labels, earlier["validation_size"], earlier["seed"])[0]] = True
        elif (earlier["dataset"], earlier["classes"]) == (dataset.name, _digest(dataset.class_names)):
            seen[:] = another_state = True
    held_out = split_train_validation(labels, validation_size, seed)[1]
    return {"validation_seen": int(seen[held_out].sum()), "another_state": another_state}


def _differences(before: Network, now: Network, head: bool) -> dict[str, list]:
    """Returns the settings that make a network compute something else with the same weights, {key: [before, now]}.

    The shapes of the weights fit and do not show it: with another activation the same weights mean something else.
    """
    ignored = {*_NOT_COMPUTED, *(() if head else _OF_HEAD)}
    keys = [field.name for field in dataclasses.fields(Network) if field.name not in ignored]
    pairs = {key: [getattr(before, key), getattr(now, key)] for key in keys}
    return {f"model.{key}": pair for key, pair in pairs.items() if pair[0] != pair[1]}


def load_start(network: keras.Model, run: Run) -> None:
    """Loads the weights that a run starts from, of which it holds a copy, into its network."""
    weight_files.load(network, run.initial, run.about["init"]["head"])


def describe_start(init: dict) -> str:
    """Returns a line for people on what `start_from` did."""
    head = "the head among them" if init["head"] else "all but the head, whose classes are others"
    differs = [f"{key} ({old} there, {new} here)" for key, (old, new) in init.get("differs", {}).items()]
    line = (
        f"starts from the {init['weights']} weights of {init['run']}: {init['arrays']} arrays, {head}; input "
        "normalisation is that run's too"
    )
    if differs:
        line += f". Its network differs in {', '.join(differs)}"
    if seen := init.get("validation_seen"):
        earlier = init["trained_on"][-1]
        if init["another_state"]:
            line += ". These weights were trained on another state of these images, perhaps on validation images too"
        else:
            line += (
                f". These weights were trained on {seen:,} of the validation images; that run had seed "
                f"{earlier['seed']} and data.validation_size={earlier['validation_size']}"
            )
        line += ": the validation accuracy may be too high, and no run is chosen by it"
    return line
