"""Typed records of a training and of an evaluation, and the forms in which they are stored.

runs/train_overall.jsonl    one row per training
runs/eval_overall.jsonl     one row per evaluation
presets/<name>.json         under "results", the test results of a preset with fewer keys
"""

from dataclasses import MISSING, asdict, dataclass, fields


def _values(cls: type, row: dict) -> dict | None:
    """Returns what a row holds of a record's fields; None where one without a default is missing."""
    values = {field.name: row[field.name] for field in fields(cls) if field.name in row}
    complete = all(field.name in values for field in fields(cls) if field.default is MISSING)
    return values if complete else None


def _has_types(values: dict) -> bool:
    """Returns whether an evaluation's values, as a file written by hand may have them, can be sorted and compared."""
    interval = values["top1_interval"]
    numbers = [values["top1"], *(interval if isinstance(interval, list) and len(interval) == 2 else [None])]
    texts = [values[key] for key in ("date", "run", "preset", "split", "view", "weights")]
    return (
        all(isinstance(number, int | float) for number in numbers)
        and all(isinstance(text, str) for text in texts)
        and isinstance(values["changed"], dict)
    )


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """A training that has ended.

    Attributes:
        status: "finished" or "diverged".
        data: name, title, fingerprint, official and source of the images.
        changed: where the recipe departs from its preset: {"train.epochs": [ours, the preset's]}.
        init: the run whose weights it started from; None: random ones.
        step: updates done up to the last row of the run's log.
        seconds: training time.
        last: the other figures of the last row of the run's log; in the stored row they stand among the rest.
        diverged: what was not finite, and where; None for a finished training.
    """

    date: str
    run: str
    preset: str
    preset_hash: str | None = None
    seed: int
    data: dict
    changed: dict
    init: str | None = None
    status: str
    step: int
    steps_planned: int
    seconds: float
    device: str
    backend: str | None = None
    precision: str | None = None
    jit_compile: bool | None = None
    versions: dict
    last: dict
    best_validation_top1: float | None = None
    diverged: dict | None = None

    def to_row(self) -> dict:
        """Returns the row of the overall log, without values that are unknown or do not apply."""
        row = asdict(self)
        last = row.pop("last")
        unknown = [key for key in ("init", "diverged") if row[key] is None]
        return {key: value for key, value in {**row, **last}.items() if key not in unknown}

    @classmethod
    def from_row(cls, row: dict) -> "TrainingRecord | None":
        """Returns the training that a row stores; None for a row without the keys that every version has written."""
        names = {field.name for field in fields(cls)}
        values = _values(cls, {**row, "last": {key: value for key, value in row.items() if key not in names}})
        return values and cls(**values)


