"""How a report's pictures look: colours, light and dark, names, legends, bytes of a file."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[[], "Figure"]

# Okabe and Ito's colours, which the colour-blind can tell apart; each is seen on white and on black
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c8c8c", "#b8a800")
MARKERS = "osD^vPX*"
INK = {"light": "#1c2530", "dark": "#e4e7eb"}
PAPER = {"light": "#ffffff", "dark": "#161b22"}
IDEAL = "#8c8c8c"
LONGEST = 64  # letters of a name; of a longer one the middle is left out
WIDEST = 36  # letters on a line above a panel


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A picture as files.

    Args:
        png: The bytes of the PNG, for light pages.
        svg: The bytes of the SVG, for light pages.
    """

    png: bytes
    svg: bytes

    @property
    def dark_svg(self) -> bytes:
        """Returns the SVG for dark pages: the same with another ink on another paper."""
        dark = self.svg
        for colours in (INK, PAPER):
            dark = dark.replace(colours["light"].encode(), colours["dark"].encode())
        return dark


def render(draw: Draw) -> Rendered:
    """Draws the picture once. Returns it as files."""
    from matplotlib import style as styles
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    ink, paper = INK["light"], PAPER["light"]
    names = ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color")
    style: dict[Any, Any] = dict.fromkeys(names, ink) | dict.fromkeys(("figure.facecolor", "axes.facecolor"), paper)
    style |= {"savefig.facecolor": paper, "legend.frameon": False, "font.size": 10, "axes.titlesize": "medium"}
    style |= {"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "grid.color": ink}
    style |= {"grid.alpha": 0.2, "svg.hashsalt": "adabatch", "svg.fonttype": "path", "errorbar.capsize": 3}
    png, svg = io.BytesIO(), io.BytesIO()
    with styles.context(["default", style]):  # whatever the user's own settings are
        figure = draw()
        figure.set_dpi(120)
        FigureCanvasAgg(figure).print_png(png)  # type: ignore[no-untyped-call]
        figure.set_layout_engine("none")  # all has its place now: finding it takes as long as drawing
        FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return Rendered(png=png.getvalue(), svg=svg.getvalue())


def legend(figure: Figure) -> None:
    """Adds one legend for all panels, each label once, where it covers nothing."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    columns = max(1, min(4, 100 // max(map(len, found), default=1)))
    figure.legend(found.values(), list(found), loc="outside upper center", ncols=columns, fontsize="small")


def shown(label: str) -> str:
    """Returns a name that matplotlib shows letter by letter: no mathematics, nothing that hides it or breaks an SVG."""
    plain = "".join(letter if letter.isprintable() else " " for letter in label)
    if len(plain) > LONGEST:
        plain = f"{plain[: LONGEST // 2]}…{plain[-LONGEST // 2 + 1 :]}"
    plain = plain.replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain


def title(label: str) -> str:
    """Returns a name for above a panel, on as many lines as it needs."""
    return "\n".join(shown(label[start : start + WIDEST]) for start in range(0, len(label), WIDEST))
