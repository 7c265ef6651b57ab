"""Expressions: what they are read as, what is refused and in which words, and the sizes that come of a chain."""

import subprocess
import sys

import pytest

from resnet_tf.errors import UserError
from resnet_tf.presets.augmentation import output_shape, parse, parse_evaluation, split_framing
from resnet_tf.presets.augmentation_steps import (
    AUGMENTATIONS,
    CenterCrop,
    ColorJitter,
    FlipHorizontal,
    FlipVertical,
    PadCrop,
    PcaLighting,
    RandomCrop,
    RandomResizedCrop,
    Resample,
    Resize,
    Rotate,
    ShorterSide,
)

CHAINS = {
    "": (),
    "  ": (),
    "pad_crop(4) | flip_horizontal": (PadCrop(4), FlipHorizontal()),
    "pad_crop(padding=4, fill=128)|flip_horizontal()": (PadCrop(4, 128), FlipHorizontal(0.5)),
    "random_resized_crop(70) | rotate(45) | color_jitter(0.3, 0.3, 0.3, 0.3) | flip_horizontal | flip_vertical": (
        RandomResizedCrop(70),
        Rotate(45.0),
        ColorJitter(0.3, 0.3, 0.3, 0.3),
        FlipHorizontal(),
        FlipVertical(),
    ),
    "shorter_side(256, 480) | random_crop(224) | flip_horizontal | pca_lighting(0.1)": (
        ShorterSide(256, 480),
        RandomCrop(224),
        FlipHorizontal(),
        PcaLighting(0.1, "imagenet"),
    ),
    "shorter_side(256, 480) | random_resized_crop(224, area=[0.25, 1])": (
        ShorterSide(256, 480),
        RandomResizedCrop(224, (0.25, 1.0)),
    ),
    "resize(256) | center_crop(224)": (Resize(256), CenterCrop(224)),
    "resize(256) | resample | random_resized_crop(224)": (Resize(256), Resample(), RandomResizedCrop(224)),
    "random_resized_crop(256, width=480) | random_crop(224)": (RandomResizedCrop(256, width=480), RandomCrop(224)),
    "rotate(45, interpolation='nearest') | flip_horizontal": (Rotate(45.0, 0, "nearest"), FlipHorizontal()),
    "pca_lighting(vectors='training')": (PcaLighting(0.1, "training"),),
}


@pytest.mark.parametrize("expression", CHAINS)
def test_an_expression_is_read_as_its_chain(expression):
    assert parse(expression) == CHAINS[expression]


@pytest.mark.parametrize("chain", CHAINS.values(), ids=str)
def test_a_chain_as_text_is_read_back_as_itself(chain):
    assert parse(" | ".join(map(str, chain))) == chain


