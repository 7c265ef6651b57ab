"""The one line that a mistake is told in; new tests use `assertions.user_error` and assert on its code."""

from assertions import user_error


def told(call, *arguments, **keywords) -> str:
    return str(user_error(call, *arguments, **keywords))
