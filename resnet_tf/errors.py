"""Errors that are the user's to fix: one clear line, exit code 2, no traceback."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can mend. The message is one line: the rule, what came in, what to do."""

    exit_code = 2


class Stopped(Exception):
    """A training was told to stop and did so in good order; its state is saved."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_code = 128 + signal_number  # 130 for Ctrl-C, 143 for TERM, as shells expect


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name most like `name`, or None when nothing is close enough to suggest."""
    lowered = {str(candidate).lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(str(name).lower(), lowered, n=1, cutoff=0.5)
    return lowered[matches[0]] if matches else None


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> UserError:
    """Returns the error for a name that is not known, with the nearest known one.

    Args:
        kind: what the name should have named, as a user would say it ("preset", "key of 'train'").
        name: what came in.
        known: the names there are.
        hint: what to do next, a whole sentence.
    """
    known = list(known)
    suggestion = nearest(name, known)
    line = f"unknown {kind} {name!r}."
    if suggestion is not None:
        line += f" Did you mean {suggestion!r}?"
    elif known:
        line += f" Known: {', '.join(map(str, known))}."
    return UserError(f"{line} {hint}".rstrip())
