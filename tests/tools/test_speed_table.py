import pytest

from tools.speed_table import SPEED_HEADINGS, speed_lines


def turns(*seconds, peak=1000):
    return [{"step_seconds": each, "peak_mib": peak + number} for number, each in enumerate(seconds)]


FIRST_DAY = {
    "case": "resnet20",
    "work": "train",
    "batch": 128,
    "turns": {
        "ours": turns(0.2, 0.4),
        "torch": turns(0.3, 0.4, peak=500),
        "torch.compile": turns(0.2, 0.5),
        "keras": turns(0.4, 0.8),
        "ours-bfloat16": turns(0.1, 0.2),
        "torch-bfloat16": turns(0.15, 0.3),
    },
    "convolution_seconds": 0.24,
}
SECOND_DAY = FIRST_DAY | {"turns": FIRST_DAY["turns"] | {"ours": turns(0.1), "torch": turns(0.3)}}
SECOND_DAY["turns"] = {name: turns[:1] for name, turns in SECOND_DAY["turns"].items()}


def test_ratios_compare_the_processes_of_one_round():
    cells = dict(zip(SPEED_HEADINGS, *speed_lines([FIRST_DAY]), strict=True))
    assert cells[""] == "resnet20, training"
    assert cells["float32, images/s"] == "427"  # 128 / 0.3
    assert cells["times as fast as torch"] == "1.25 (1.00 to 1.50)"
    assert cells["times as fast as torch.compile"] == "1.12 (1.00 to 1.25)"
    assert cells["times as fast as keras"] == "2.00 (2.00 to 2.00)"
    assert cells["bfloat16, images/s"] == "853"
    assert cells["times as fast as torch's best in any precision"] == "1.50 (1.50 to 1.50), torch-bfloat16"
    assert cells["peak memory, MiB (torch's)"] == "1,001 (501)"
    assert cells["convolutions' share"] == "80 %"


def test_rounds_of_all_days_count_alike():
    cells = dict(zip(SPEED_HEADINGS, *speed_lines([FIRST_DAY, SECOND_DAY]), strict=True))
    assert cells["times as fast as torch"] == "1.50 (1.00 to 3.00)"
    assert cells["float32, images/s"] == "640"  # 0.2, 0.4 and 0.1
    assert cells["convolutions' share"] == "160 %"  # between 80 % and 240 %


@pytest.mark.parametrize("left_out", ["torch", "keras", "ours-bfloat16"])
def test_what_was_not_measured_is_left_out(left_out):
    measured = {name: each for name, each in FIRST_DAY["turns"].items() if name != left_out}
    (line,) = speed_lines([{"case": "resnet20", "work": "infer", "batch": 128, "turns": measured}])
    assert "-" in line
    assert line[0] == "resnet20, evaluation"
    assert line[-1] == "-"
