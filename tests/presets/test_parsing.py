"""Plain values into dataclasses: what is taken, what is refused, and in which words."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from resnet_tf.errors import UserError
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
    ([], "the recipe must be a table of keys and values. Received: []."),
    ({"epoch": 1}, "unknown key in the recipe: 'epoch'. Did you mean 'epochs'?"),
    ({"epochs": 1, "computed": 1}, "unknown key in the recipe: 'computed'."),
    ({"title": "a"}, "the recipe needs the key 'epochs'. Received: title."),
    ({}, "the recipe needs the key 'epochs'. Received: no keys."),
    ({"epochs": 2.0}, "'epochs' in the recipe must be a whole number. Received: 2.0."),
    ({"epochs": True}, "'epochs' in the recipe must be a whole number. Received: True."),
    ({"epochs": "2"}, "'epochs' in the recipe must be a whole number. Received: '2'."),
    ({"epochs": None}, "'epochs' in the recipe must be a whole number. Received: None."),
    ({"epochs": 0}, "the recipe: 'epochs' must be at least 1. Received: 0."),
    ({"epochs": 1, "rate": "0.1"}, "'rate' in the recipe must be a number. Received: '0.1'."),
    ({"epochs": 1, "rate": False}, "'rate' in the recipe must be a number. Received: False."),
    ({"epochs": 1, "rate": float("nan")}, "'rate' in the recipe must be a finite number. Received: nan."),
    ({"epochs": 1, "rate": float("-inf")}, "'rate' in the recipe must be a finite number. Received: -inf."),
    ({"epochs": 1, "rate": HUGE}, "'rate' in the recipe must be a finite number. Received: 1000"),
    ({"epochs": 1, "rate": -HUGE}, "'rate' in the recipe must be a finite number. Received: -1000"),
    ({"epochs": 1, "title": 4}, "'title' in the recipe must be a text. Received: 4."),
    ({"epochs": 1, "nesterov": 1}, "'nesterov' in the recipe must be true or false. Received: 1."),
    ({"epochs": 1, "sizes": 3}, "'sizes' in the recipe must be a list. Received: 3."),
    ({"epochs": 1, "sizes": "12"}, "'sizes' in the recipe must be a list. Received: '12'."),
    ({"epochs": 1, "sizes": [1, 2.5]}, "item 1 of 'sizes' in the recipe must be a whole number. Received: 2.5."),
    (
        {"epochs": 1, "shortcut": "identity_pad"},
        "unknown value for 'shortcut' in the recipe: 'identity_pad'. Did you mean 'identity-pad'?",
    ),
    ({"epochs": 1, "shortcut": ["projection"]}, "unknown value for 'shortcut' in the recipe: ['projection']."),
    ({"epochs": 1, "level": True}, "unknown value for 'level' in the recipe: True. Known: 1, 2."),
    ({"epochs": 1, "limit": "x"}, "'limit' in the recipe must be a whole number. Received: 'x'."),
    ({"epochs": 1, "warmup": 5}, "'warmup' in the recipe must be a table of keys and values. Received: 5."),
    ({"epochs": 1, "warmup": {"step": 5}}, "unknown key in 'warmup' in the recipe: 'step'. Did you mean 'steps'?"),
    ({"epochs": 1, "about": []}, "'about' in the recipe must be a table. Received: []."),
]


@pytest.mark.parametrize(("values", "message"), REFUSED)
def test_mistakes_are_told_in_one_line(values, message):
    with pytest.raises(UserError) as caught:
        build(Recipe, values, "the recipe")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


TABLE = {"step": Warmup, "recipe": Recipe}


def test_named_section_takes_the_class_of_its_name():
    assert build_named(TABLE, {"name": "step", "steps": 3}, "'schedule'") == Warmup(3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("step", "'schedule' must be a table with a 'name', one of: step, recipe. Received: 'step'."),
        ({"steps": 3}, "'schedule' must be a table with a 'name', one of: step, recipe. Received: {'steps': 3}."),
        ({"name": 3}, "'schedule' must be a table with a 'name', one of: step, recipe. Received: {'name': 3}."),
        ({"name": "stepp"}, "unknown name in 'schedule': 'stepp'. Did you mean 'step'?"),
        ({"name": "step"}, "'schedule' (step) needs the key 'steps'. Received: no keys."),
        ({"name": "step", "epochs": 3}, "unknown key in 'schedule' (step): 'epochs'. Did you mean 'steps'?"),
    ],
)
def test_named_section_refuses_in_one_line(values, message):
    with pytest.raises(UserError) as caught:
        build_named(TABLE, values, "'schedule'")
    assert str(caught.value) == message