def test_text_leaves_out_what_is_default():
    chain = PadCrop(4), FlipHorizontal(), RandomResizedCrop(70, area=(0.25, 1.0))
    assert list(map(str, chain)) == ["pad_crop(4)", "flip_horizontal", "random_resized_crop(70, area=(0.25, 1.0))"]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("padcrop(4)", ["'padcrop'", "Did you mean 'pad_crop'?"]),
        ("pad_crop(4) | flip_horizontl", ["Did you mean 'flip_horizontal'?"]),
        ("pad_crop", ["needs the key 'padding'", "Write pad_crop(padding, fill=0)."]),
        ("pad_crop(pading=4)", ["Did you mean 'padding'?", "Write pad_crop(padding, fill=0)."]),
        ("pad_crop(4, 0, 1)", ["takes 2 arguments", "Write pad_crop(padding, fill=0)."]),
        ("pad_crop(4, padding=4)", ["each once"]),
        ("pad_crop('4')", ["must be a whole number. Received: '4'."]),
        ("pad_crop(4.5)", ["must be a whole number. Received: 4.5."]),
        ("pad_crop(True)", ["must be a whole number. Received: True."]),
        ("pad_crop(0)", ["'padding' must be at least 1. Received: 0."]),
        ("pad_crop(4, fill=256)", ["'fill' must be in 0..255. Received: 256."]),
        ("rotate(0)", ["'degrees' must be above 0"]),
        ("rotate(45, interpolation='neerest')", ["Did you mean 'nearest'?"]),
        ("rotate(1e999)", ["must be a finite number"]),
        ("rotate(1" + "0" * 400 + ")", ["must be a finite number"]),
        ("flip_vertical(1.5)", ["'probability' must be in 0..1. Received: 1.5."]),
        ("shorter_side(480, 256)", ["'high' must be at least 480. Received: 256."]),
        ("random_resized_crop(70, area=(0.5,))", ["'area' must be two numbers"]),
        ("random_resized_crop(70, aspect=(2, 1))", ["'aspect' must be two numbers"]),
        ("random_resized_crop(70, width=0)", ["'width' must be at least 1. Received: 0.", "width=None)."]),
        ("random_resized_crop(70, width='90')", ["must be a whole number", "Received: '90'."]),
        ("random_resized_crop(70, width=90, height=90)", ["'height'", "width=None)."]),
        ("random_resized_crop(256, width=200) | random_crop(224)", ["random_crop(224) must not", "200 pixels"]),
        ("random_resized_crop(200, width=256) | random_crop(224)", ["random_crop(224) must not", "200 pixels"]),
        ("color_jitter(0.1, hue=0.6)", ["hue at most 0.5"]),
        ("color_jitter", ["one above 0"]),
        ("pca_lighting(0.1, 'trainin')", ["Did you mean 'training'?"]),
        ("flip_horizontal | flip_horizontal", ["each step once"]),
        (
            "color_jitter(0.1) | random_crop(32)",
            ["framing must come before colour", "brightness=0.1) before"],
        ),
        ("resample | random_crop(32)", ["resample must stand between two framings"]),
        ("resize(40) | resample", ["resample must stand between two framings"]),
        ("resize(40) | resample | flip_horizontal", ["resample must stand between two framings"]),
        ("rotate(5) | resample | random_crop(32)", ["resample must stand between two framings"]),
        ("resize(40) | resample | random_crop(48)", ["random_crop(48) must not be larger", "40 pixels"]),
        ("shorter_side(200, 480) | random_crop(224)", ["random_crop(224) must not be larger", "200 pixels"]),
    ],
)
def test_a_mistake_is_answered_with_the_rule_and_the_right_form(expression, words):
    with pytest.raises(UserError) as caught:
        parse(expression, "'augment' of preset 4")
    message = str(caught.value)
    assert "'augment' of preset 4" in message
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    "expression",
    [
        "pad_crop(4",
        "pad_crop(4) flip_horizontal",
        "pad_crop(4) |",
        "pad_crop(4) & flip_horizontal",
        "4",
        "os.system('true')",
        "pad_crop(__import__('os').getpid())",
        "pad_crop(*[4])",
        "[pad_crop(4)]",
        "(lambda: 4)()",
        "pad_crop(4)\0",
        "pad_crop(1" + "0" * 5000 + ")",
        "(" * 5000 + "1" + ")" * 5000,
        "flip_horizontal|" * 5000 + "flip_vertical",
        "pad_crop(4)\nflip_horizontal",
    ],
    ids=lambda expression: expression[:30],
)
def test_what_is_not_a_chain_is_refused_in_one_short_line_and_never_run(expression):
    with pytest.raises(UserError, match="must read like 'pad_crop") as caught:
        parse(expression)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "shape", "expected"),
    [
        ("", (32, 32), (32, 32)),
        ("pad_crop(4) | flip_horizontal", (32, 48), (32, 48)),
        ("random_resized_crop(70) | rotate(45)", (96, 96), (70, 70)),
        ("rotate(45) | random_resized_crop(70)", (96, 96), (70, 70)),
        ("random_resized_crop(120)", (96, 96), (120, 120)),
        ("shorter_side(256, 480) | random_crop(224) | flip_horizontal", None, (224, 224)),
        ("random_resized_crop(256, width=480) | flip_horizontal", None, (256, 480)),
        ("random_resized_crop(256, width=480) | random_crop(224)", (96, 96), (224, 224)),
        ("resize(128)", (96, 96), (128, 128)),
        ("resize(256)", (375, 500), (256, 341)),
        ("shorter_side(256, 256)", (500, 375), (341, 256)),
        ("shorter_side(256, 480) | resample | random_resized_crop(224)", None, (224, 224)),
        ("resize(256) | center_crop(224)", None, (224, 224)),
    ],
)
def test_output_shape(expression, shape, expected):
    assert output_shape(parse(expression), shape) == expected


