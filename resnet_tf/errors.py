"""Errors that are the user's to fix: one clear line, exit code 2, no traceback."""

import difflib
import reprlib
from collections.abc import Callable, Iterable
from typing import Any


class UserError(Exception):
    """A mistake the user can fix. The message is one line: the rule, what came in, what to do.

    Attributes:
        code: what went wrong, in words that stay when the message is reworded: "run-not-found".
    """

    exit_code = 2

    def __init__(self, message: str, code: str = ""):
        super().__init__(message)
        self.code = code


class Stopped(Exception):
    """A training was told to stop and did so in good order; its state is saved."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_code = 128 + signal_number  # 130 for Ctrl-C, 143 for TERM, as shells expect


def try_each(actions: Iterable[Callable[[], None]]) -> None:
    """Calls each action, even if one before it failed: what can be kept is kept.

    Raises:
        UserError: at least one raised a UserError; says each one's message.
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
    """Returns a value as a message may show it: as Python writes it, the middle of a long one left out."""
    text = _SHORT.repr(value)
    return text if len(text) <= 240 else f"{text[:180]} ... {text[-40:]}"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 120
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxtuple = 4, 12, 12, 12


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name most like `name`, or like its beginning; None when nothing is close enough to suggest."""
    text = str(name).lower()[:100]

    def likeness(candidate: str) -> float:
        whole = difflib.SequenceMatcher(None, text, candidate).ratio()
        # "resnt20" is far from "resnet20-cifar10-paper", but not from its beginning.
        start = difflib.SequenceMatcher(None, text, candidate[: len(text) + 1]).ratio()
        return max(whole, start - 0.2)

    scores = {candidate: likeness(str(candidate).lower()) for candidate in known}
    best = max(scores, key=scores.get, default=None)
    return best if best is not None and scores[best] >= 0.5 else None


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "", code: str = "unknown-name") -> UserError:
    """Returns the error for a name that is not known, with the nearest known one.

    Args:
        kind: what the name should have named, as a user would say it ("preset", "key of 'train'").
        name: what came in.
        known: the names there are.
        hint: what to do next, a whole sentence.
    """
    known = list(known)
    suggestion = nearest(name, known)
    line = f"unknown {kind} {shown(name)}."
    if suggestion is not None:
        line += f" Did you mean {suggestion!r}?"
    elif known:
        line += f" Known: {', '.join(map(str, known))}."
    return UserError(f"{line} {hint}".rstrip(), code)
