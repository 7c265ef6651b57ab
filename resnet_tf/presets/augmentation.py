"""Parses chains of augmentations, such as "pad_crop(4) | flip_horizontal", and works out the size they return.

A chain is a tuple of steps in the order in which they act. `augmentation_steps` declares the steps; `pipeline.augment`
applies them.
"""

import ast
import dataclasses
from typing import Any

from resnet_tf.errors import UserError, unknown
from resnet_tf.presets import parsing
from resnet_tf.presets.augmentation_steps import (
    AUGMENTATIONS,
    Augmentation,
    CenterCrop,
    Crop,
    RandomResizedCrop,
    Resample,
    Resize,
    Shape,
    ShorterSide,
)

EXAMPLE = "pad_crop(4) | flip_horizontal"
MAX_CHARACTERS = 2000  # Python's parser gives up on deep nesting in more than one way

Chain = tuple[Augmentation, ...]

RESOLUTIONS = range(8, 4097)  # heights and widths in pixels at which a network can be evaluated

# How many versions of each test image the network is shown, by the name of the view.
VIEWS = {"1-crop": 1, "mirror": 2, "mirror-shift": 6, "10-crop": 10}


def parse(expression: str, where: str = "augment") -> Chain:
    """Parses a chain: steps joined by `|`, each a name, or a call with numbers, texts or lists of them.

    Args:
        expression: such as "random_resized_crop(70, area=(0.25, 1)) | flip_horizontal"; "" is the empty chain.
        where: what the expression is, as the user knows it, for messages.

    Raises:
        UserError: another form, an unknown name (the message names the nearest), wrong arguments (the message shows the
            right ones), or an impossible order.
    """
    if not expression.strip():
        return ()
    try:
        if len(expression) > MAX_CHARACTERS:
            raise ValueError("too long")
        tree = ast.parse(expression.strip(), mode="eval").body
        chain = tuple(_step(node, where) for node in _joined_by_bars(tree))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        message = f"{where} must have the form {EXAMPLE!r}. Received: {expression[:200]!r}."
        raise UserError(message, "augment-wrong-form") from error
    _check_order(chain, where)
    return chain


def parse_evaluation(expression: str, view: str, where: str = "evaluation") -> tuple[Chain, int | None]:
    """Parses how test images are resized and cropped, such as "resize(256) | center_crop(224)".

    Args:
        view: one of VIEWS; a center_crop at the end is the size of its crops.

    Returns:
        The steps before the crops, and the size of the crops in pixels; None: the whole image is the only view.

    Raises:
        UserError: as `parse`; also a random step, an unknown view, or "10-crop" without the size of its crops.
    """
    chain = parse(expression, where)
    random = [str(step) for step in chain if step.draws_per_image]
    if random:
        message = f"{where} must have no random step. Received: {random[0]}. Use resize and center_crop."
        raise UserError(message, "evaluation-random-step")
    if view not in VIEWS:
        raise unknown("view", view, VIEWS, "unknown-view")
    if chain and isinstance(chain[-1], CenterCrop):
        return chain[:-1], chain[-1].size
    if view == "10-crop":
        message = f"{view} needs the size of its crops. Received: {expression!r}. End it with center_crop(size)."
        raise UserError(message, "evaluation-no-crop-size")
    return chain, None


def frame_at(expression: str, size: int) -> str:
    """Returns how test images are brought to another size, all else in proportion.

    Args:
        expression: the frame that is changed, see `parse_evaluation`: "resize(256) | center_crop(224)".
        size: height and width in pixels of the images as the network will see them, such as 288.

    Returns:
        A frame such as "resize(329) | center_crop(288)"; for "resize(120)", "resize(288)". Where nothing is resized
        yet, that comes at the end: "center_crop(24) | resize(288)".

    Raises:
        UserError: as `parse`; a size outside `RESOLUTIONS`; steps other than resize, resample and center_crop.
    """
    if size not in RESOLUTIONS:
        message = f"a resolution is {RESOLUTIONS[0]} to {RESOLUTIONS[-1]:,} pixels. Received: {size}."
        raise UserError(message, "resolution-out-of-range")
    chain = parse(expression, "evaluation.frame")
    if not all(isinstance(step, Resize | CenterCrop | Resample) for step in chain):
        raise UserError(
            "images take another size where the frame has no steps but resize, resample and center_crop. "
            f"Received: evaluation.frame={expression!r}.",
            "evaluation-frame-other-size",
        )
    first = next((i for i, step in enumerate(chain) if isinstance(step, Resize)), None)
    if first is None:
        return " | ".join([*map(str, chain), f"resize({size})"])
    last = [step.size for step in chain if not isinstance(step, Resample)][-1]

    def scaled(step: Augmentation) -> str:
        return str(step) if isinstance(step, Resample) else f"{step.name}({round(step.size * size / last)})"

    # A crop before the first resize is measured in pixels of the file.
    return " | ".join([*map(str, chain[:first]), *map(scaled, chain[first:])])


