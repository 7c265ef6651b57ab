"""What a page is made of. It needs nothing but itself: tables, and plots as inline SVG; no script, no request."""

import html
import re
from collections.abc import Sequence

from resnet_tf.format import printable

NUMBER = re.compile(r"-?|(\+/- |[+-])?[\d.,]+[kMG]?( %)?( to [\d.]+)?")

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><title>{title}</title><style>{style}</style></head>
<body>
{body}
</body></html>
"""
STYLE = """
body { margin: 1rem auto; padding: 0 1rem; max-width: 1400px; color: #1c2430; font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin: 1.5rem 0 0.4rem; }
p { max-width: 75ch; margin: 0.4rem 0; } nav a { margin-right: 1rem; } a { color: #0060a0; }
details { margin: 0.6rem 0; border: 1px solid #dfe4ea; border-radius: 0.4rem; padding: 0.3rem 0.7rem; }
summary { cursor: pointer; font-weight: 600; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 0.4rem 0; }
table { border-collapse: separate; border-spacing: 0; min-width: 100%; font: 13px/20px system-ui, sans-serif; }
th, td { text-align: left; vertical-align: top; padding: 4px 8px; border-bottom: 1px solid #dfe4ea; }
thead th { background: #f5f7f9; white-space: nowrap; } tbody th { padding-top: 12px; }
td > div { width: max-content; max-width: 13rem; overflow-wrap: anywhere; }
td:first-child > div { max-width: 18rem; }
tr > :first-child { position: sticky; left: 0; background: #fff; font-weight: 600; }
thead tr > :first-child { background: #f5f7f9; }
.number { text-align: right; } .number > div { margin-left: auto; }
.plots { display: flex; gap: 0.75rem; overflow-x: auto; }
.plots svg { flex: 1 0 290px; max-width: 480px; height: auto; }
.word { padding: 0 0.45rem; border-radius: 0.7rem; background: #f5f7f9; white-space: nowrap; }
.above { background: #d9f0e3; } .below { background: #fbe0d8; } .within { background: #dcebfa; }
@media (max-width: 600px) { body { padding: 0 0.6rem; } td > div { max-width: 8rem; }
  td:first-child > div { max-width: 9.5rem; font-weight: normal; } }
"""


class Html(str):
    """Text that is HTML already."""


def escape(value: str) -> str:
    """Returns a text as HTML, what is not printable written as an escape."""
    if isinstance(value, Html):
        return value
    return html.escape(printable(value)).replace("-&gt;", "&rarr;")  # a line may end after the - of ->


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table; where the screen is too narrow, it scrolls sideways beside its first column.

    A row of one cell is a heading over those that follow. In a table without these, columns of numbers are set to the
    right, even with a few other cells.
    """
    kinds, mixed = [""], any(len(cells) == 1 for cells in rows)
    for place in range(1, len(headings)):
        numbers = [NUMBER.fullmatch(cells[place]) is not None for cells in rows if len(cells) > 1]
        kinds.append(' class="number"' if not mixed and sum(numbers) > 0.9 * len(numbers) else "")
    lines = [f"<th{kind}>{escape(heading)}</th>" for kind, heading in zip(kinds, headings, strict=True)]
    lines = ["<thead><tr>", *lines, "</tr></thead><tbody>"]
    for cells in rows:
        if len(cells) == 1:
            lines.append(f'<tr><th colspan="{len(headings)}">{escape(cells[0])}</th></tr>')
        else:
            pairs = zip(kinds, cells, strict=True)
            lines.append(f"<tr>{''.join(f'<td{kind}><div>{escape(cell)}</div></td>' for kind, cell in pairs)}</tr>")
    return f'<div class="wide"><table>{"".join(lines)}</tbody></table></div>'


def folded(title: str, parts: Sequence[str], unfolded: bool = False) -> str:
    """Returns a part of the page that a click on its title folds or unfolds."""
    return f"<details{' open' * unfolded}><summary>{escape(title)}</summary>\n{_joined(parts)}\n</details>"


def document(title: str, parts: Sequence[str]) -> str:
    """Returns a whole page."""
    return PAGE.format(title=escape(title), style=STYLE, body=_joined(parts))


def _joined(parts: Sequence[str]) -> str:
    return "\n".join(part for part in parts if part)
