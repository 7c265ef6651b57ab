"""What the page says, as HTML: what a network knows, the prediction of a photo, or the reason why there is none."""

import base64
import io
from html import escape
from pathlib import Path

import numpy as np

from resnet_tf.format import printable
from resnet_tf.runs.choose import recorded_accuracy
from resnet_tf.runs.run import Run

EMPTY = "<div class='answer'><p class='faint'>The answer appears here.</p></div>"
_SHOWN = 5  # classes


def introduce(run: Run, runs: str | Path) -> str:
    """Returns HTML that says what a run knows and how accurate it is."""
    names = run.about["class_names"]
    some = ", ".join(names[:20]) + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")
    about = f"{run.preset.title}. Trained on {run.about['data']['title']}: {recorded_accuracy(run, runs)}."
    return _wrapped(
        f"<p>{_text(about)}</p><p class='faint'>It knows only these classes: {_text(some)}. Whatever a photo shows, "
        "the answer is one of them.</p>"
    )


def describe(path: Path, predictor, runs: str | Path) -> str:
    """Returns HTML with the prediction of one photo, or with the reason why it cannot be read."""
    from resnet_tf.prediction import contact_sheet

    ((row, photo),) = predictor.predict([path], min(_SHOWN, len(predictor.classes)))
    if row["error"]:
        return refusal(f"{path.name} cannot be predicted: {row['error']}.")
    best = row["top"][0]
    verdict = "<span class='unsure'>unsure: perhaps none of the classes</span>" if row["unsure"] else "sure"
    figures = (
        (photo.preview, path.name, ""),
        (photo.fitted, f"what the network saw: {photo.fitted.shape[0]} x {photo.fitted.shape[1]} pixels", "pixels"),
        (contact_sheet.coloured(photo.fitted, photo.activation), f"evidence for {best['class']}", "pixels"),
    )
    shown = "".join(
        f"<figure><img class='{kind}' src='{_data_uri(pixels)}' alt='{_text(title)}'>"
        f"<figcaption>{_text(title)}</figcaption></figure>"
        for pixels, title, kind in figures
    )
    bars = "".join(
        f"<div class='bar'><span>{_text(guess['class'])}</span>"
        f"<div><div style='width: {100 * guess['probability']:.1f}%'></div></div>"
        f"<span>{guess['probability']:.1%}</span></div>"
        for guess in row["top"]
    )
    source = f"Answered by {row['run']} ({recorded_accuracy(predictor.run, runs)}). Unsure: {predictor.rule}."
    source += f" Note: {predictor.caution}." * bool(predictor.caution)
    return _wrapped(
        f"<h2>{_text(best['class'])}</h2><p>{best['probability']:.1%}, {verdict}</p>{bars}"
        f"<div class='views'>{shown}</div><p class='faint'>{_text(source)}</p>"
    )


def refusal(message: str) -> str:
    """Returns HTML with the reason why there is no answer."""
    return _wrapped(f"<p class='error'>{_text(message)}</p>")


def _wrapped(content: str) -> str:
    return f"<div class='answer'>{content}</div>"


def _text(text: str) -> str:
    """Returns text from elsewhere as HTML: no tag, no attribute's end, nothing invisible."""
    return escape(printable(text))


def _data_uri(pixels: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
