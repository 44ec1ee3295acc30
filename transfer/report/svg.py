"""matplotlib's figures inside a page: text in the page's colour, identifiers that no other figure has."""

import io
import re

from transfer.plots import styled

INK = "#010203"  # drawn in this colour, written as the page's own


def inline_svg(make, name: str) -> str:
    """The <svg> element of the figure that ``make()`` draws. name: prefix of its identifiers."""
    colours = ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color")
    settings = {key: INK for key in colours} | {"svg.fonttype": "none", "figure.facecolor": "none"}
    text = io.StringIO()
    with styled(name, **settings, **{"axes.facecolor": "none", "savefig.facecolor": "none"}):
        make().savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    return re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
