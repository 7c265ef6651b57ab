"""Where two recipes differ, by key; `schema.changes` compares whole presets."""

from collections.abc import Sequence

LENGTH = ("train.epochs", "train.steps")  # how long it trains; a change of any other key makes another recipe


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


def _by_key(phases: Sequence[dict]) -> dict:
    return {
        f"phases.{number}.{section}.{key}": value
        for number, phase in enumerate(phases, start=1)
        for section, values in phase.items()
        for key, value in values.items()
    }
