"""Augmentation expressions: what they are parsed as, which are refused, and the image size that a chain returns."""

import pytest
from assertions import user_error

from resnet_tf.presets.augmentation import frame_at, output_shape, parse, parse_evaluation, split_framing
from resnet_tf.presets.augmentation_steps import (
    AUGMENTATIONS,
    CenterCrop,
    ColorJitter,
    FlipHorizontal,
    FlipVertical,
    PadCrop,
    PcaLighting,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    Resample,
    Resize,
    Rotate,
    ShorterSide,
    TrivialAugment,
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
    "random_crop(24) | trivial_augment": (RandomCrop(24), TrivialAugment()),
    "trivial_augment(fill=128, interpolation='bilinear')": (TrivialAugment(128, "bilinear"),),
    "random_erasing | flip_vertical": (RandomErasing(0.5, (0.02, 0.33), (0.3, 3.3), None), FlipVertical()),
    "random_erasing(0.25, area=(0.02, 0.2), fill=128)": (RandomErasing(0.25, (0.02, 0.2), fill=128),),
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
    ("expression", "code", "named"),
    [
        ("padcrop(4)", "augment-unknown-step", "padcrop"),
        ("pad_crop(4) | flip_horizontl", "augment-unknown-step", "flip_horizontal"),
        ("pad_crop", "augment-wrong-arguments", "padding"),
        ("pad_crop(pading=4)", "augment-wrong-arguments", "padding"),
        ("pad_crop(4, 0, 'reflect', 1)", "augment-wrong-arguments", "takes 3 arguments"),
        ("pad_crop(4, padding=4)", "augment-wrong-arguments", "each once"),
        ("pad_crop('4')", "augment-wrong-arguments", "4"),
        ("pad_crop(4.5)", "augment-wrong-arguments", "4.5"),
        ("pad_crop(True)", "augment-wrong-arguments", "True"),
        ("pad_crop(0)", "augment-wrong-arguments", "padding"),
        ("pad_crop(4, fill=256)", "augment-wrong-arguments", "fill"),
        ("rotate(0)", "augment-wrong-arguments", "degrees"),
        ("rotate(45, interpolation='neerest')", "augment-wrong-arguments", "nearest"),
        ("rotate(1e999)", "augment-wrong-arguments", "must be a finite number"),
        ("rotate(1" + "0" * 400 + ")", "augment-wrong-arguments", "must be a finite number"),
        ("flip_vertical(1.5)", "augment-wrong-arguments", "probability"),
        ("shorter_side(480, 256)", "augment-wrong-arguments", "high"),
        ("random_resized_crop(70, area=(0.5,))", "augment-wrong-arguments", "area"),
        ("random_resized_crop(70, aspect=(2, 1))", "augment-wrong-arguments", "aspect"),
        ("random_resized_crop(70, width=0)", "augment-wrong-arguments", "width"),
        ("random_resized_crop(70, width='90')", "augment-wrong-arguments", "must be a whole number"),
        ("random_resized_crop(70, width=90, height=90)", "augment-wrong-arguments", "height"),
        ("random_resized_crop(256, width=200) | random_crop(224)", "augment-wrong-order", "random_crop(224) must not"),
        ("random_resized_crop(200, width=256) | random_crop(224)", "augment-wrong-order", "random_crop(224) must not"),
        ("trivial_augment(interpolation='cubic')", "augment-wrong-arguments", "interpolation"),
        ("trivial_augment | random_crop(24)", "augment-wrong-order", "framing must come before colour"),
        ("random_erasing(1.5)", "augment-wrong-arguments", "probability"),
        ("random_erasing(area=(0, 0.3))", "augment-wrong-arguments", "area"),
        ("random_erasing(aspect=(3.3, 0.3))", "augment-wrong-arguments", "aspect"),
        ("random_erasing(fill='mean')", "augment-wrong-arguments", "fill"),
        ("color_jitter(0.1, hue=0.6)", "augment-wrong-arguments", "hue"),
        ("color_jitter", "augment-wrong-arguments", "above 0"),
        ("pca_lighting(0.1, 'trainin')", "augment-wrong-arguments", "training"),
        ("flip_horizontal | flip_horizontal", "augment-wrong-order", "each step once"),
        ("color_jitter(0.1) | random_crop(32)", "augment-wrong-order", "framing must come before colour"),
        ("resample | random_crop(32)", "augment-wrong-order", "resample must stand between two framings"),
        ("resize(40) | resample", "augment-wrong-order", "resample must stand between two framings"),
        ("resize(40) | resample | flip_horizontal", "augment-wrong-order", "resample must stand between two framings"),
        ("rotate(5) | resample | random_crop(32)", "augment-wrong-order", "resample must stand between two framings"),
        ("resize(40) | resample | random_crop(48)", "augment-wrong-order", "random_crop(48) must not be larger"),
        ("shorter_side(200, 480) | random_crop(224)", "augment-wrong-order", "random_crop(224) must not be larger"),
    ],
)
def test_a_mistake_is_refused_and_the_message_names_it(expression, code, named):
    error = user_error(parse, expression, "'augment' of preset 4")
    assert error.code == code
    assert "'augment' of preset 4" in str(error)
    assert named in str(error)


