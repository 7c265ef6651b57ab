"""Plain values become dataclasses, or a mistake is refused by its code."""

from dataclasses import dataclass, field
from typing import Literal

import pytest
from assertions import user_error

from resnet_tf.presets.parsing import build, build_named


@dataclass(frozen=True)
class Warmup:
    steps: int
    factor: float = 0.5


@dataclass(frozen=True)
class Recipe:
    epochs: int
    rate: float = 0.1
    title: str = ""
    nesterov: bool = False
    sizes: tuple[int, ...] = (1,)
    shortcut: Literal["identity-pad", "projection"] = "identity-pad"
    level: Literal[1, 2] = 1
    limit: int | None = None
    warmup: Warmup | None = None
    about: dict = field(default_factory=dict)
    computed: int = field(init=False, default=7)

    def __post_init__(self):
        if self.epochs < 1:
            raise ValueError(f"'epochs' must be at least 1. Received: {self.epochs}.")


def test_every_kind_of_value_is_taken():
    values = {
        "epochs": 3,
        "rate": 1,
        "title": "ä",
        "nesterov": True,
        "sizes": [2, 3],
        "shortcut": "projection",
        "level": 2,
        "limit": 10,
        "warmup": {"steps": 5},
        "about": {"x": [1, None]},
    }
    recipe = build(Recipe, values, "the recipe")
    assert recipe == Recipe(3, 1.0, "ä", True, (2, 3), "projection", 2, 10, Warmup(5, 0.5), {"x": [1, None]})
    assert type(recipe.rate) is float
    assert build(Recipe, {"epochs": 1, "limit": None, "warmup": None}, "the recipe") == Recipe(1)


HUGE = 10**400
REFUSED = [
    ([], "preset-wrong-type", "[]"),
    ({"epoch": 1}, "preset-unknown-key", "epochs"),
    ({"epochs": 1, "computed": 1}, "preset-unknown-key", "computed"),
    ({"title": "a"}, "preset-missing-key", "epochs"),
    ({}, "preset-missing-key", "epochs"),
    ({"epochs": 2.0}, "preset-wrong-type", "epochs"),
    ({"epochs": True}, "preset-wrong-type", "epochs"),
    ({"epochs": "2"}, "preset-wrong-type", "epochs"),
    ({"epochs": None}, "preset-wrong-type", "epochs"),
    ({"epochs": 0}, "preset-wrong-value", "epochs"),
    ({"epochs": 1, "rate": "0.1"}, "preset-wrong-type", "rate"),
    ({"epochs": 1, "rate": False}, "preset-wrong-type", "rate"),
    ({"epochs": 1, "rate": float("nan")}, "preset-wrong-value", "rate"),
    ({"epochs": 1, "rate": float("-inf")}, "preset-wrong-value", "rate"),
    ({"epochs": 1, "rate": HUGE}, "preset-wrong-value", "rate"),
    ({"epochs": 1, "rate": -HUGE}, "preset-wrong-value", "rate"),
    ({"epochs": 1, "title": 4}, "preset-wrong-type", "title"),
    ({"epochs": 1, "nesterov": 1}, "preset-wrong-type", "nesterov"),
    ({"epochs": 1, "sizes": 3}, "preset-wrong-type", "sizes"),
    ({"epochs": 1, "sizes": "12"}, "preset-wrong-type", "sizes"),
    ({"epochs": 1, "sizes": [1, 2.5]}, "preset-wrong-type", "sizes"),
    ({"epochs": 1, "shortcut": "identity_pad"}, "preset-wrong-value", "identity-pad"),
    ({"epochs": 1, "shortcut": ["projection"]}, "preset-wrong-value", "shortcut"),
    ({"epochs": 1, "level": True}, "preset-wrong-value", "level"),
    ({"epochs": 1, "limit": "x"}, "preset-wrong-type", "limit"),
    ({"epochs": 1, "warmup": 5}, "preset-wrong-type", "warmup"),
    ({"epochs": 1, "warmup": {"step": 5}}, "preset-unknown-key", "steps"),
    ({"epochs": 1, "about": []}, "preset-wrong-type", "about"),
]


@pytest.mark.parametrize(("values", "code", "named"), REFUSED)
def test_a_wrong_value_is_refused(values, code, named):
    error = user_error(build, Recipe, values, "the recipe")
    assert error.code == code
    assert str(error).startswith(("the recipe", "unknown", "'", "item"))
    assert named in str(error)
    assert len(str(error)) < 300


def test_the_message_names_the_place_the_rule_and_the_value():
    error = user_error(build, Recipe, {"epochs": 1, "sizes": [1, 2.5]}, "the recipe")
    assert str(error) == "item 1 of 'sizes' in the recipe must be a whole number. Received: 2.5."


TABLE = {"step": Warmup, "recipe": Recipe}


def test_named_section_takes_the_class_of_its_name():
    assert build_named(TABLE, {"name": "step", "steps": 3}, "'schedule'") == Warmup(3)


@pytest.mark.parametrize(
    ("values", "code", "named"),
    [
        ("step", "preset-wrong-type", "schedule"),
        ({"steps": 3}, "preset-wrong-type", "schedule"),
        ({"name": 3}, "preset-wrong-type", "schedule"),
        ({"name": "stepp"}, "preset-wrong-value", "step"),
        ({"name": "step"}, "preset-missing-key", "schedule"),
        ({"name": "step", "epochs": 3}, "preset-unknown-key", "steps"),
    ],
)
def test_a_wrong_named_section_is_refused(values, code, named):
    error = user_error(build_named, TABLE, values, "'schedule'")
    assert error.code == code
    assert named in str(error)
