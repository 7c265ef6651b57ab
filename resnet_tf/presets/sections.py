"""Sections of a preset: images, training, evaluation and reference. The docstrings say what each key means."""

from dataclasses import dataclass
from typing import Annotated, Literal

from resnet_tf.errors import unknown
from resnet_tf.presets import augmentation
from resnet_tf.presets.catalogue import DATASETS
from resnet_tf.presets.parsing import NonNegativeInt, Percent, PositiveFloat, PositiveInt


@dataclass(frozen=True)
class Data:
    """`data` of a preset: which images, and how they are prepared.

    Attributes:
        dataset: a name in `presets.catalogue`.
        validation_size: training images held out to select by, stratified by class; not applied to a folder with a
            validation split of its own.
        augment: steps joined by "|", such as "pad_crop(4) | flip_horizontal", see `presets.augmentation_steps`; "" is
            no augmentation.
        normalize: what is subtracted and divided by: "per_channel" (each channel's mean and standard deviation over the
            training images), "per_pixel" (the mean training image, as in the paper) or "imagenet" (the published
            means and deviations). Of training images on disk an even sample of 1,000 is measured, in the frame of the
            evaluation.
        image_size: height and width in pixels at which the network is trained.
    """

    dataset: str = "cifar10"
    validation_size: NonNegativeInt = 5000
    augment: str = ""
    normalize: Literal["per_channel", "per_pixel", "imagenet"] = "per_channel"
    image_size: Annotated[int, "[8, inf)"] = 32

    def __post_init__(self):
        if self.dataset not in DATASETS:
            raise ValueError(str(unknown("dataset", self.dataset, DATASETS, "preset-wrong-value")))
        augmentation.parse(self.augment)


@dataclass(frozen=True)
class Train:
    """`train` of a preset: how long it trains, and with which batches.

    Attributes:
        batch_size: images of one step.
        epochs: passes over the training split; give this or `steps`.
        steps: updates of the weights; give this or `epochs`.
        repeats: how often an epoch shows each training image, with another augmentation each time. The schedule counts
            these longer epochs too.
        mixup: alpha; every image is averaged with another of its batch, and the label is divided between both classes
            (Zhang et al. 2017, arXiv:1710.09412), see `pipeline.mixing`. 0: off.
        cutmix: alpha; a box of every image is replaced by another image's (Yun et al. 2019, arXiv:1905.04899). 0: off.
            With `mixup` too, each step does one of both by chance.
        precision: "float32", or "mixed_bfloat16": convolutions in bfloat16, weights and batch norm in float32. For
            GPUs and for processors that have bfloat16 instructions; on others it is slower.
        jit_compile: whether XLA compiles the step. For GPUs; on a processor its convolutions are slower.
        init: a run (name or folder), or a preset for its best run, whose weights it starts from, see `transfer`.
        state_minutes: minutes after which the run's state is saved, besides the end of every epoch.
    """

    batch_size: PositiveInt = 128
    epochs: PositiveInt | None = None
    steps: PositiveInt | None = None
    repeats: PositiveInt = 1
    mixup: Annotated[float, "[0, 100]"] = 0.0
    cutmix: Annotated[float, "[0, 100]"] = 0.0
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    jit_compile: bool = False
    init: str | None = None
    state_minutes: PositiveFloat = 10.0

    def __post_init__(self):
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give one of 'epochs' and 'steps'.")
        if (self.mixup or self.cutmix) and self.batch_size == 1:
            raise ValueError("'mixup' and 'cutmix' need a 'batch_size' of at least 2. Received: 1.")

    def steps_per_epoch(self, images: int) -> int:
        """Returns the full batches of an epoch of so many training images; the remainder is left out."""
        return images * self.repeats // self.batch_size

    def total_steps(self, steps_per_epoch: int) -> int:
        """Returns the length of the training, or of this phase, in steps."""
        return self.steps if self.steps is not None else self.epochs * steps_per_epoch


@dataclass(frozen=True)
class Evaluation:
    """`evaluation` of a preset: how the trained network is scored.

    Attributes:
        frame: steps that bring an image to one size, such as "resize(256) | center_crop(224)"; "" leaves images as they
            are.
        view: "1-crop"; or several views of an image whose probabilities are averaged: "mirror" (2), "mirror-shift" (6)
            or "10-crop" (10), see `pipeline.views`.
        weights: "last" (of the last step, as in the paper) or "best" (of the highest validation top-1).
    """

    frame: str = ""
    view: Literal["1-crop", "mirror", "mirror-shift", "10-crop"] = "1-crop"
    weights: Literal["last", "best"] = "last"

    def __post_init__(self):
        augmentation.parse_evaluation(self.frame, self.view, "evaluation.frame")


@dataclass(frozen=True)
class Reference:
    """`reference` of a preset: what its author or the paper measured.

    Attributes:
        test_top1, test_top5, validation_top1: accuracies in percent, 0 to 100; None where none was published.
        protocol: how they were measured, such as "10-crop, last epoch".
        assumed: what of protocol and images the source does not say, so that this project assumes it: "view and epoch".
        source: where they were published.
        note: what a reader must know about them, or why there are none.
    """

    test_top1: Percent | None = None
    test_top5: Percent | None = None
    validation_top1: Percent | None = None
    protocol: str = ""
    assumed: str = ""
    source: str = ""
    note: str = ""
