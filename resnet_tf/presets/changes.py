"""Where two recipes differ, by key, and how a table names that; `schema.changes` compares whole presets."""

from collections.abc import Sequence

from resnet_tf.format import plural

LENGTH = ("train.epochs", "train.steps")  # how long it trains; a change of any other key makes another recipe
SAID_BY_RESULT = ("evaluation.view", "evaluation.weights", "train.precision")
CHANGES_NAMED = 3
LONGEST_VALUE = 30  # characters


def is_length(key: str) -> bool:
    """Returns whether a key says how long a recipe or one of its phases trains."""
    return key.endswith(LENGTH)


def of_phases(ours: Sequence[dict], theirs: Sequence[dict]) -> dict[str, list]:
    """Returns where the phases of two recipes differ: {"phases.1.train.epochs": [ours, theirs]}.

    A value is None where the phase does not change the key, or is not there.
    """
    ours, theirs = _by_key(ours), _by_key(theirs)
    keys = {**theirs, **ours}
    # A phase may set a key to null, which is not the same as leaving it alone.
    same = [key for key in keys if key in ours and key in theirs and ours[key] == theirs[key]]
    return {key: [ours.get(key), theirs.get(key)] for key in keys if key not in same}


def of_training(changed: dict[str, list]) -> dict[str, list]:
    """Returns changes without what every result says by itself: view, weights and precision.

    bfloat16 does the same training in other arithmetic, as another processor or backend does. docs/speed.md has what
    that costs in accuracy; every row says its precision.
    """
    return {key: pair for key, pair in changed.items() if not key.endswith(SAID_BY_RESULT)}


def display_name(preset: str, changed: dict[str, list]) -> str:
    """Returns how a table names what was trained: "4, train.epochs 100 -> 3"."""
    return ", ".join([preset, *in_words(changed)])


def in_words(changed: dict[str, list], longest: int = LONGEST_VALUE) -> list[str]:
    """Returns what was changed, each key with the preset's value and ours; of many changes the first ones alone.

    Args:
        longest: characters of a value that is shown; a key with a longer one is only named.
    """
    words = []
    for key, (ours, theirs) in list(changed.items())[:CHANGES_NAMED]:
        values = ["none" if value is None else str(value) for value in (theirs, ours)]
        readable = max(map(len, values)) <= longest
        words.append(f"{key} {' -> '.join(values)}" if readable else f"other {key}")
    more = len(changed) - len(words)
    return [*words, *([plural(more, "more change")] if more else [])]


def _by_key(phases: Sequence[dict]) -> dict:
    return {
        f"phases.{number}.{section}.{key}": value
        for number, phase in enumerate(phases, start=1)
        for section, values in phase.items()
        for key, value in values.items()
    }
