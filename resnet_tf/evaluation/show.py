"""Prints an evaluation: totals, accuracy by class, and the comparison with the reference."""

from resnet_tf.format import as_text, percent, table


def show(result: dict) -> None:
    """Prints a result: totals, every class, and how it compares with the reference."""
    low, high = result["top1_interval"]
    epochs = "of unknown length" if result["epochs"] is None else f"{result['epochs']:g} epochs"
    print(f"{result['run']}, {result['weights']} weights ({epochs}), {result['view']}")
    title = result["data"]["title"]
    print(f"{result['split']} split of {title}: {result['count']:,} images at {result['resolution']} px")
    print(f"  top-1  {result['top1']:6.2f} %   (95 % interval {low:.2f} to {high:.2f})")
    print(f"  top-5  {result['top5']:6.2f} %")
    print(f"  loss   {'not finite' if result['loss'] is None else format(result['loss'], '7.4f')}")
    # A class of which the split has no image has no accuracy.
    rows = [[name, percent(value), "#" * round((value or 0) / 4)] for name, value in result["per_class_top1"].items()]
    print(as_text(table(("class", "top-1", ""), rows, numbers=("top-1",))))
    if diagnosis := result.get("diagnosis"):
        before, after = (100 * diagnosis[key] for key in ("calibration_error", "calibration_error_at_temperature"))
        print(f"calibration error {before:.2f} %, {after:.2f} % at temperature {diagnosis['temperature']:.2f}")
    if not result["same_data_as_training"]:
        print("note: these are not the images that the run was trained on")
    print(result["verdict"])


def show_shipped(result: dict, shipped: dict) -> None:
    """Says whether a result is that with which the run's weights were shipped, where it was measured the same way."""
    other = [
        f"{key} {shipped[key]}" for key in ("split", "view", "weights", "resolution") if result[key] != shipped[key]
    ]
    if result["data"]["fingerprint"] != shipped["data"]["fingerprint"]:
        other.append(f"images {shipped['data']['title']}, not these")
    if other:
        print(f"shipped with {shipped['top1']:.2f} %, measured otherwise ({'; '.join(other)}): not compared")
        return
    correct, before = result["correct"], shipped["correct"]
    outcome = "reproduced exactly" if correct == before else f"NOT reproduced: {correct:,} right instead of {before:,}"
    print(f"shipped with {shipped['top1']:.2f} %: {outcome}")
