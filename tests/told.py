"""What a user reads when something is not as it must be: one line."""

import pytest

from resnet_tf.errors import UserError


def told(call, *arguments, **keywords) -> str:
    """Returns the one line that a mistake is told in."""
    with pytest.raises(UserError) as caught:
        call(*arguments, **keywords)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 1000
    return line
