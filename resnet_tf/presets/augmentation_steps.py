"""Declares the augmentation steps: a frozen dataclass each, with the arguments that an expression gives it.

There are three kinds: framing cuts a window out of the image and resizes it; geometry moves pixels and keeps the size;
colour changes values. `augmentation` parses chains of steps, `pipeline.augment` applies them.
"""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from resnet_tf.errors import UserError
from resnet_tf.presets.augmentation_base import Augmentation, Shape, check_area_and_aspect
from resnet_tf.presets.parsing import NonNegativeFloat, PositiveFloat, PositiveInt
from resnet_tf.presets.rounding import resized_side

GreyLevel = Annotated[int, "[0, 255]"]


@dataclass(frozen=True)
class RandomResizedCrop(Augmentation):
    """A window of random area and aspect, resized to `size` x `size`, or to `size` x `width`.

    Ten tries; if none lies within the image, the largest centred window with an allowed aspect.

    Attributes:
        size: height of the result in pixels.
        area: smallest and largest fraction of the image's area, above 0 to 1, uniform.
        aspect: smallest and largest width / height of the window, above 0, uniform in the logarithm.
        width: of the result in pixels; None: as `size`.

    Source: Szegedy et al. 2014 (arXiv:1409.4842) section 6, by torchvision's rule.
    """

    name = "random_resized_crop"
    kind = "framing"
    tries: ClassVar[int] = 10
    draws_per_image = 2 * tries + 2

    size: PositiveInt
    area: tuple[float, ...] = (0.08, 1.0)
    aspect: tuple[float, ...] = (3 / 4, 4 / 3)
    width: PositiveInt | None = None

    def __post_init__(self):
        check_area_and_aspect(self.area, self.aspect)

    def after(self, shape: Shape) -> Shape:
        return self.size, self.width or self.size


@dataclass(frozen=True)
class Crop(Augmentation):
    """A window of `size` x `size` pixels; a smaller image on disk is centred on black."""

    kind = "framing"

    size: PositiveInt

    def after(self, shape: Shape) -> Shape:
        if shape is not None and min(shape) < self.size:
            message = f"{self} must not be larger than the image it is cut from, {shape[0]} x {shape[1]} pixels."
            raise UserError(message, "augment-crop-too-large")
        return self.size, self.size


@dataclass(frozen=True)
class RandomCrop(Crop):
    """A window at a random whole pixel, uniform over the positions within the image."""

    name = "random_crop"
    draws_per_image = 2


@dataclass(frozen=True)
class CenterCrop(Crop):
    """The window in the middle, as torchvision rounds it where the image is as large as the window."""

    name = "center_crop"


@dataclass(frozen=True)
class ShorterSide(Augmentation):
    """The image resized, with its aspect, to a shorter side that is a whole number of pixels uniform in [low, high].

    Source: Simonyan & Zisserman 2014 (arXiv:1409.1556) section 3.1.
    """

    name = "shorter_side"
    kind = "framing"
    draws_per_image = 1

    low: PositiveInt
    high: PositiveInt

    def __post_init__(self):
        if self.low > self.high:
            raise ValueError(f"'high' must be at least 'low', {self.low}. Received: {self.high}.")

    def after(self, shape: Shape) -> Shape:
        return resized(shape, self.low) if self.low == self.high else None


@dataclass(frozen=True)
class Resize(Augmentation):
    """The image resized, with its aspect, to a shorter side of `size` pixels."""

    name = "resize"
    kind = "framing"

    size: PositiveInt

    def after(self, shape: Shape) -> Shape:
        return resized(shape, self.size)


@dataclass(frozen=True)
class Resample(Augmentation):
    """The image resampled between two framing steps, and rounded to whole pixel values.

    Without it the framing steps are combined and the image is resampled once, which keeps it sharper. torchvision
    resamples at every step: "resize(256) | resample | random_resized_crop(224)" is its Resize and RandomResizedCrop.
    """

    name = "resample"
    kind = "framing"

    def after(self, shape: Shape) -> Shape:
        return shape


@dataclass(frozen=True)
class PadCrop(Augmentation):
    """The image shifted by up to `padding` whole pixels in each direction, all shifts equally likely.

    Attributes:
        padding: in pixels.
        fill: the grey level of the pixels that appear at the border.
        padding_mode: "constant", or "reflect": the image is continued by its mirror image, without repeating its edge.

    Source: He et al. 2015 (arXiv:1512.03385) section 4.2.
    """

    name = "pad_crop"
    kind = "geometry"
    draws_per_image = 2

    padding: PositiveInt
    fill: GreyLevel = 0
    padding_mode: Literal["constant", "reflect"] = "constant"

    def __post_init__(self):
        if self.padding_mode == "reflect" and self.fill:
            raise ValueError(f"'fill' is for the padding_mode constant. Received: {self.fill}.")

    def after(self, shape: Shape) -> Shape:
        shape = super().after(shape)
        if self.padding_mode == "reflect" and self.padding >= min(shape):
            message = f"{self} must reflect fewer pixels than the image has, {shape[0]} x {shape[1]}."
            raise UserError(message, "augment-padding-too-large")
        return shape


@dataclass(frozen=True)
class Flip(Augmentation):
    """The image mirrored with `probability`."""

    kind = "geometry"
    draws_per_image = 1

    probability: Annotated[float, "[0, 1]"] = 0.5


@dataclass(frozen=True)
class FlipHorizontal(Flip):
    """Left and right exchanged."""

    name = "flip_horizontal"