# Keys of a preset's result that are called otherwise in the log, where a row may be of another split than the test.
_RESULT_KEYS = {key: f"test_{key}" for key in ("top1", "top1_interval", "top5", "loss")} | {"count": "images"}
_IN_RESULT = ("run", "date", "preset_hash", "seed", "epochs", "steps", "trained", "steps_planned", "precision")
_IN_RESULT += ("changed", "view", "weights", "resolution", "same_data_as_training", "validation_top1", *_RESULT_KEYS)
_IN_RESULT += ("training_seconds",)
_SOMETIMES_IN_RESULT = ("init", "frame", "backend", "trained_version", "training_top1")


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord:
    """The score of a run's network on a split. Accuracies in percent.

    Attributes:
        changed: where the run's recipe departs from its preset: {"train.epochs": [ours, the preset's]}.
        init: the run whose weights the training started from; None: random ones.
        device, backend, precision: on and in what the run was trained: "CPU: AMD EPYC, 2 threads", "tensorflow",
            "float32".
        trained_version: of this package, when the run was last trained; `versions` are those of the evaluation.
        steps_planned: updates of the whole training, as planned.
        steps, epochs: after how many updates and epochs the scored weights were saved; None where their file does not
            say.
        trained: how many updates the run had done when it was scored; more than `steps` for the best weights. None in
            rows of early versions, and while the run is trained. See `updates`.
        training_top1: of the augmented training images, in the epoch that ended with the scored weights and while they
            were updated, by the run's log; None where it does not say.
        validation_top1: of the scored weights, by the run's log.
        validation_seen: how many of the validation images the run's initial weights were, or may have been, trained on;
            None: of none, or the test split was scored.
        split: "test" or "validation".
        resolution: height and width in pixels of the images as the network saw them.
        frame: how images were brought to that size, where it is another than the preset's; None: the preset's.
        weights: "last" or "best", with "-recalibrated" appended where batch norm's statistics were measured again.
        data: title, fingerprint and official of the images; name and source too, in the log.
        top1_interval: the ends of the 95 % interval.
        loss: mean cross entropy in nats; None where it is not finite.
        per_class_top1: by class name; None for a class without images.
        verdict: how it compares with the preset's reference, in a sentence.
        diagnosis: see `Diagnosis.figures`; None where it was not asked for.
    """

    date: str
    run: str
    preset: str
    preset_hash: str | None = None
    seed: int
    steps_planned: int | None
    device: str | None = None
    backend: str | None = None
    precision: str | None = None
    trained_version: str | None = None
    changed: dict
    init: str | None = None
    steps: int | None
    trained: int | None = None
    epochs: float | None
    training_top1: float | None = None
    validation_top1: float | None = None
    validation_seen: int | None = None
    training_seconds: float | None = None
    split: str
    view: str
    resolution: int
    frame: str | None = None
    weights: str
    data: dict
    same_data_as_training: bool
    count: int
    correct: int | None = None
    top1: float
    top1_interval: list[float]
    top5: float | None = None
    loss: float | None = None
    per_class_top1: dict | None = None
    seconds: float | None = None
    versions: dict | None = None
    verdict: str | None = None
    diagnosis: dict | None = None

    @property
    def protocol(self) -> str:
        """How it was measured, in the words of a preset's reference: "1-crop, last epoch"."""
        which, _, recalibrated = self.weights.partition("-")
        epoch = "last epoch" if which == "last" else "best validation epoch"
        calibrated = ", batch norm recalibrated" if recalibrated else ""
        return f"{self.view}, {epoch}{calibrated}{self._size}"

    @property
    def _size(self) -> str:
        """Says the size of the images where it is not the preset's."""
        return f", {self.resolution} px" if self.frame else ""

    @property
    def how(self) -> str:
        """How it was measured, in a table's words: "1-crop, last weights"."""
        return f"{self.view}, {self.weights} weights{self._size}"

    @property
    def label(self) -> tuple[str, ...]:
        """What names the files and figures of this evaluation within its run: ("test", "1-crop", "last")."""
        size = (f"{self.resolution}px",) if self.frame else ()
        return self.split, self.view, self.weights, *size

    @property
    def updates(self) -> int | None:
        """The updates that the run had done when it was scored, as far as they are known."""
        return self.trained or self.steps

    @property
    def computed_in(self) -> str:
        """The precision of the training: "float32" for early versions, which do not say."""
        return self.precision or "float32"

    @property
    def computed_by(self) -> str:
        """The backend of the training: "tensorflow" for rows from before 0.7.7, which do not say."""
        return self.backend or "tensorflow"

    @property
    def measurement(self) -> tuple:
        """What was measured. Of evaluations with the same measurement the latest counts."""
        how = self.split, self.view, self.weights, self.resolution
        return self.run, self.steps_planned, *how, self.data["fingerprint"]

    def to_row(self) -> dict:
        """Returns the row of the overall log, with its protocol and without values that are unknown or do not apply."""
        row = {**asdict(self), "protocol": self.protocol}
        sometimes = ("init", "backend", "precision", "trained_version", "training_top1", "validation_seen")
        unknown = [key for key in (*sometimes, "diagnosis", "frame") if row[key] is None]
        return {key: value for key, value in row.items() if key not in unknown}

    @classmethod
    def from_row(cls, row: dict) -> "EvaluationRecord | None":
        """Returns the evaluation that a row stores; None for a row without what a comparison needs."""
        values, data = _values(cls, row), row.get("data")
        known = isinstance(data, dict) and {"title", "fingerprint", "official"} <= set(data)
        return cls(**values) if values and known and _has_types(values) else None

    def to_result(self) -> dict:
        """Returns what a preset's file keeps of a test result."""
        return {
            **{_RESULT_KEYS.get(key, key): getattr(self, key) for key in _IN_RESULT},
            **{key: value for key in _SOMETIMES_IN_RESULT if (value := getattr(self, key)) is not None},
            "version": self.versions["resnet_tf"],
            "data": {key: self.data[key] for key in ("title", "fingerprint", "official")},
        }

    @classmethod
    def from_result(cls, preset: str, result: dict) -> "EvaluationRecord | None":
        """Returns the evaluation that a preset's file keeps; None where keys are missing that a comparison needs.

        Args:
            preset: the preset's name.
        """
        names = {stored: name for name, stored in _RESULT_KEYS.items()}
        row = {names.get(key, key): value for key, value in result.items()}
        # Results of 0.1 and 0.2 do not say these.
        older = {"steps": None, "steps_planned": None, "same_data_as_training": True}
        return cls.from_row({**older, **row, "preset": preset, "split": "test"})
