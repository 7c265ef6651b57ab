"""What counts as a change of a training, and how a name says it."""

from resnet_tf.presets import changes


def test_a_name_says_what_was_changed_and_to_what():
    assert changes.display_name("4", {}) == "4"
    changed = {"train.epochs": [None, 100], "optimizer.learning_rate": [0.05, 0.1]}
    assert changes.display_name("4", changed) == "4, train.epochs 100 -> none, optimizer.learning_rate 0.1 -> 0.05"


def test_a_name_stays_short():
    many = {f"section.key{number}": [number, 0] for number in range(9)}
    assert changes.in_words(many)[-2:] == ["section.key2 0 -> 2", "6 more changes"]
    assert changes.in_words({"phases": [[{"train": {"epochs": 12}}] * 5, []]}) == ["other phases"]


def test_precision_is_said_by_the_result_and_changes_no_training():
    precision = ["mixed_bfloat16", "float32"]
    changed = {"train.epochs": [3, 100], "train.precision": precision, "phases.1.train.precision": precision}
    assert changes.of_training(changed) == {"train.epochs": [3, 100]}
