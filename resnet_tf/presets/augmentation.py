"""Chains of augmentations as text, such as "pad_crop(4) | flip_horizontal": read, parsing, and what comes of them.

A chain is a tuple of steps (`augmentation_specs`) in the order in which they act; `augment` carries it out.
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
    Shape,
    ShorterSide,
)

EXAMPLE = "pad_crop(4) | flip_horizontal"
MOST_CHARACTERS = 2000  # Python's parser gives up on deep nesting in more than one way

Chain = tuple[Augmentation, ...]

# Name of a way of looking at an image at evaluation -> how many pictures the network is shown of it.
VIEWS = {"1-crop": 1, "mirror": 2, "mirror-shift": 6, "10-crop": 10}


def parse(expression: str, where: str = "augment") -> Chain:
    """Reads a chain: steps joined by `|`, each a name, or a call with plain numbers, texts or lists of them.

    Args:
        expression: such as "random_resized_crop(70, area=(0.25, 1)) | flip_horizontal"; "" is the empty chain.
        where: what the expression is, as the user knows it; opens the messages.

    Raises:
        UserError: not of that form, an unknown name (with the nearest), wrong arguments (with the right ones), or an
            order that cannot be carried out.
    """
    if not expression.strip():
        return ()
    try:
        if len(expression) > MOST_CHARACTERS:
            raise ValueError("too long")
        tree = ast.parse(expression.strip(), mode="eval").body
        chain = tuple(_step(node, where) for node in _joined_by_bars(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{where} must read like {EXAMPLE!r}. Received: {expression[:200]!r}.") from error
    _check_order(chain, where)
    return chain


def parse_evaluation(expression: str, view: str, where: str = "evaluation") -> tuple[Chain, int | None]:
    """Reads how an image is framed when the network is scored, such as "resize(256) | center_crop(224)".

    Args:
        view: one of VIEWS; the last center_crop says how large the crops are.

    Returns:
        The framings before the crops, and the crops' size in pixels; None: the only view is the whole framed image.

    Raises:
        UserError: as `parse`; also a random step, an unknown view, or ten crops of a size that is not given.
    """
    chain = parse(expression, where)
    random = [str(step) for step in chain if step.numbers]
    if random:
        raise UserError(f"{where} must hold nothing random. Received: {random[0]}. Use resize and center_crop.")
    if view not in VIEWS:
        raise unknown("view", view, VIEWS)
    if chain and isinstance(chain[-1], CenterCrop):
        return chain[:-1], chain[-1].size
    if view == "10-crop":
        raise UserError(f"{view} needs the size of its crops. Received: {expression!r}. End it with center_crop(size).")
    return chain, None


def split_framing(chain: Chain) -> tuple[Chain, Chain]:
    """Returns the framings that open a chain, done image by image while reading a file, and the rest of it."""
    count = next((i for i, step in enumerate(chain) if step.kind != "framing"), len(chain))
    return chain[:count], chain[count:]


def output_shape(chain: Chain, shape: Shape = None) -> tuple[int, int]:
    """Returns the (height, width) in pixels of the images that a chain gives.

    Args:
        shape: of the images that come in; None: they are on disk and their sizes differ.

    Raises:
        UserError: the outcome would not be of one size, or a step cannot take what the steps before it give.
    """
    for step in chain:
        shape = step.after(shape)
    if shape is None:
        raise UserError(
            f"the images must come out in one size. Received: {' | '.join(map(str, chain)) or 'no framing'!r}. "
            "End the framing with random_resized_crop, random_crop or center_crop."
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
        raise unknown(f"step in {where}:", name, AUGMENTATIONS)
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
        raise UserError(f"{cls.name} in {where} takes {len(names)} arguments, each once. {usage}")
    try:
        return parsing.build(cls, dict(zip(names, positional, strict=False)) | keywords, f"{cls.name} in {where}")
    except UserError as error:
        raise UserError(f"{error} {usage}") from error


def _check_order(chain: Chain, where: str) -> None:
    """Raises UserError where a step cannot stand where it does."""
    least = None  # pixels that the shorter side has at this point, where the chain says so
    for i, step in enumerate(chain):
        before = {earlier.name: earlier for earlier in chain[:i]}
        if step.name in before:
            raise UserError(f"{where} must hold each step once. Received: {before[step.name]} and {step}.")
        colours = [earlier for earlier in before.values() if earlier.kind == "colour"]
        if step.kind == "framing" and colours:
            raise UserError(f"{where}: framing must come before colour. Received: {colours[0]} before {step}.")
        if isinstance(step, Crop) and least is not None and step.size > least:
            raise UserError(f"{where}: {step} must not be larger than the image it is cut from, {least} pixels.")
        if isinstance(step, Resample):
            if [near.kind for near in (*chain[max(0, i - 1) : i], *chain[i + 1 : i + 2])] != ["framing", "framing"]:
                raise UserError(f"{where}: {step} must stand between two framings, such as resize and random_crop.")
        elif isinstance(step, RandomResizedCrop):
            least = min(step.after(None))
        elif step.kind == "framing":
            least = step.low if isinstance(step, ShorterSide) else step.size
