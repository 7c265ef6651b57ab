"""What all plots share: how they look and how they are saved. matplotlib draws them, without pyplot and its windows."""

import contextlib
import html
import io
import logging
import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_tf import files
from resnet_tf.errors import UserError, shown
from resnet_tf.format import printable
from resnet_tf.log import logger

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMS = (".png", ".pdf", ".svg")
INK, FAINT, RULE = "#1c2430", "#5b6675", "#dfe4ea"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56606b")  # distinct for colour-blind eyes too
_STYLE = {
    "font.sans-serif": ["DejaVu Sans", "sans-serif"],
    "svg.fonttype": "none",  # text stays text: small, and selectable
    "svg.hashsalt": "resnet_tf",  # else each file would hold random identifiers
}
# For what DejaVu lacks, such as Chinese, Japanese and Korean: those of these fonts that are installed.
_FURTHER_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
)
_FURTHER_FONTS += ("Droid Sans Fallback", "PingFang SC", "Hiragino Sans", "Arial Unicode MS", "Noto Sans Devanagari")
_NO_DATE = {"svg": {"Date": None, "Creator": None, "Format": None, "Type": None}, "pdf": {"CreationDate": None}}


def figure(width: float, height: float, title: str = "") -> "Figure":
    """Returns an empty figure, its size in inches."""
    from matplotlib.figure import Figure

    result = Figure(figsize=(width, height), dpi=120, layout="constrained")
    if title:
        result.suptitle(printable(title), size=11, color=INK, parse_math=False)
    return result


def tidy(axes: "Axes") -> None:
    """Gives axes the common look: a faint grid, no frame above and on the right, small labels."""
    axes.grid(True, color=RULE, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)


def check_place(path: str | os.PathLike) -> None:
    """Raises UserError where no figure could be saved: the name has another suffix, or the folder does not exist."""
    form_of(path)
    files.check_folder(path)


def form_of(path: str | os.PathLike) -> str:
    """Returns the format that a figure's file name asks for: "png", "pdf" or "svg".

    Raises:
        UserError: the name has another suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMS:
        raise UserError(
            f"a figure's name must end in {', '.join(FORMS)}. Received: {shown(os.fspath(path))}.", "figure-suffix"
        )
    return suffix[1:]


def encode(figure: "Figure", form: str) -> bytes:
    """Returns a figure as the content of a file: `form` is "png", "pdf" or "svg". Equal figures give equal bytes."""
    content, missing = _drawn(figure, form)
    if missing and form != "svg":  # where the reader's fonts draw the text
        if _find_new_fonts():
            content, missing = _drawn(figure, form)
        if missing:
            some = printable(missing[:10])
            logger.info(f"no installed font has {some}: drawn as boxes; install one that does, such as Noto Sans CJK")
    return content


def _drawn(figure: "Figure", form: str) -> tuple[bytes, str]:
    """Returns a figure as the content of a file, and the characters that no font has."""
    import matplotlib
    from matplotlib import font_manager
    from matplotlib.text import Text

    style, buffer = dict(_STYLE), io.BytesIO()
    if form != "svg":
        # Of the generic family, "sans-serif", matplotlib draws with one font alone; of named ones with each in turn.
        installed = {font.name for font in font_manager.fontManager.ttflist}
        families = [_STYLE["font.sans-serif"][0], *(name for name in _FURTHER_FONTS if name in installed)]
        style["font.family"] = families
        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # some fonts have but one weight
        for text in figure.findobj(Text):
            text.set_fontfamily(families)
    with matplotlib.rc_context(style), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(buffer, format=form, metadata=_NO_DATE.get(form))
    codes = {int(found[1]) for one in caught if (found := re.match(r"Glyph (\d+)", str(one.message)))}
    return buffer.getvalue(), "".join(map(chr, sorted(codes)))


def _find_new_fonts() -> bool:
    """Makes known the fonts installed since matplotlib last listed them; returns whether there are any."""
    from matplotlib import font_manager

    known = {font.fname for font in font_manager.fontManager.ttflist}
    new = set(font_manager.findSystemFonts()) - known
    for path in sorted(new):
        with contextlib.suppress(Exception):  # a font that matplotlib cannot read is none
            font_manager.fontManager.addfont(path)
    return {font.fname for font in font_manager.fontManager.ttflist} > known


def save(figure: "Figure", path: str | os.PathLike) -> None:
    """Saves a figure in the format that the file's suffix names.

    Raises:
        UserError: the name has another suffix, or the file cannot be written.
    """
    files.save(path, encode(figure, form_of(path)))


def svg_element(figure: "Figure", label: str) -> str:
    """Returns a figure as an <svg> element for an HTML page; a screen reader reads `label`."""
    text = encode(figure, "svg").decode()
    used = set(re.findall(r"#([\w-]+)", text))
    # Each figure numbers its parts alike; on a page an identifier must be unique. Those that remain name equal content.
    text = re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in used else "", text[text.index("<svg") :])
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" ', 1)
