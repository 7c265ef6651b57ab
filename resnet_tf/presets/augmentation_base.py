"""What all augmentation steps share: their class, and the check of two arguments that several have."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

from resnet_tf.errors import UserError

Shape = tuple[int, int] | None  # height, width in pixels; None: they differ between images


@dataclass(frozen=True)
class Augmentation:
    """One step of a chain; `str` returns it as it is written in an expression.

    Attributes:
        name: as written in an expression.
        kind: "framing", "geometry" or "colour".
        draws_per_image: how many uniform random numbers an image needs; 0 if nothing is random.
    """

    name: ClassVar[str]
    kind: ClassVar[Literal["framing", "geometry", "colour"]]
    draws_per_image: ClassVar[int] = 0

    def after(self, shape: Shape) -> Shape:
        """Returns the shape of the image that this step makes of one of `shape`; raises UserError where it cannot."""
        if shape is None:
            raise UserError(
                f"{self} needs images of one size. Received images whose sizes differ. Put random_resized_crop, "
                "random_crop or center_crop before it.",
                "augment-sizes-differ",
            )
        return shape

    def __str__(self):
        given = [(field, getattr(self, field.name)) for field in dataclasses.fields(self)]
        required = [repr(value) for field, value in given if field.default is dataclasses.MISSING]
        chosen = [f"{field.name}={value!r}" for field, value in given[len(required) :] if value != field.default]
        arguments = ", ".join(required + chosen)
        return f"{self.name}({arguments})" if arguments else self.name


def check_area_and_aspect(area: tuple[float, ...], aspect: tuple[float, ...]) -> None:
    """Raises ValueError unless both are ranges: fractions of an image's area, and ratios of two sides."""
    if len(area) != 2 or not 0 < area[0] <= area[1] <= 1:
        raise ValueError(f"'area' must be two numbers with 0 < low <= high <= 1. Received: {area}.")
    if len(aspect) != 2 or not 0 < aspect[0] <= aspect[1]:
        raise ValueError(f"'aspect' must be two numbers with 0 < low <= high. Received: {aspect}.")
