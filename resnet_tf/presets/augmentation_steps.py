"""What can be done to an image on its way to the network: one frozen dataclass a step, without TensorFlow.

There are three kinds: framing picks a window of the image and the size at which it is shown; geometry moves pixels and
keeps the size; colour changes values. `augmentations` reads chains of them, `augment` carries them out.
"""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

from resnet_tf.errors import UserError
from resnet_tf.presets.rounding import resized_side

Shape = tuple[int, int] | None  # height, width in pixels; None: they differ from image to image


@dataclass(frozen=True)
class Augmentation:
    """One step of a chain; `str` gives it back as text.

    Attributes:
        name: as written in an expression.
        kind: "framing", "geometry" or "colour".
        numbers: how many uniform random numbers it takes an image; 0 where nothing is random.
    """

    name: ClassVar[str]
    kind: ClassVar[Literal["framing", "geometry", "colour"]]
    numbers: ClassVar[int] = 0

    def after(self, shape: Shape) -> Shape:
        """Returns the shape of what this makes of an image of `shape`; raises UserError where it cannot."""
        if shape is None:
            raise UserError(
                f"{self} needs images of one size. Received images whose sizes differ. Put a framing that gives "
                "one size first: random_resized_crop, random_crop or center_crop."
            )
        return shape

    def __str__(self):
        given = [(field, getattr(self, field.name)) for field in dataclasses.fields(self)]
        required = [repr(value) for field, value in given if field.default is dataclasses.MISSING]
        chosen = [f"{field.name}={value!r}" for field, value in given[len(required) :] if value != field.default]
        arguments = ", ".join(required + chosen)
        return f"{self.name}({arguments})" if arguments else self.name


@dataclass(frozen=True)
class RandomResizedCrop(Augmentation):
    """A window of random area and aspect, shown at `size` x `size`, or at `size` x `width`.

    Ten tries; if none lies within the image, the largest centred window whose aspect is allowed. The window's aspect
    does not follow the shape at which it is shown.

    Attributes:
        size: height in pixels at which the window is shown.
        area: least and greatest share of the image's area, uniform.
        aspect: least and greatest width / height, uniform in its logarithm.
        width: in pixels, at which the window is shown; None: as `size`.

    Source: Szegedy et al. 2014 (arXiv:1409.4842) section 6, by torchvision's rule.
    """

    name = "random_resized_crop"
    kind = "framing"
    tries: ClassVar[int] = 10
    numbers = 2 * tries + 2

    size: int
    area: tuple[float, ...] = (0.08, 1.0)
    aspect: tuple[float, ...] = (3 / 4, 4 / 3)
    width: int | None = None

    def __post_init__(self):
        _at_least(1, size=self.size)
        if self.width is not None:
            _at_least(1, width=self.width)
        if len(self.area) != 2 or not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"'area' must be two numbers with 0 < least <= greatest <= 1. Received: {self.area}.")
        if len(self.aspect) != 2 or not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(f"'aspect' must be two numbers with 0 < least <= greatest. Received: {self.aspect}.")

    def after(self, shape: Shape) -> Shape:
        return self.size, self.width or self.size


@dataclass(frozen=True)
class Crop(Augmentation):
    """A window of `size` x `size` pixels; an image on disk that is smaller stands centred on black."""

    kind = "framing"

    size: int

    def __post_init__(self):
        _at_least(1, size=self.size)

    def after(self, shape: Shape) -> Shape:
        if shape is not None and min(shape) < self.size:
            raise UserError(f"{self} must not be larger than the image it is cut from, {shape[0]} x {shape[1]} pixels.")
        return self.size, self.size


@dataclass(frozen=True)
class RandomCrop(Crop):
    """A window whose place is uniform over the whole pixels at which it lies within the image."""

    name = "random_crop"
    numbers = 2


@dataclass(frozen=True)
class CenterCrop(Crop):
    """The window in the middle, as torchvision rounds it."""

    name = "center_crop"


@dataclass(frozen=True)
class ShorterSide(Augmentation):
    """The image resized, its aspect kept, to a shorter side of a whole number of pixels uniform in [low, high].

    Source: Simonyan & Zisserman 2014 (arXiv:1409.1556) section 3.1.
    """

    name = "shorter_side"
    kind = "framing"
    numbers = 1

    low: int
    high: int

    def __post_init__(self):
        _at_least(1, low=self.low)
        _at_least(self.low, high=self.high)

    def after(self, shape: Shape) -> Shape:
        return resized(shape, self.low) if self.low == self.high else None


@dataclass(frozen=True)
class Resize(Augmentation):
    """The image resized, its aspect kept, to a shorter side of `size` pixels."""

    name = "resize"
    kind = "framing"

    size: int

    def __post_init__(self):
        _at_least(1, size=self.size)

    def after(self, shape: Shape) -> Shape:
        return resized(shape, self.size)


@dataclass(frozen=True)
class Resample(Augmentation):
    """The image resampled between two framings, and rounded to whole grey levels; the next works on those pixels.

    Without it a chain of framings is worked out first and the image resampled once, which keeps it sharper. torchvision
    resamples at every step: "resize(256) | resample | random_resized_crop(224)" is its Resize and RandomResizedCrop.
    """

    name = "resample"
    kind = "framing"

    def after(self, shape: Shape) -> Shape:
        return shape


