"""The rules of the recipe check whose findings cannot be trained at all.

A rule is a function of `PhaseFacts` that yields what is wrong and what to do about it.
"""

import math
from collections.abc import Iterator

from resnet_tf.errors import UserError
from resnet_tf.lint.rule import LONGEST, PhaseFacts, Problem, rule
from resnet_tf.models.cost import network_size
from resnet_tf.presets import augmentation
from resnet_tf.presets.catalogue import DATASETS


@rule("stl10: under two million parameters", impossible=True)
def parameter_limit(phase: PhaseFacts) -> Iterator[Problem]:
    limit = phase.preset.model.parameter_limit
    if limit is None or phase.classes is None:
        return
    parameters = network_size(phase.preset.model, phase.preset.data.image_size, phase.classes).parameters
    if parameters > limit:
        yield f"the network has {parameters:,} parameters; model.parameter_limit is {limit:,}.", "Make it smaller."


@rule("pytorch-cifar issue 145: without validation, chosen on the test split", impossible=True)
def nothing_to_select_by(phase: PhaseFacts) -> Iterator[Problem]:
    if phase.validation != 0:
        return
    fewer = min(5000, phase.images // 5) if phase.images else "COUNT"
    remedy = f"Hold some training images out: --set data.validation_size={fewer}."
    if phase.preset.evaluation.weights == "best":
        yield "the best weights are those of the highest validation top-1, and there is no validation.", remedy
    if phase.plateau and phase.plateau.metric.startswith("validation"):
        yield f"the plateau waits for {phase.plateau.metric}, and there is no validation.", remedy


@rule("a folder's photos, which the check accepted and the training refused", impossible=True)
def images_of_one_size(phase: PhaseFacts) -> Iterator[Problem]:
    """Training images must have the network's size, and evaluated ones must be square."""
    data, evaluation = phase.preset.data, phase.preset.evaluation
    side, size = DATASETS[data.dataset].image_size, data.image_size
    shape = None if side is None else (side, side)  # None: the files' sizes differ
    try:
        height, width = augmentation.output_shape(augmentation.parse(data.augment), shape)
        if (height, width) != (size, size):
            yield (
                f"data.augment={data.augment!r} gives {height} x {width} pixels, and data.image_size is {size}.",
                "Make the two equal.",
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
        yield f"evaluation.frame={evaluation.frame!r}: {error}", f"Here: resize({size}) | center_crop({size})."


@rule("the paper's recipes, scored at another size than their mean image's", impossible=True)
def mean_image_of_one_size(phase: PhaseFacts) -> Iterator[Problem]:
    """A mean image is subtracted from images of its own size, in training and in evaluation."""
    data, evaluation = phase.preset.data, phase.preset.evaluation
    if data.normalize != "per_pixel":
        return
    side = DATASETS[data.dataset].image_size
    try:
        evaluated, _ = augmentation.output_shape(augmentation.parse(evaluation.frame), side and (side, side))
    except UserError:  # `images_of_one_size` says it
        return
    # Images in memory are measured as they are, files as evaluation shows them.
    sizes = {side or evaluated, data.image_size, evaluated}
    if len(sizes) > 1:
        named = ", ".join(map(str, sorted(sizes)))
        yield f"data.normalize is per_pixel, and images are of {named} pixels.", "Try data.normalize=per_channel."


@rule("a batch larger than an epoch, which makes no step", impossible=True)
def batch_too_large(phase: PhaseFacts) -> Iterator[Problem]:
    train, images = phase.preset.train, phase.images
    if images is None or train.batch_size <= images * train.repeats:
        return
    repeated = f", shown {train.repeats} times an epoch" if train.repeats > 1 else ""
    left, remedies = "", [f"Lower train.batch_size to {images * train.repeats} or less"] if images else []
    if phase.held_out:
        available = images + phase.held_out
        surplus = available - math.ceil(train.batch_size / train.repeats)
        left = f" that data.validation_size={phase.preset.data.validation_size} leaves of {available}"
        if surplus >= 0:
            hold = "or hold" if remedies else "Hold"
            fewer = min(available // 5, surplus)
            remedies.append(f"{hold} fewer images out, such as --set data.validation_size={fewer}")
    what = f"train.batch_size={train.batch_size} is more than the {images} training images{left}{repeated}"
    yield f"{what}.", f"{', '.join(remedies or ['Add images'])}."


@rule("a slip of the keyboard: a learning rate for each of 100,000,000,000 steps fills the memory", impossible=True)
def too_many_steps(phase: PhaseFacts) -> Iterator[Problem]:
    if phase.steps is not None and phase.steps > LONGEST:
        yield f"the training has {phase.steps:,} steps; at most {LONGEST:,} are planned.", "Make it shorter."