def split_framing(chain: Chain) -> tuple[Chain, Chain]:
    """Returns the framing steps at the start of a chain, applied while an image file is read, and the other steps."""
    count = next((i for i, step in enumerate(chain) if step.kind != "framing"), len(chain))
    return chain[:count], chain[count:]


def output_shape(chain: Chain, shape: Shape = None) -> tuple[int, int]:
    """Returns the (height, width) in pixels of the images that a chain returns.

    Args:
        shape: of the images it receives; None: their sizes differ.

    Raises:
        UserError: the images would differ in size, or a step does not fit the images that it receives.
    """
    for step in chain:
        shape = step.after(shape)
    if shape is None:
        raise UserError(
            f"the images must all get one size. Received: {' | '.join(map(str, chain)) or 'no framing'!r}. "
            "End the framing with random_resized_crop, random_crop or center_crop.",
            "augment-sizes-differ",
        )
    return shape


def _joined_by_bars(node: ast.expr) -> list[ast.expr]:
    """Returns the operands of a | b | c, in order."""
    operands = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        operands.append(node.right)
        node = node.left
    return [node, *reversed(operands)]


def _step(node: ast.expr, where: str) -> Augmentation:
    """Builds one step from `name` or `name(arguments)`; raises ValueError for any other form."""
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    if not isinstance(call.func, ast.Name):
        raise ValueError("not a name")
    name = call.func.id
    if name not in AUGMENTATIONS:
        raise unknown(f"step in {where}:", name, AUGMENTATIONS, "augment-unknown-step")
    positional = [ast.literal_eval(argument) for argument in call.args]
    keywords = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    return _build(AUGMENTATIONS[name], positional, keywords, where)


def _build(cls: type[Augmentation], positional: list, keywords: dict[str, Any], where: str) -> Augmentation:
    fields = dataclasses.fields(cls)
    names = [field.name for field in fields]
    optional = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
    parameters = [f"{name}={optional[name]!r}" if name in optional else name for name in names]
    usage = f"Write {cls.name}({', '.join(parameters)})."
    if len(positional) > len(names) or set(names[: len(positional)]) & set(keywords):
        message = f"{cls.name} in {where} takes {len(names)} arguments, each once. {usage}"
        raise UserError(message, "augment-wrong-arguments")
    try:
        return parsing.build(cls, dict(zip(names, positional, strict=False)) | keywords, f"{cls.name} in {where}")
    except UserError as error:
        raise UserError(f"{error} {usage}", "augment-wrong-arguments") from error


def _check_order(chain: Chain, where: str) -> None:
    """Raises UserError where a step must not follow the steps before it."""

    def refuse(rule: str) -> UserError:
        return UserError(f"{where}{rule}", "augment-wrong-order")

    side = None  # of the shorter side in pixels at this step, where the chain determines it
    for i, step in enumerate(chain):
        before = {earlier.name: earlier for earlier in chain[:i]}
        if step.name in before:
            raise refuse(f" must have each step once. Received: {before[step.name]} and {step}.")
        colours = [earlier for earlier in before.values() if earlier.kind == "colour"]
        if step.kind == "framing" and colours:
            raise refuse(f": framing must come before colour. Received: {colours[0]} before {step}.")
        if isinstance(step, Crop) and side is not None and step.size > side:
            raise refuse(f": {step} must not be larger than the image it is cut from, {side} pixels.")
        if isinstance(step, Resample):
            if [near.kind for near in (*chain[max(0, i - 1) : i], *chain[i + 1 : i + 2])] != ["framing", "framing"]:
                raise refuse(f": {step} must stand between two framings, such as resize and random_crop.")
        elif isinstance(step, RandomResizedCrop):
            side = min(step.after(None))
        elif step.kind == "framing":
            side = step.low if isinstance(step, ShorterSide) else step.size