@dataclass(frozen=True)
class PadCrop(Augmentation):
    """The image moved by up to `padding` whole pixels each way, every shift equally likely; `fill` comes in behind it.

    Attributes:
        padding: in pixels.
        fill: a grey level, 0 to 255.

    Source: He et al. 2015 (arXiv:1512.03385) section 4.2.
    """

    name = "pad_crop"
    kind = "geometry"
    numbers = 2

    padding: int
    fill: int = 0

    def __post_init__(self):
        _at_least(1, padding=self.padding)
        _grey_level(self.fill)


@dataclass(frozen=True)
class Flip(Augmentation):
    """An exchange of opposite sides, with `probability`."""

    kind = "geometry"
    numbers = 1

    probability: float = 0.5

    def __post_init__(self):
        if not 0 <= self.probability <= 1:
            raise ValueError(f"'probability' must be in 0..1. Received: {self.probability}.")


@dataclass(frozen=True)
class FlipHorizontal(Flip):
    """Left and right exchanged."""

    name = "flip_horizontal"


@dataclass(frozen=True)
class FlipVertical(Flip):
    """Top and bottom exchanged."""

    name = "flip_vertical"


@dataclass(frozen=True)
class Rotate(Augmentation):
    """A turn about the centre by an angle uniform in [-degrees, degrees], counter-clockwise where positive.

    The size stays.

    Attributes:
        fill: a grey level, 0 to 255, that comes in at the corners.
        interpolation: "bilinear"; or "nearest", which is the default of torchvision's RandomRotation.
    """

    name = "rotate"
    kind = "geometry"
    numbers = 1

    degrees: float
    fill: int = 0
    interpolation: Literal["bilinear", "nearest"] = "bilinear"

    def __post_init__(self):
        if not 0 < self.degrees <= 180:
            raise ValueError(f"'degrees' must be above 0, at most 180. Received: {self.degrees}.")
        _grey_level(self.fill)


@dataclass(frozen=True)
class Cutout(Augmentation):
    """A square covered with grey; its middle is any pixel alike, so it may reach over the border.

    Attributes:
        size: height and width of the square, in pixels.
        fill: a grey level, 0 to 255. The source's is 0 after normalisation: the training set's mean.

    Source: DeVries and Taylor 2017 (arXiv:1708.04552), section 3.2.
    """

    name = "cutout"
    kind = "geometry"
    numbers = 2

    size: int
    fill: int = 0

    def __post_init__(self):
        _at_least(1, size=self.size)
        _grey_level(self.fill)


@dataclass(frozen=True)
class ColorJitter(Augmentation):
    """Brightness, contrast, saturation and hue changed in an order drawn for every image.

    Attributes:
        brightness, contrast, saturation: b: a factor uniform in [max(0, 1 - b), 1 + b]; 0 leaves it out.
        hue: a shift uniform in [-hue, hue] turns of the colour circle; 0 leaves it out.

    Source: torchvision's ColorJitter.
    """

    name = "color_jitter"
    kind = "colour"
    numbers = 8  # four amounts, then four keys whose order is the order of the changes

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self):
        given = dataclasses.astuple(self)
        if min(given) < 0 or self.hue > 0.5 or max(given) == 0:
            raise ValueError(f"the amounts must be at least 0, hue at most 0.5, one above 0. Received: {given}.")


@dataclass(frozen=True)
class PcaLighting(Augmentation):
    """A colour shift along the principal components of the training set's pixels, p * (alpha * eigenvalue) summed.

    Attributes:
        std: standard deviation of each of the three alphas, normal about 0.
        vectors: whose components: those published for "imagenet", or those of the "training" set.

    Source: Krizhevsky et al. 2012 ("AlexNet"), section 4.1.
    """

    name = "pca_lighting"
    kind = "colour"
    numbers = 3

    std: float = 0.1
    vectors: Literal["imagenet", "training"] = "imagenet"

    def __post_init__(self):
        if self.std <= 0:
            raise ValueError(f"'std' must be above 0. Received: {self.std}.")


AUGMENTATIONS: dict[str, type[Augmentation]] = {
    augmentation.name: augmentation
    for augmentation in (
        PadCrop,
        RandomCrop,
        ShorterSide,
        RandomResizedCrop,
        Resize,
        CenterCrop,
        Resample,
        Rotate,
        Cutout,
        ColorJitter,
        PcaLighting,
        FlipHorizontal,
        FlipVertical,
    )
}


def resized(shape: Shape, shorter_side: int) -> Shape:
    """Returns `shape` scaled to a shorter side of `shorter_side` pixels; the longer one is rounded down."""
    if shape is None:
        return None
    return tuple(resized_side(side, min(shape), shorter_side) for side in shape)


def _at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name!r} must be at least {least}. Received: {value}.")


def _grey_level(fill: int) -> None:
    if not 0 <= fill <= 255:
        raise ValueError(f"'fill' must be in 0..255. Received: {fill}.")
