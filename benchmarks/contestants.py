"""The networks that `benchmarks.speed` compares, each in a process of its own: `python -m benchmarks.contestants`.

A contestant reads commands from standard input, one JSON object a line, and answers each with one line.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from resnet_tf.presets.network import Network
from resnet_tf.presets.preset_files import load_preset

RATE, MOMENTUM, DECAY = 0.01, 0.9, 1e-4


@dataclass(frozen=True)
class Case:
    """A network at the size and batch at which it is timed."""

    preset: str | dict
    image_size: int
    classes: int
    batch: int

    @property
    def network(self) -> Network:
        return load_preset(self.preset).model

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns float32 images [batch, size, size, 3], as if normalised, and int32 labels: noise, always the same."""
        rng = np.random.default_rng(0)
        images = rng.normal(size=(self.batch, self.image_size, self.image_size, 3)).astype(np.float32)
        return images, rng.integers(0, self.classes, self.batch, dtype=np.int32)


CASES = {
    "resnet20": Case("3", 32, 10, 128),
    "resnet56": Case("4", 32, 10, 128),
    "resnet18-small-stem": Case("resnet18-small-stem-cifar10", 32, 10, 64),
    "stl10": Case("stl10", 70, 10, 64),
    "resnet34-224": Case("imagenet-resnet34-exp3", 224, 1000, 32),
}


class KerasContestant:
    """Our network, trained by our step; or the same network with Keras's own batch norm, optimizer and trainer.

    Args:
        precision: a dtype policy of Keras, "float32" or "mixed_bfloat16".
    """

    def __init__(self, case: Case, precision: str = "float32", stock: bool = False):
        import keras

        from resnet_tf.models import resnet

        keras.config.set_dtype_policy(precision)
        self.case, self.stock = case, stock
        if stock:
            resnet.BatchNormalization = _keras_norm
        self.model = resnet.resnet(case.network, image_size=case.image_size, classes=case.classes)
        self.images, self.labels = map(keras.ops.convert_to_tensor, case.data())
        self.inference = None
        self.step = self._keras_step() if stock else self._our_step()

    def _our_step(self) -> Callable[[], float]:
        from resnet_tf.optim.losses import build_loss
        from resnet_tf.optim.optimizers import build_optimizer
        from resnet_tf.presets.optimizer import LossSpec, SGDSpec
        from resnet_tf.training.step import build_step

        spec = SGDSpec(learning_rate=RATE, momentum=MOMENTUM, weight_decay=DECAY)
        step = build_step(self.model, build_optimizer(spec, np.array([RATE])), build_loss(LossSpec()))
        return lambda: step(self.images, self.labels)[0]

    def _keras_step(self) -> Callable[[], float]:
        import keras

        optimizer = keras.optimizers.SGD(RATE, MOMENTUM, weight_decay=DECAY)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        metrics = [keras.metrics.SparseCategoricalAccuracy(name="top1")]
        self.model.compile(optimizer=optimizer, loss=loss, metrics=metrics, jit_compile=False)
        return lambda: self.model.train_on_batch(self.images, self.labels)[0]

    def weights(self) -> dict[str, np.ndarray]:
        """Returns the weights under our names, those of the normalisation of images left out."""
        return {
            _our_name(weight.path): np.asarray(weight)
            for weight in self.model.weights
            if not weight.path.startswith("normalization/")
        }

    def take(self, arrays: dict[str, np.ndarray]) -> None:
        for weight in self.model.weights:
            if _our_name(weight.path) in arrays:
                weight.assign(arrays[_our_name(weight.path)])

    def train(self) -> float:
        return float(self.step())

    def infer(self) -> np.ndarray:
        if self.inference is None:
            from resnet_tf.models.folding import folded

            self.inference = self.model if self.stock else folded(self.model, self.case.network)
        return np.asarray(self.inference.predict_on_batch(self.images), np.float32)

    def check(self) -> dict[str, np.ndarray]:
        """Returns the logits, gradients and new running statistics of a training step that changes no weight."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            logits = self.model(self.images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(self.labels, logits))
        weights = self.model.trainable_weights
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        found = {f"gradient of {_our_name(w.path)}": g.numpy() for w, g in zip(weights, gradients, strict=True)}
        return {"logits": np.asarray(logits, np.float32), **found, **_statistics(self.weights())}


class TorchContestant:
    """torch with channels_last: eager or compiled, in float32 or in bfloat16 by autocast."""

    def __init__(self, case: Case, compiled: bool = False, bfloat16: bool = False):
        import torch

        from benchmarks import torch_networks

        self.precision = partial(torch.autocast, "cpu", torch.bfloat16, enabled=bfloat16)
        self.torch, self.names = torch, torch_networks
        torch.set_num_threads(os.cpu_count())
        network = case.network
        self.network = torch_networks.TorchResNet(
            network.unit,
            network.units_per_stage,
            network.filters,
            network.stem,
            network.stem_width,
            case.classes,
            option_a=network.shortcut == "identity-pad",
            slope=network.negative_slope,
        ).to(memory_format=torch.channels_last)
        self.call = torch.compile(self.network) if compiled else self.network
        images, labels = case.data()
        images = torch.tensor(np.moveaxis(images, 3, 1).copy())
        self.images, self.labels = images.to(memory_format=torch.channels_last), torch.tensor(labels).long()
        self.optimizer = torch.optim.SGD(self.network.parameters(), RATE, momentum=MOMENTUM, weight_decay=DECAY)

    def weights(self) -> dict[str, np.ndarray]:
        """Returns the weights under our names, which those taken bore."""
        state = self.network.state_dict()
        return {path: self.names.as_ours(state[name]) for name, path in self.paths.items()}

    def take(self, arrays: dict[str, np.ndarray]) -> None:
        state = {self.names.torch_name(name): self.names.as_torch(array) for name, array in arrays.items()}
        left = self.network.load_state_dict(state, strict=False)
        missing = [name for name in left.missing_keys if not name.endswith("num_batches_tracked")]
        if missing or left.unexpected_keys:
            raise ValueError(f"the networks differ: {missing}, {left.unexpected_keys}")
        self.paths = {self.names.torch_name(name): name for name in arrays}

    def train(self) -> float:
        self.network.train()
        self.optimizer.zero_grad()
        with self.precision():
            loss = self.torch.nn.functional.cross_entropy(self.call(self.images), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def infer(self) -> np.ndarray:
        self.network.eval()
        with self.torch.inference_mode(), self.precision():
            return self.call(self.images).float().numpy()

    def check(self) -> dict[str, np.ndarray]:
        self.network.train()
        self.optimizer.zero_grad()
        with self.precision():
            logits = self.network(self.images)
            loss = self.torch.nn.functional.cross_entropy(logits, self.labels)
        loss.backward()
        found = {
            f"gradient of {self.paths[name]}": self.names.as_ours(parameter.grad)
            for name, parameter in self.network.named_parameters()
        }
        return {"logits": logits.detach().float().numpy(), **found, **_statistics(self.weights())}


CONTESTANTS = {
    "ours": KerasContestant,
    "keras": partial(KerasContestant, stock=True),
    "torch": TorchContestant,
    "torch.compile": partial(TorchContestant, compiled=True),
    "ours-bfloat16": partial(KerasContestant, precision="mixed_bfloat16"),
    "torch-bfloat16": partial(TorchContestant, bfloat16=True),
    "torch.compile-bfloat16": partial(TorchContestant, compiled=True, bfloat16=True),
}


def _keras_norm(momentum: float, epsilon: float, zero_scale: bool, train_scale: bool, name: str):
    """Keras's own batch norm with the settings of ours."""
    import keras

    return keras.layers.BatchNormalization(
        momentum=momentum,
        epsilon=epsilon,
        gamma_initializer="zeros" if zero_scale else "ones",
        scale=train_scale,
        name=name,
    )


