"""Schedules and augmentations of the presets in `presets/`, step by step against their sources."""

import numpy as np
import pytest

from resnet_tf.optim.metric_rules import metric_rules
from resnet_tf.presets import augmentation, preset_files, schema
from resnet_tf.presets.augmentation_steps import RandomCrop, RandomResizedCrop, Resample, ShorterSide
from resnet_tf.presets.catalogue import DATASETS
from resnet_tf.presets.optimizer import AdamSpec

NAMES = preset_files.names()


def load(name):
    return preset_files.load_preset(name)


def phase_rates(name):
    """Returns the table of rates of each phase on the real data set's number of images."""
    rates = []
    for phase in load(name).in_phases:
        images = DATASETS[phase.data.dataset].train_size - phase.data.validation_size
        per_epoch = images * phase.train.repeats // phase.train.batch_size
        steps = phase.train.total_steps(per_epoch)
        rates.append(phase.schedule.rates(phase.optimizer.learning_rate, steps, per_epoch))
    return rates


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name.endswith("cifar10-paper")] + ["resnet34-cifar10", "resnet34-cifar100"]
)
def test_rates_of_the_paper(name):
    (rates,) = phase_rates(name)
    assert len(rates) == 64_000
    assert rates[[0, 31_999, 32_000, 47_999, 48_000, 63_999]] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize("name", ["resnet110-cifar10-paper", "resnet1202-cifar10-paper"])
def test_warm_up_ends_with_the_training_error_below_80_percent(name):
    preset = load(name)
    (rule,) = metric_rules(preset.schedule, preset.optimizer.learning_rate)
    for top1, rate in ((15.0, 0.01), (20.0, 0.01), (20.1, 0.1), (10.0, 0.1)):
        for _ in range(100):
            assert 0.1 * rule.scale == pytest.approx(0.01 if rate == 0.01 or top1 == 20.1 else 0.1)
            rule.add(top1)
        assert 0.1 * rule.scale == pytest.approx(rate)


def falls_of(name, losses):
    """Returns the epochs, counted from 1, at whose end a preset's plateau lowers the rate, and the last rate."""
    preset = load(name)
    (rule,) = metric_rules(preset.schedule, preset.optimizer.learning_rate)
    fell = [epoch for epoch, loss in enumerate(losses, start=1) if rule.update(loss)]
    return fell, preset.optimizer.learning_rate * rule.scale


def test_the_first_plateau_log_falls_at_the_authors_epochs():
    """Patience counts epochs. A validation loss that is best at epoch 22, and worse by every epoch after it."""
    losses = [2 - epoch / 22 for epoch in range(1, 23)] + [1 + epoch / 5000 for epoch in range(23, 5001)]
    fell, rate = falls_of("resnet32-cifar10-plateau-200", losses)
    assert fell == [223, 424, 625, 826, 1027, 1228]
    assert rate == pytest.approx(1e-7)
    assert load("resnet32-cifar10-plateau-200").schedule.every_steps is None


def test_the_second_plateau_log_is_still_at_the_first_rate_at_epoch_875():
    assert falls_of("resnet32-cifar10-plateau-1000", [1.0] * 875) == ([], 0.1)
    assert falls_of("resnet32-cifar10-plateau-1000", [1.0] * 1002)[0] == [1002]
    for size, fell in ((2e-5, []), (5e-9, [1002])):  # of the best
        assert falls_of("resnet32-cifar10-plateau-1000", [(1 - size) ** epoch for epoch in range(1002)])[0] == fell


@pytest.mark.parametrize("form", ["200", "1000", "short"])
def test_a_plateau_log_differs_from_the_papers_recipe_in_augmentation_schedule_and_length(form):
    preset = load(f"resnet32-cifar10-plateau-{form}")
    found = set(schema.changes(preset, load("resnet32-cifar10-paper")))
    assert {key for key in found if not key.startswith("schedule.")} == {"data.augment", "train.epochs", "train.steps"}
    assert preset.data.augment == ""
    assert preset.train.epochs == (40 if form == "short" else 5000)


def test_rates_of_adam():
    for name, decay in (("resnet32-cifar10-adam", 1e-4), ("resnet32-cifar10-adam-no-decay", 0.0)):
        assert load(name).optimizer.weight_decay == decay
        assert load(name).optimizer.decay == "coupled"
        (rates,) = phase_rates(name)
        assert rates[[0, 31_999, 32_000, 48_000]] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])


@pytest.mark.parametrize("name", ["stl10", "stl10-label-smoothing"])
def test_restarts_of_stl10_are_the_sources(name):
    """First period 10 epochs, each twice as long, peaks x0.6; an epoch is 20 x 4,000 images, by 128, then by 64."""
    first, second = phase_rates(name)
    assert (len(first), len(second)) == (300 * 625, 140 * 1250)
    for rates, epoch, peak, restarts in (
        (first, 625, 1e-3, (0, 10, 30, 70, 150)),
        (second, 1250, 5e-4, (0, 10, 30, 70)),
    ):
        starts = [epoch * restart for restart in restarts]
        assert rates[starts] == pytest.approx([peak * 0.6**period for period in range(len(restarts))])
        assert (rates[[start - 1 for start in starts[1:]]] < 1e-4 * peak).all()
        assert rates[-1] < 0.01 * peak
        assert rates[5 * epoch] == pytest.approx(peak / 2)
    for phase in load(name).in_phases:
        optimizer = phase.optimizer
        assert (type(optimizer), optimizer.weight_decay, optimizer.decay) == (AdamSpec, 1e-4, "coupled")


