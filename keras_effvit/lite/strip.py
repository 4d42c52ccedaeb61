"""A file as a strip: every operator a bar in the order of execution, coloured by the partition that runs it."""

from pathlib import Path

from keras_effvit.atomic import replacing
from keras_effvit.lite.inspection import Inspection

#: Partitions take these in turn; what runs outside of them is red.
COLOURS = ("#3b7dd8", "#5aa469", "#8e6bbf", "#d98b2b", "#3aa6a6", "#b05f8c")
OUTSIDE, ISLAND, PAPER, INK = "#d03a2f", "#a9c8f0", "#ffffff", "#333333"
WIDTH, BAR, MARGIN, LINE = 1200, 64, 24, 18


def draw_strip(found: Inspection, path: str | Path, title: str = "") -> Path:
    """Draws the strip, with a legend, as a PNG file.

    Args:
        found: of `inspect`.
        path: of the picture.
        title: written above.

    Returns:
        The path.
    """
    from PIL import Image, ImageDraw

    legend = _legend(found)
    image = Image.new("RGB", (WIDTH, 2 * MARGIN + 2 * LINE + BAR + LINE * (len(legend) + 1)), PAPER)
    pen = ImageDraw.Draw(image)
    pen.text((MARGIN, MARGIN), title or f"{len(found.operators)} operators", fill=INK)
    top = MARGIN + 2 * LINE
    islands = {operator.index for operator in found.islands}
    step = (WIDTH - 2 * MARGIN) / max(len(found.operators), 1)
    for operator in found.operators:
        left = MARGIN + step * operator.index
        colour = OUTSIDE if operator.partition is None else COLOURS[operator.partition % len(COLOURS)]
        pen.rectangle((left, top, max(left + step - 0.5, left), top + BAR), fill=colour)
        if operator.index in islands and operator.partition is not None:
            pen.rectangle((left, top + BAR * 3 // 4, max(left + step - 0.5, left), top + BAR), fill=ISLAND)
    for number, (colour, text) in enumerate(legend):
        y = top + BAR + LINE * (number + 1)
        pen.rectangle((MARGIN, y + 3, MARGIN + 10, y + 13), fill=colour)
        pen.text((MARGIN + 18, y), text, fill=INK)
    path = Path(path)
    with replacing(path) as temporary:
        image.save(temporary, "PNG")
    return path


def _legend(found: Inspection) -> list[tuple[str, str]]:
    lines = []
    for partition in range(found.partitions):
        count = sum(operator.partition == partition for operator in found.operators)
        lines.append((COLOURS[partition % len(COLOURS)], f"XNNPACK partition {partition + 1}: {count} operators"))
    if found.islands:
        lines.append((ISLAND, f"of these in float: {len(found.islands)} operators"))
    names = sorted({operator.name for operator in found.outside})
    if names:
        lines.append((OUTSIDE, f"outside: {len(found.outside)} operators ({', '.join(names)[:120]})"))
    return lines[:12]