def _our_name(path: str) -> str:
    """Translates a weight's path in a network with Keras's batch norm; ours stay as they are."""
    words = {"gamma": "scale", "beta": "offset", "moving_mean": "running_mean", "moving_variance": "running_variance"}
    layer, weight = path.split("/")
    return f"{layer}/{words.get(weight, weight)}"


def _statistics(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the running statistics among some weights; copies, as training goes on in the originals."""
    return {name: np.array(array) for name, array in arrays.items() if "/running_" in name}


def serve(name: str, case: Case) -> None:
    """Answers commands until standard input ends."""
    if name == "keras":  # stock: oneDNN is on or off as TensorFlow has it, whatever importing resnet_tf has set
        os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)
    # TensorFlow and torch print what they like: only answers may reach the one who asked.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    contestant = CONTESTANTS[name](case)
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "give":
            from resnet_tf.training.device import device_description  # asked of ours only: torch does without Keras

            np.savez(command["path"], **contestant.weights())
            answer = {"device": device_description()}
        elif command["do"] == "take":
            with np.load(command["path"]) as arrays:
                contestant.take(dict(arrays))
            answer = {}
        elif command["do"] == "check":
            work = {"training": contestant.check, "inference": lambda: {"logits": contestant.infer()}}[command["what"]]
            np.savez(Path(command["path"]), **work())
            answer = {}
        else:
            work = {"train": contestant.train, "infer": contestant.infer}[command["do"]]
            before = resource.getrusage(resource.RUSAGE_SELF)
            began, began_cpu = time.perf_counter(), time.process_time()
            for _ in range(command["times"]):
                work()
            answer = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - began_cpu}
            answer["page_faults"] = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before.ru_minflt
        answer["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    serve(sys.argv[1], CASES[sys.argv[2]])