@dataclass(frozen=True)
class AlternateFlip(Augmentation):
    """Left and right exchanged in every second epoch, so that two epochs show each image once each way.

    Chance decides for each image whether that is in the even or in the odd epochs.

    Source: Jordan 2024 (arXiv:2404.00498), section 3.6.
    """

    name = "alternate_flip"
    kind = "geometry"
    draws_per_image = 1


@dataclass(frozen=True)
class FlipVertical(Flip):
    """Top and bottom exchanged."""

    name = "flip_vertical"


@dataclass(frozen=True)
class Rotate(Augmentation):
    """A rotation about the centre by an angle uniform in [-degrees, degrees], positive counter-clockwise.

    Attributes:
        fill: the grey level of the corners.
        interpolation: "bilinear"; or "nearest", which is the default of torchvision's RandomRotation.
    """

    name = "rotate"
    kind = "geometry"
    draws_per_image = 1

    degrees: Annotated[float, "(0, 180]"]
    fill: GreyLevel = 0
    interpolation: Literal["bilinear", "nearest"] = "bilinear"


@dataclass(frozen=True)
class Cutout(Augmentation):
    """A square covered with grey; its centre is uniform over the pixels, so it may extend beyond the border.

    Attributes:
        size: height and width of the square in pixels.
        fill: a grey level; the source uses 0 after normalisation, the mean of the training set.

    Source: DeVries and Taylor 2017 (arXiv:1708.04552), section 3.2.
    """

    name = "cutout"
    kind = "geometry"
    draws_per_image = 2

    size: PositiveInt
    fill: GreyLevel = 0


@dataclass(frozen=True)
class RandomErasing(Augmentation):
    """With `probability`, a rectangle of random area and aspect, at a random place within the image, is covered.

    Ten tries; if in none the rectangle is lower and narrower than the image, nothing is covered.

    Attributes:
        probability: of an image to be tried at all.
        area: smallest and largest fraction of the image's area, above 0 to 1, uniform.
        aspect: smallest and largest height / width of the rectangle, above 0, uniform in the logarithm.
        fill: a grey level; None: the mean colour of the training images, about 0 after normalisation.

    Source: Zhong et al. 2017 (arXiv:1708.04896), algorithm 1, by the rule of torchvision's RandomErasing.
    """

    name = "random_erasing"
    kind = "geometry"
    tries: ClassVar[int] = 10
    draws_per_image = 1 + 2 * tries + 2

    probability: Annotated[float, "[0, 1]"] = 0.5
    area: tuple[float, ...] = (0.02, 0.33)
    aspect: tuple[float, ...] = (0.3, 3.3)
    fill: GreyLevel | None = None

    def __post_init__(self):
        check_area_and_aspect(self.area, self.aspect)


@dataclass(frozen=True)
class ColorJitter(Augmentation):
    """Brightness, contrast, saturation and hue changed, in a random order for each image.

    Attributes:
        brightness, contrast, saturation: b means a factor uniform in [max(0, 1 - b), 1 + b]; 0: no change.
        hue: a shift uniform in [-hue, hue] turns of the colour circle; 0: no change.

    Source: torchvision's ColorJitter.
    """

    name = "color_jitter"
    kind = "colour"
    draws_per_image = 8  # four amounts, then four keys whose order is the order of the changes

    brightness: NonNegativeFloat = 0.0
    contrast: NonNegativeFloat = 0.0
    saturation: NonNegativeFloat = 0.0
    hue: Annotated[float, "[0, 0.5]"] = 0.0

    def __post_init__(self):
        if not any(dataclasses.astuple(self)):
            raise ValueError("one of the amounts must be above 0. Received: only zeros.")


@dataclass(frozen=True)
class PcaLighting(Augmentation):
    """A colour shift along the principal components p of the pixels: the sum of p * alpha * eigenvalue.

    Attributes:
        std: standard deviation of each of the three alphas, normal with mean 0.
        vectors: the components published for "imagenet", or those of the "training" images.

    Source: Krizhevsky et al. 2012 ("AlexNet"), section 4.1.
    """

    name = "pca_lighting"
    kind = "colour"
    draws_per_image = 3

    std: PositiveFloat = 0.1
    vectors: Literal["imagenet", "training"] = "imagenet"


@dataclass(frozen=True)
class TrivialAugment(Augmentation):
    """Each image gets one of 14 operations, all equally likely, at one of 31 magnitudes, all equally likely.

    Identity, shears, translations, rotation, brightness, colour, contrast, sharpness, posterize, solarize, autocontrast
    and equalize. It works on whole pixel values.

    Attributes:
        fill: the grey level of what appears at the border.
        interpolation: of shears and rotation: "nearest", torchvision's default, or "bilinear".

    Source: Müller and Hutter 2021 (arXiv:2103.10158), "TA (Wide)", by torchvision's TrivialAugmentWide.
    """

    name = "trivial_augment"
    kind = "colour"
    draws_per_image = 3  # which operation, which magnitude, and its sign

    fill: GreyLevel = 0
    interpolation: Literal["nearest", "bilinear"] = "nearest"


_STEPS = (PadCrop, RandomCrop, ShorterSide, RandomResizedCrop, Resize, CenterCrop, Resample)
_STEPS += (Rotate, Cutout, RandomErasing, ColorJitter, PcaLighting, TrivialAugment)
_STEPS += (FlipHorizontal, AlternateFlip, FlipVertical)
AUGMENTATIONS: dict[str, type[Augmentation]] = {step.name: step for step in _STEPS}


def resized(shape: Shape, shorter_side: int) -> Shape:
    """Returns `shape` resized to a shorter side of `shorter_side` pixels; the longer one is rounded down."""
    if shape is None:
        return None
    return tuple(resized_side(side, min(shape), shorter_side) for side in shape)
