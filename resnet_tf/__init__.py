"""ResNets whose numbers one can trust: the recipes of five known reproductions, for Keras 3 and TensorFlow.

    import resnet_tf
    preset = resnet_tf.load_preset("4", train={"epochs": 2})
    run = resnet_tf.train(preset)
    result = resnet_tf.evaluate(run)

Neither Keras nor TensorFlow is imported until one of these needs it. Once Keras is imported, by whomever, it knows the
layers, optimizers and losses of this package, and `keras.models.load_model` reads a .keras file that has some.
"""

import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

from resnet_tf import log

# Off by default on processors without AVX-512 VNNI, where it is worth a factor of 1.5. Read once, when TensorFlow is
# first imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_HOMES = {
    "load_preset": "resnet_tf.presets.preset_files",
    "build_network": "resnet_tf.models.build",
    "resnet": "resnet_tf.models.resnet",
    "from_pretrained": "resnet_tf.transfer",
    "train": "resnet_tf.training.train",
    "evaluate": "resnet_tf.evaluation.evaluate",
    "predict": "resnet_tf.prediction.predict",
}
__all__ = list(_HOMES)
__version__ = "0.7.8"


# The modules whose classes are registered with Keras when they are imported.
_REGISTERED = ("resnet_tf.models.layers", "resnet_tf.optim.losses", "resnet_tf.optim.optimizers")


def _register() -> None:
    for module in _REGISTERED:
        importlib.import_module(module)


class _AfterKeras:
    """Registers our classes right after the import of Keras: Keras finds no class that nobody has imported.

    An entry of `sys.meta_path`, which is asked for every module before it is imported.
    """

    def find_spec(self, name: str, path=None, target: ModuleType | None = None):
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        sys.meta_path.insert(0, self)
        if spec is not None:
            import_keras = spec.loader.exec_module

            def import_and_register(module: ModuleType) -> None:
                sys.meta_path.remove(self)
                import_keras(module)
                _register()

            spec.loader.exec_module = import_and_register
        return spec


log.start()
if "keras" in sys.modules:
    _register()
else:
    sys.meta_path.insert(0, _AfterKeras())


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'resnet_tf' has no attribute {name!r}")
