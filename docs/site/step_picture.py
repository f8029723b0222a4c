"""Draws docs/step.svg, the picture of docs/how-a-step-works.md.

    python docs/site/step_picture.py

Boxes are dark with white words and arrows grey, so that both a light and a dark page show them.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

WIDTH, LINE, GAP, EDGE = 540, 19, 26, 6
ALL, EACH, FIRST, GREY = "#2f6b4f", "#2b5c8a", "#8a4f1d", "#777777"
Box = tuple[str, str, str]  # colour, heading, lines
Point = tuple[float, float]

ROWS: list[list[Box]] = [
    [
        (
            ALL,
            "1  Sampling",
            "the next B samples of the epoch's order, after the cursor;\neach rank takes its part",
        )
    ],
    [
        (EACH, "2  Passes, rank 0", "micro-batches that fit it:\nforward, backward;\nmeasured: |g|² of each"),
        (EACH, "2  Passes, rank 1, 2, ...", "micro-batches that fit it:\nforward, backward;\nmeasured: |g|² of each"),
    ],
    [
        (
            ALL,
            "3  One sum over ranks",
            "p.grad = exact mean over the B samples, on all ranks;\nbeside it: losses, |g|², finite? stop? checkpoint?",
        )
    ],
    [(ALL, "4  Update, on every rank", "clip, LARS on the mean gradient: the same new weights")],
    [(ALL, "5  Statistics", "variance and signal, averaged over a window:\nthe noise scale and its interval")],
    [
        (
            FIRST,
            "6  Decision, rank 0",
            "the rule: from progress to\nbatch, rate and reason;\nbounded, and journalled",
        ),
        (EACH, "6  The other ranks", "hear a few numbers, which\nhold from this cursor on"),
    ],
    [(ALL, "7  Checkpoint, when due", "the state of all ranks, written by a thread of rank 0")],
]
HEAD = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="5" markerHeight="5" orient="auto">'
    f'<path d="M0,0 L8,4 L0,8 z" fill="{GREY}"/></marker></defs>'
)
STYLE = "<style>text { font: 15px system-ui, sans-serif; } text[font-weight] { font-weight: bold; }</style>"
TITLE = "<title>One step: sampling, passes, sum, update, statistics, decision, checkpoint</title>"


def box(x: float, y: float, width: float, height: float, told: Box) -> str:
    """Returns a box with its words."""
    colour, heading, text = told
    words = [f'<text x="{x + 14}" y="{y + 24}" font-weight="bold">{escape(heading)}</text>']
    for number, line in enumerate(text.split("\n"), 1):
        words.append(f'<text x="{x + 14}" y="{y + 24 + LINE * number}">{escape(line)}</text>')
    shape = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{colour}"/>'
    return "\n".join([shape, *words])


def arrow(*points: Point) -> str:
    """Returns a line with a head at its end."""
    way = " ".join(f"{x:g},{y:g}" for x, y in points)
    return f'<polyline points="{way}" fill="none" stroke="{GREY}" stroke-width="2.5" marker-end="url(#head)"/>'


def picture() -> str:
    """Returns the picture as SVG."""
    inner = WIDTH - 2 * EDGE - 34  # beside it the way back
    parts, top, bottom = [], float(EDGE), 0.0
    for number, row in enumerate(ROWS):
        width = (inner - 20 * (len(row) - 1)) / len(row)
        height = 38 + LINE * max(text.count("\n") + 1 for _, _, text in row)
        for column, told in enumerate(row):
            x = EDGE + column * (width + 20)
            parts.append(box(x, top, width, height, told))
            if number:
                parts.append(arrow((x + width / 2, bottom + 3), (x + width / 2, top - 4)))
        bottom = top + height
        top = bottom + GAP
    right, first, last = EDGE + inner, EDGE + 28, bottom - 28
    parts.append(arrow((right + 3, last), (right + 24, last), (right + 24, first), (right + 4, first)))
    turned = f"translate({right + 20},{bottom / 2 + 60}) rotate(-90)"
    parts.append(f'<text transform="{turned}" fill="{GREY}">the next batch</text>')
    size = f'viewBox="0 0 {WIDTH} {bottom + EDGE:g}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} fill="#ffffff" role="img">'
    return "\n".join([opening, TITLE, STYLE, HEAD, *parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    (Path(__file__).parents[1] / "step.svg").write_text(picture(), encoding="utf-8")