@pytest.mark.parametrize(("name", "steps"), [("quick", 10 * 25), ("quick-long", 40 * 49)])
def test_the_learning_rate_of_quick_falls_linearly_to_nothing(name, steps):
    """Batches of 2,000 of 50,000 images; `quick-long`: of 1,000 of 49,000."""
    (rates,) = phase_rates(name)
    assert rates == pytest.approx(0.24 * np.linspace(1, 0, steps))


def test_rates_of_imagenet():
    for name in ("imagenet-resnet34-exp2", "imagenet-resnet34-exp3"):
        (rates,) = phase_rates(name)
        epoch = 4_965  # 1,271,167 images in batches of 256
        assert len(rates) == 120 * epoch
        places = [0, 30 * epoch - 1, 30 * epoch, 60 * epoch, 90 * epoch - 1, 90 * epoch, -1]
        assert rates[places] == pytest.approx([0.1, 0.1, 0.01, 0.001, 0.001, 1e-4, 1e-4])


def test_rates_lowered_by_hand():
    """0.1, 1e-3 from epoch 40; of the second experiment 1e-4 from epoch 80; 120 epochs."""
    for name, expected in (("exp0-1", [0.1, 1e-3, 1e-3]), ("exp0-2", [0.1, 1e-3, 1e-4])):
        rates = np.concatenate(phase_rates(f"imagenet-resnet34-{name}")).reshape(3, 40 * 4_965)
        assert (rates == np.array(expected)[:, None]).all()


def test_adam_at_its_dead_end_differs_in_the_rate_alone():
    found = schema.changes(load("resnet32-cifar10-adam-dead-end"), load("resnet32-cifar10-adam-no-decay"))
    assert found == {"optimizer.learning_rate": [0.1, 0.001]}


def test_imagenet_as_in_the_paper():
    preset = load("imagenet-resnet34-paper")
    chain = [str(step) for step in augmentation.parse(preset.data.augment)]
    assert chain == ["shorter_side(256, 480)", "random_crop(224)", "flip_horizontal", "pca_lighting"]
    assert (preset.data.normalize, preset.model.initializer, preset.evaluation.view) == (
        "per_pixel",
        "he_fan_in",
        "10-crop",
    )
    (rates,) = phase_rates("imagenet-resnet34-paper")
    assert len(rates) == 600_000


def test_slow_progress_lets_experiment_0_go_on_and_lowers_the_rate_of_0_4():
    losses = [2.0 * 0.998**epoch for epoch in range(5)]  # a fifth of a percent better each time
    for name, firing in (("exp0", []), ("exp0-3", [4]), ("exp0-4", [4]), ("exp1", [4])):
        preset = load(f"imagenet-resnet34-{name}")
        (rule,) = metric_rules(preset.schedule, preset.optimizer.learning_rate)
        assert [epoch for epoch, loss in enumerate(losses) if rule.update(loss)] == firing
    (rule,) = metric_rules(load("imagenet-resnet34-exp0").schedule, 0.1)
    assert [epoch for epoch in range(8) if rule.update(2.0)] == [6]  # patience 5 is exceeded by the sixth


def test_what_tells_the_experiments_apart():
    chains = {
        name: [type(step) for step in augmentation.parse(load(f"imagenet-resnet34-{name}").data.augment)][:-1]
        for name in ("exp0", "exp0-1", "exp0-2", "exp0-3", "exp0-4", "exp1", "exp2", "exp3")
    }
    assert all(chains[name] == [RandomResizedCrop] for name in ("exp0", "exp0-1", "exp0-2", "exp0-4", "exp1"))
    assert schema.changes(load("imagenet-resnet34-exp1"), load("imagenet-resnet34-exp0-4")) == {}
    assert chains["exp0-3"] == [RandomResizedCrop, RandomCrop]
    stretched = augmentation.parse(load("imagenet-resnet34-exp0-3").data.augment)[0]
    assert augmentation.output_shape((stretched,)) == (256, 480)
    found = schema.changes(load("imagenet-resnet34-exp0-3"), load("imagenet-resnet34-exp0-4"))
    assert set(found) == {"data.augment", "model.initializer"}
    assert chains["exp2"] == [ShorterSide, Resample, RandomResizedCrop]  # as torchvision, which resizes twice
    assert chains["exp3"] == [ShorterSide, RandomCrop]
    for phase in load("stl10").in_phases:
        assert str(augmentation.parse(phase.data.augment)[0]) == "rotate(45.0, interpolation='nearest')"
    smoothed, plain = load("stl10-label-smoothing"), load("stl10")
    found = schema.changes(smoothed, plain)
    assert found == {"loss.label_smoothing": [0.1, 0.0], "loss.smoothing_form": ["others", "keras"]}
