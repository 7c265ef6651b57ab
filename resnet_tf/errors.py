"""Errors that the user can fix: one clear line, exit code 2, no traceback."""

import difflib
import reprlib
from collections.abc import Callable, Iterable
from typing import Any

_MOST_LISTED = 40  # names in a message


class UserError(Exception):
    """A mistake that the user can fix. The message is one line: the rule, what was received, what to do.

    Attributes:
        code: what went wrong, such as "run-not-found"; it stays the same when the message is reworded.
    """

    exit_code = 2

    def __init__(self, message: str, code: str):
        super().__init__(message, code)  # both, so that it can be pickled: some are raised in another process
        self.message, self.code = message, code

    def __str__(self) -> str:
        return self.message


class Stopped(Exception):
    """A training stopped at the user's request; its state is saved."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number  # 130 for Ctrl-C, 143 for TERM, as shells expect


def try_each(actions: Iterable[Callable[[], None]]) -> None:
    """Calls each action, even if one before it failed.

    Raises:
        UserError: at least one raised a UserError; its message holds all of theirs.
    """
    failures = []
    for action in actions:
        try:
            action()
        except UserError as error:
            failures.append(error)
    if failures:
        raise UserError(" ".join(map(str, failures)), failures[0].code)


def shown(value: Any) -> str:
    """Returns a value as Python writes it, for a message; the middle of a long text is left out."""
    text = _SHORT.repr(value)
    return text if len(text) <= 240 else f"{text[:180]} ... {text[-40:]}"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 120
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxtuple = 4, 12, 12, 12


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name most similar to `name`; None when none is similar enough to suggest."""
    text = str(name).lower()[:100]

    def similarity(candidate: str) -> float:
        whole = difflib.SequenceMatcher(None, text, candidate).ratio()
        # "resnt20" is not similar to "resnet20-cifar10-paper", but to its beginning.
        start = difflib.SequenceMatcher(None, text, candidate[: len(text) + 1]).ratio()
        return max(whole, start - 0.2)

    scores = {candidate: similarity(str(candidate).lower()) for candidate in known}
    best = max(scores, key=scores.get, default=None)
    return best if best is not None and scores[best] >= 0.5 else None


def unknown(kind: str, name: str, known: Iterable[str], code: str, hint: str = "") -> UserError:
    """Returns the error for an unknown name, with the most similar known one.

    Args:
        kind: what the name stands for ("preset", "key of 'train'").
        known: the names that exist; listed where none is similar and they are few.
        hint: what to do next, a whole sentence.
    """
    known = list(known)
    suggestion = nearest(name, known)
    message = f"unknown {kind} {shown(name)}."
    if suggestion is not None:
        message += f" Did you mean {suggestion!r}?"
    elif 0 < len(known) <= _MOST_LISTED:
        message += f" Known: {', '.join(map(str, known))}."
    return UserError(f"{message} {hint}".rstrip(), code)
