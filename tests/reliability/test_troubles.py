"""One run through all that can befall it, in turn, ends in the bits of an unbroken one; long forms do each alone."""

import errno
import signal

from trials import STEPS, Fail, SendAtStep, Trial, outcome

from resnet_tf.runs.choose import all_runs
from resnet_tf.training import checkpoint


def test_stopped_damaged_out_of_room_and_started_four_times_at_once(data, unbroken, tmp_path):
    first = Trial(data, tmp_path, act=SendAtStep(signal.SIGINT, 1))
    assert first.end() == 130
    assert f"stopped at step 1 of {STEPS}" in first.output

    second = Trial(data, tmp_path, resume=True, act=SendAtStep(signal.SIGTERM, 19))
    assert second.end() == 143
    assert f"stopped at step 20 of {STEPS}" in second.output  # the end of the first phase

    (run,) = all_runs(tmp_path)
    newest, before = checkpoint.saved_states(run.state)
    damaged = bytearray((newest / "arrays.npz").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (newest / "arrays.npz").write_bytes(damaged)
    third = Trial(data, tmp_path, resume=True, act=Fail(errno.ENOSPC, 60, lasting=True))
    assert third.end() == 2
    assert f"damaged checkpoint ignored: {newest} (arrays.npz does not match its checksum)" in third.output
    assert f"resuming {run.name} after step {checkpoint.step_of(before)}" in third.output
    line = third.output.splitlines()[-1]
    assert str(run.folder) in line
    assert "No space left on device (0.0" in line
    reached = checkpoint.step_of(checkpoint.saved_states(run.state)[0])
    assert f"The checkpoint after step {reached} is saved." in line
    assert f"--resume {run.as_argument}." in line

    starts = [Trial(data, tmp_path, resume=run.name) for _ in range(4)]
    assert sorted(start.end() for start in starts) == [0, 2, 2, 2]
    for start in starts:
        if start.process.exitcode:
            line = start.output.splitlines()[-1]
            assert "is being trained already" in line or "which is finished" in line
    assert outcome(tmp_path) == unbroken[0]