@pytest.mark.parametrize(
    ("expression", "shape", "words"),
    [
        ("", None, "must come out in one size. Received: 'no framing'"),
        ("resize(256)", None, "must come out in one size. Received: 'resize(256)'"),
        ("shorter_side(40, 60)", (96, 96), "must come out in one size"),
        ("flip_horizontal", None, "flip_horizontal needs images of one size"),
        ("shorter_side(40, 60) | rotate(5)", (96, 96), "rotate(5.0) needs images of one size"),
        ("random_crop(100)", (96, 128), "must not be larger than the image it is cut from, 96 x 128 pixels"),
    ],
)
def test_a_chain_that_gives_no_one_size_is_refused(expression, shape, words):
    with pytest.raises(UserError) as caught:
        output_shape(parse(expression), shape)
    assert words in str(caught.value)


def test_evaluation_is_split_into_framing_and_size_of_the_crops():
    assert parse_evaluation("resize(256) | center_crop(224)", "1-crop") == ((Resize(256),), 224)
    assert parse_evaluation("resize(256) | center_crop(224)", "10-crop") == ((Resize(256),), 224)
    assert parse_evaluation("resize(120)", "1-crop") == ((Resize(120),), None)
    assert parse_evaluation("", "1-crop") == ((), None)


@pytest.mark.parametrize(
    ("expression", "view", "words"),
    [
        ("resize(256) | random_crop(224)", "1-crop", "nothing random. Received: random_crop(224)"),
        ("resize(256) | center_crop(224)", "10-corp", "Did you mean '10-crop'?"),
        ("resize(256)", "10-crop", "End it with center_crop(size)"),
    ],
)
def test_an_evaluation_that_cannot_be_is_refused(expression, view, words):
    with pytest.raises(UserError) as caught:
        parse_evaluation(expression, view)
    assert words in str(caught.value)


def test_the_first_framings_are_split_off():
    chain = parse("shorter_side(256, 480) | random_crop(224) | flip_horizontal | pca_lighting")
    assert split_framing(chain) == (chain[:2], chain[2:])
    assert split_framing(chain[2:]) == ((), chain[2:])
    assert split_framing(()) == ((), ())


def test_every_entry_of_the_table_states_its_kind_and_its_numbers():
    numbers = {
        "pad_crop": 2,
        "random_crop": 2,
        "shorter_side": 1,
        "random_resized_crop": 22,
        "resize": 0,
        "center_crop": 0,
        "resample": 0,
        "rotate": 1,
        "cutout": 2,
        "color_jitter": 8,
        "pca_lighting": 3,
        "flip_horizontal": 1,
        "flip_vertical": 1,
    }
    assert {name: step.numbers for name, step in AUGMENTATIONS.items()} == numbers
    assert {step.kind for step in AUGMENTATIONS.values()} == {"framing", "geometry", "colour"}


def test_reading_an_expression_imports_nothing_heavy():
    code = (
        "import sys; from resnet_tf.presets.augmentation import parse; parse('pad_crop(4)');"
        "print([name for name in ('tensorflow', 'keras', 'numpy', 'scipy') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
