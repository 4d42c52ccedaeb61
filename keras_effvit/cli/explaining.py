"""`explain`: pictures of why a model decides."""

import argparse
import sys
from pathlib import Path

import keras
import numpy as np

from keras_effvit import explain
from keras_effvit.lite.tables import columns
from keras_effvit.models import create_model
from keras_effvit.samples import sample_image

#: Channels that Score-CAM tries unless told otherwise: all of a final map's would take hundreds of runs.
CHANNELS = 64


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Adds this file's commands.

    Args:
        commands: of the program.
    """
    command = commands.add_parser("explain", help="a picture of what in an image speaks for a class, or of attention")
    command.add_argument("model", help="a name that `list` prints, or a .keras file")
    command.add_argument("image", nargs="?", help="an image file; a drawn landscape by default")
    command.add_argument("-o", "--output", required=True, help="the PNG file to write")
    command.add_argument(
        "--method", default="gradcam", choices=(*explain.METHODS, "all"), help="how heat is found (gradcam)"
    )
    command.add_argument("--target", type=int, action="append", help="number of a class; the most probable by default")
    command.add_argument("--layer", help="whose map is asked; the last block's by default")
    command.add_argument("--channels", type=int, help=f"of the map that Score-CAM tries ({CHANNELS})")
    command.add_argument(
        "--attention",
        nargs="?",
        const="",
        metavar="LAYER",
        help="draw attention instead: of a layer such as stage3_block1_attn, or the last of every kind",
    )
    command.add_argument("--labels", help="a text file with a class on every line")
    command.add_argument("--weights", help='"official", or the path of a file of weights')
    command.add_argument("--accept-license", action="store_true", help="of official weights that are not free")
    command.add_argument("--classes", type=int, default=1000)
    command.add_argument("--size", type=int, help="side of the images, 224 by default")
    command.add_argument("--include-preprocessing", action="store_true", help="take pixels in [0, 255]")
    command.set_defaults(command=_explain)


def _explain(options: argparse.Namespace) -> str:
    image = _image(options)
    model = _model(options)
    draw = _heat if options.attention is None else _attention
    figure, lines = draw(options, model, image)
    path = explain.save(figure, options.output)
    return "\n".join([*lines, f"written to {path}"])


def _image(options: argparse.Namespace) -> np.ndarray | Path:
    if options.image is None:
        return sample_image()
    if not Path(options.image).is_file():
        raise ValueError(f"Expected an image file. Received: {options.image}")
    return Path(options.image)


def _model(options: argparse.Namespace) -> keras.Model:
    if options.model.endswith(".keras"):
        return keras.models.load_model(options.model, compile=False)
    if options.weights is None:
        print("keras-effvit: initial weights, which know nothing; --weights gives them a file", file=sys.stderr)
    return create_model(
        options.model,
        weights=options.weights,
        input_shape=(options.size, options.size, 3) if options.size else None,
        classes=options.classes,
        include_preprocessing=options.include_preprocessing,
        accept_license=options.accept_license,
    )


def _heat(options: argparse.Namespace, model: keras.Model, image: np.ndarray | Path) -> tuple:
    methods = explain.METHODS if options.method == "all" else (options.method,)
    rows = [
        [
            explain.heatmap(
                model,
                image,
                method,
                target=target,
                layer=None if method in explain.OF_PIXELS else options.layer,
                channels=options.channels or CHANNELS,
            )
            for method in methods
        ]
        for target in options.target or [None]
    ]
    classes = Path(options.labels).read_text().splitlines() if options.labels else None
    lines = [("class", "probability", "method", "layer")]
    lines += [
        (str(found.target), f"{found.probability:.1%}", found.method, found.layer or "-")
        for row in rows
        for found in row
    ]
    return explain.draw_heatmaps(rows, classes=classes), columns(lines)


def _attention(options: argparse.Namespace, model: keras.Model, image: np.ndarray | Path) -> tuple:
    maps = explain.attention(model, image, f"{options.attention}/*" if options.attention else "*")
    chosen = list(maps.values()) if options.attention else explain.last_of_every_kind(maps)
    lines = [("layer", "kind", "weights")]
    for each in chosen:
        sizes = " x ".join(f"{size} {axis}" for size, axis in zip(each.weights.shape, each.axes, strict=True))
        lines.append((each.layer, each.kind, sizes))
    return explain.draw_attention(chosen), columns(lines)
