"""What the rules of the recipe check look at, and what a rule is."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from resnet_tf.presets.schedule import Plateau
from resnet_tf.presets.schema import Preset

Problem = tuple[str, str]  # what is wrong, what to do about it
LONGEST = 100_000_000  # steps of a phase, each of which has a learning rate in memory


@dataclass(frozen=True)
class PhaseFacts:
    """One phase of a preset, and what is known of its images and of an earlier run.

    Attributes:
        images: of the training split, without validation; None where only the folder of images tells.
        classes: None likewise.
        validation: images to validate on; None where only the folder tells whether it has a validation split.
        held_out: how many of these were taken from the training images.
        history: rows of an earlier run's log; may be empty.
    """

    preset: Preset
    images: int | None
    classes: int | None
    validation: int | None
    held_out: int
    history: Sequence[dict] = ()

    @property
    def steps_per_epoch(self) -> int | None:
        return None if self.images is None else self.preset.train.steps_per_epoch(self.images)

    @property
    def epochs(self) -> float | None:
        """Length in epochs; None where it depends on an unknown number of images."""
        train = self.preset.train
        if train.epochs is not None or not self.steps_per_epoch:
            return train.epochs
        return train.steps / self.steps_per_epoch

    @property
    def steps(self) -> int | None:
        """Length in steps; None where it depends on an unknown number of images."""
        train = self.preset.train
        if train.steps is None and self.steps_per_epoch is None:
            return None
        return train.total_steps(self.steps_per_epoch)

    @property
    def plateau(self) -> Plateau | None:
        return self.preset.schedule if isinstance(self.preset.schedule, Plateau) else None


@dataclass(frozen=True)
class Rule:
    """A rule, and the reported failure behind it. `impossible`: what it finds cannot be trained at all."""

    name: str
    find: Callable[[PhaseFacts], Iterator[Problem]]
    case: str
    impossible: bool


def rule(case: str, impossible: bool = False) -> Callable[[Callable], Rule]:
    """Makes a function a rule: `adam_rate` becomes the rule "adam-rate"."""
    return lambda find: Rule(find.__name__.replace("_", "-"), find, case, impossible)
