"""The device that a training runs on."""

import os
import platform
from pathlib import Path

import keras

from resnet_tf.log import logger
from resnet_tf.presets.schema import Preset


def device_description() -> str:
    """Returns the accelerators, or the processor and its threads: "CPU: AMD EPYC, 2 threads".

    Of NVIDIA GPUs it says whether float32 may be multiplied in TF32, which has 10 bits of precision instead of 23.
    """
    tf32 = os.environ.get("NVIDIA_TF32_OVERRIDE") != "0"  # the libraries' own switch
    if keras.backend.backend() == "jax":
        import jax

        accelerators = [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    else:
        import tensorflow as tf

        details = [tf.config.experimental.get_device_details(gpu) for gpu in _gpus()]
        accelerators = [detail.get("device_name", "GPU") for detail in details]
        tf32 = tf32 and tf.config.experimental.tensor_float_32_execution_enabled()
    if accelerators:
        return f"{len(accelerators)} x {accelerators[0]}" + ", TF32 allowed" * (tf32 and "NVIDIA" in accelerators[0])
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()  # macOS lacks it
    if keras.backend.backend() == "tensorflow":
        threads = tf.config.threading.get_intra_op_parallelism_threads() or threads  # 0: as many as there are
    return f"CPU: {_processor()}, {threads} threads"


def warn_of_xla(preset: Preset) -> None:
    """Logs a warning if the preset asks for XLA and TensorFlow has no GPU: XLA is slow on a processor."""
    wanted = any(phase.train.jit_compile for phase in preset.in_phases)
    if wanted and keras.backend.backend() == "tensorflow" and not _gpus():
        logger.warning(
            "train.jit_compile=true makes a step several times slower here: XLA is for GPUs, and TensorFlow "
            "finds none. Train without it: --set train.jit_compile=false, in a new run."
        )


def _gpus() -> list:
    import tensorflow as tf

    return tf.config.list_physical_devices("GPU")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
