"""An evaluation as a person reads it: the figures, and how they compare."""

from resnet_tf.format import as_text, percent, plural, table
from resnet_tf.runs.records import EvaluationRecord
from resnet_tf.scoring.diagnosis import FEW_IMAGES


def show(result: EvaluationRecord) -> None:
    """Prints a result: totals, every class, and how it compares with the reference."""
    low, high = result.top1_interval
    epochs = "of unknown length" if result.epochs is None else f"{result.epochs:g} epochs"
    print(f"{result.run}, {result.weights} weights ({epochs}), {result.view}")
    size = f"{result.resolution} px" + (f", {result.frame}" if result.frame else "")
    print(f"{result.split} split of {result.data['title']}: {result.count:,} images at {size}")
    print(f"  top-1  {result.top1:6.2f} %   (95 % interval {low:.2f} to {high:.2f})")
    if len(result.per_class_top1) > 5:  # of five classes it is always 100 %
        print(f"  top-5  {result.top5:6.2f} %")
    print(f"  loss   {'not finite' if result.loss is None else format(result.loss, '7.4f')}")
    # A class of which the split has no image has no accuracy.
    rows = [[name, percent(value), "#" * round((value or 0) / 4)] for name, value in result.per_class_top1.items()]
    print(as_text(table(("class", "top-1", ""), rows, numbers=("top-1",))))
    if diagnosis := result.diagnosis:
        line, after = f"calibration error {100 * diagnosis['calibration_error']:.2f} %", diagnosis["temperature"]
        if after is not None:
            error = 100 * diagnosis["calibration_error_at_temperature"]
            line += f", {error:.2f} % at temperature {after:.2f}, fitted on validation images"
        print(line)
        if result.count < FEW_IMAGES:
            print(f"note: on {plural(result.count, 'image')}, fewer than {FEW_IMAGES}, the calibration means little")
    if not result.same_data_as_training:
        print("note: these are not the images that the run was trained on")
    print(result.verdict)


def show_reproduction(result: EvaluationRecord, published: EvaluationRecord) -> None:
    """Prints whether a result equals the one that a pretrained run was published with, if measured the same way."""
    other = [
        f"{key} {getattr(published, key)}"
        for key in ("split", "view", "weights", "resolution")
        if getattr(result, key) != getattr(published, key)
    ]
    if result.data["fingerprint"] != published.data["fingerprint"]:
        other.append(f"images {published.data['title']}, not these")
    if other:
        print(f"published with {published.top1:.2f} %, measured otherwise ({'; '.join(other)}): not compared")
        return
    correct, before = result.correct, published.correct
    outcome = "reproduced exactly" if correct == before else f"NOT reproduced: {correct:,} right instead of {before:,}"
    print(f"published with {published.top1:.2f} %: {outcome}")