def test_wrong_arguments_are_answered_with_the_right_ones():
    for expression in ("pad_crop", "pad_crop(pading=4)", "pad_crop(4, 0, 1)", "pad_crop(0)"):
        error = str(user_error(parse, expression))
        assert error.endswith("Write pad_crop(padding, fill=0, padding_mode='constant').")


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
        "pad_crop({[]})",
        "rotate(45, fill={[]: 1})",
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
def test_what_is_not_a_chain_is_refused_and_never_run(expression):
    error = user_error(parse, expression)
    assert error.code == "augment-wrong-form"
    assert len(str(error)) < 400


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
    ("expression", "shape", "code", "named"),
    [
        ("", None, "augment-sizes-differ", "'no framing'"),
        ("resize(256)", None, "augment-sizes-differ", "'resize(256)'"),
        (
            "shorter_side(40, 60)",
            (96, 96),
            "augment-sizes-differ",
            "'shorter_side(40, 60)'. End the framing with random_resized_crop, random_crop or center_crop",
        ),
        ("flip_horizontal", None, "augment-sizes-differ", "flip_horizontal needs images of one size"),
        ("shorter_side(40, 60) | rotate(5)", (96, 96), "augment-sizes-differ", "rotate(5.0) needs images of one size"),
        (
            "random_crop(100)",
            (96, 128),
            "augment-crop-too-large",
            "must not be larger than the image it is cut from, 96 x 128 pixels",
        ),
    ],
)
def test_a_chain_that_does_not_return_one_size_is_refused(expression, shape, code, named):
    error = user_error(output_shape, parse(expression), shape)
    assert error.code == code
    assert named in str(error)


def test_evaluation_is_split_into_framing_and_size_of_the_crops():
    assert parse_evaluation("resize(256) | center_crop(224)", "1-crop") == ((Resize(256),), 224)
    assert parse_evaluation("resize(256) | center_crop(224)", "10-crop") == ((Resize(256),), 224)
    assert parse_evaluation("resize(120)", "1-crop") == ((Resize(120),), None)
    assert parse_evaluation("", "1-crop") == ((), None)


@pytest.mark.parametrize(
    ("expression", "view", "code", "named"),
    [
        ("resize(256) | random_crop(224)", "1-crop", "evaluation-random-step", "random_crop(224)"),
        ("resize(256) | center_crop(224)", "10-corp", "unknown-view", "10-crop"),
        ("resize(256)", "10-crop", "evaluation-no-crop-size", "End it with center_crop(size)"),
    ],
)
def test_a_wrong_evaluation_is_refused(expression, view, code, named):
    error = user_error(parse_evaluation, expression, view)
    assert error.code == code
    assert named in str(error)


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
        "random_erasing": 23,
        "color_jitter": 8,
        "pca_lighting": 3,
        "trivial_augment": 3,
        "flip_horizontal": 1,
        "alternate_flip": 1,
        "flip_vertical": 1,
    }
    assert {name: step.draws_per_image for name, step in AUGMENTATIONS.items()} == numbers
    assert {step.kind for step in AUGMENTATIONS.values()} == {"framing", "geometry", "colour"}


@pytest.mark.parametrize(
    ("frame", "size", "other"),
    [
        ("", 48, "resize(48)"),
        ("resize(120)", 96, "resize(96)"),
        ("resize(256) | center_crop(224)", 288, "resize(329) | center_crop(288)"),  # 256 * 288 / 224 = 329.1
        ("resize(256) | resample | center_crop(224)", 112, "resize(128) | resample | center_crop(112)"),
        ("center_crop(64) | resize(32)", 64, "center_crop(64) | resize(64)"),
        ("center_crop(224)", 112, "center_crop(224) | resize(112)"),
        ("resize(120)", 120, "resize(120)"),
    ],
)
def test_a_frame_at_another_size_keeps_its_proportions(frame, size, other):
    assert frame_at(frame, size) == other


@pytest.mark.parametrize(
    ("frame", "size", "code"),
    [
        ("", 7, "resolution-out-of-range"),
        ("resize(120)", -96, "resolution-out-of-range"),
        ("resize(120)", 5000, "resolution-out-of-range"),
        ("shorter_side(120, 120) | center_crop(96)", 70, "evaluation-frame-other-size"),
    ],
)
def test_another_size_that_is_impossible_is_refused(frame, size, code):
    assert user_error(frame_at, frame, size).code == code
