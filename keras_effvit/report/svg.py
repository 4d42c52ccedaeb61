"""SVG: written here for the page's small figures, and cleaned of what matplotlib adds to its own."""

import re
import xml.etree.ElementTree as ET

from keras_effvit.report.text import escape

#: Colours of the figures, and the page's names for them: it has a light and a dark value for each.
INK, MUTED, GRID, PAPER = "#1c2127", "#5a6572", "#dfe4ea", "#fefefe"
#: Okabe and Ito's colours, which people of any colour vision tell apart; the last ones are other shades of the first.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#6b7280")
OUTSIDE = "#c8102e"
NAMES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--card",
    OUTSIDE: "--outside",
    **{colour: f"--c{number}" for number, colour in enumerate(PALETTE)},
}
_DROPPED = frozenset({"metadata", "title", "style"})


def tidy(svg: str, *, prefix: str, label: str, inline: bool = False) -> str:
    """A figure of matplotlib's: the same bytes every time, without its metadata, to scale with the page.

    Args:
        svg: what matplotlib wrote.
        prefix: of the ids, so that several figures fit on one page.
        label: what is to be seen, for those who cannot.
        inline: for HTML: colours become the page's, and nothing names a namespace.
    """
    root = ET.fromstring(svg)
    while _strip(root):  # an emptied group leaves its parent empty
        pass
    ids = {each.get("id"): f"{prefix}{number}" for number, each in enumerate(e for e in root.iter() if e.get("id"))}
    used = set()
    for each in root.iter():
        for name, value in list(each.attrib.items()):
            changed = re.sub(r"#([\w.-]+)", lambda m: f"#{ids[m[1]]}" if m[1] in ids else m[0], value)
            if changed != value:
                used.update(re.findall(r"#([\w.-]+)", changed))
            each.set(name, changed)
    for each in root.iter():
        if (old := each.attrib.pop("id", None)) is not None and ids[old] in used:
            each.set("id", ids[old])
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("stroke-linejoin", "round")
    root.set("role", "img")
    root.set("aria-label", label)
    if not inline:
        root.set("xmlns", "http://www.w3.org/2000/svg")
        return ET.tostring(root, encoding="unicode", short_empty_elements=True)
    written = ET.tostring(root, encoding="unicode", short_empty_elements=False)
    return re.sub(r"#[0-9a-f]{6}\b", lambda m: f"var({NAMES[m[0]]})" if m[0] in NAMES else m[0], written)


def _strip(element: ET.Element) -> bool:
    """Removes namespaces (the root says which it is), blanks, and what nobody sees; whether there was any of that."""
    element.tag = element.tag.rpartition("}")[2]
    element.attrib = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
    element.text = element.tail = None
    if "d" in element.attrib:
        element.attrib["d"] = re.sub(r"(\.\d\d)\d+", r"\1", " ".join(element.attrib["d"].split()))
    removed = False
    for child in list(element):
        removed |= _strip(child)
        if child.tag in _DROPPED or (child.tag in ("g", "defs") and not len(child)):
            element.remove(child)
            removed = True
    return removed


def picture(body: str, width: float, height: float, label: str, *, stretch: bool = False) -> str:
    """A figure for the page.

    Args:
        body: elements.
        width: of its own units.
        height: of its own units.
        label: what is to be seen, for those who cannot.
        stretch: to whatever width there is, at this height.
    """
    how = f' preserveAspectRatio="none" style="height:{height:g}px"' if stretch else ""
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}"{how}>{body}</svg>'


def box(x: float, y: float, width: float, height: float, *, fill: str, radius: float = 0, title: str = "") -> str:
    """A rectangle.

    Args:
        x: of its left side.
        y: of its upper side.
        width: of it.
        height: of it.
        fill: a class of the page.
        radius: of its corners.
        title: shown when it is pointed at.
    """
    size = f'x="{x:.2f}" y="{y:.2f}" width="{max(width, 0):.2f}" height="{height:.2f}"'
    rounded = f' rx="{radius:g}"' if radius else ""
    inside = f"<title>{escape(title)}</title>" if title else ""
    return f'<rect class="{fill}" {size}{rounded}>{inside}</rect>'


def words(x: float, y: float, content: str, *, style: str = "", anchor: str = "start") -> str:
    """A line of text.

    Args:
        x: of its anchor.
        y: of its base line.
        content: of it.
        style: classes of the page.
        anchor: "start", "middle" or "end".
    """
    return f'<text class="{style}" x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}">{escape(content)}</text>'
