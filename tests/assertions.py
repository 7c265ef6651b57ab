"""What tests assert of mistakes: their code, and that a user reads one line."""

import pytest

from resnet_tf.errors import UserError


def user_error(call, *arguments, **keywords) -> UserError:
    """Returns the UserError that a call raises, whose message must be one line."""
    with pytest.raises(UserError) as caught:
        call(*arguments, **keywords)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    return caught.value
