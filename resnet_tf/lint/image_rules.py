"""Rules of the recipe check on the sizes of images: what a training, or an evaluation, would refuse once it runs."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from resnet_tf.errors import UserError
from resnet_tf.presets import augmentation
from resnet_tf.presets.catalogue import DATASETS

if TYPE_CHECKING:
    from resnet_tf.lint.rules import Problem, Recipe


def images_of_one_size(recipe: "Recipe") -> "Iterator[Problem]":
    """Finds training images that do not come out in the network's size, and evaluated ones that are not square."""
    data, evaluation = recipe.preset.data, recipe.preset.evaluation
    side, size = DATASETS[data.dataset].image_size, data.image_size
    shape = None if side is None else (side, side)  # None: the files' sizes differ
    try:
        found = augmentation.output_shape(augmentation.parse(data.augment), shape)
        if found != (size, size):
            yield (
                f"data.augment={data.augment!r} gives {found[0]} x {found[1]} pixels, and data.image_size is {size}.",
                "Let the two agree.",
            )
    except UserError as error:
        yield f"data.augment={data.augment!r}: {error}", f"Here: random_resized_crop({size}) as the first step."
    try:
        augmentation.parse_evaluation(evaluation.frame, evaluation.view, "evaluation.frame")
        height, width = augmentation.output_shape(augmentation.parse(evaluation.frame), shape)
        if height != width:
            yield (
                f"evaluation.frame={evaluation.frame!r} gives {height} x {width} pixels, which are not square.",
                f"End it with center_crop({min(height, width)}).",
            )
    except UserError as error:
        remedy = f"Here: resize({size}) | center_crop({size})."
        yield f"evaluation.frame={evaluation.frame!r}: {error}", remedy
