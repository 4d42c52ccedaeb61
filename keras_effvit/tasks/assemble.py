"""What all dense models share: a backbone by name or as a model, its maps into a head, the head's maps out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from keras_effvit.layers.resizing import ResizeLike
from keras_effvit.models import create_backbone
from keras_effvit.weights import load_weights

#: (height, width, channels)
Shape = tuple[int | None, int | None, int]
#: What segmenters are trained on.
DEFAULT_SHAPE = (512, 512, 3)


@dataclass(frozen=True)
class Pyramid:
    """A backbone's maps in a graph, and the image they are of.

    Attributes:
        image: the graph's input.
        maps: by level, from fine to coarse.
        backbone: the backbone's name.
    """

    image: Any
    maps: dict[str, Any]
    backbone: str


def pyramid_of(
    backbone: str | keras.Model,
    levels: Sequence[str] | None = None,
    *,
    input_shape: Shape | None = None,
    **options: Any,
) -> Pyramid:
    """The maps of a backbone.

    Args:
        backbone: a name of `list_models()`, which is built as its authors do for dense tasks; or a model of
            `create_backbone`, with weights or without, whose layers become the dense model's.
        levels: which maps; all that it has by default.
        input_shape: (height, width, channels), of a backbone that is given by name; 512 x 512 x 3 by default.
        **options: what `create_backbone` takes, of a backbone that is given by name.

    Raises:
        ValueError: if a level is missing, or a model comes with options.

    Example:
        >>> list(pyramid_of("lvt", ("P3", "P4"), input_shape=(512, 512, 3), recursion=3).maps)
        ['P3', 'P4']
    """
    if isinstance(backbone, str):
        chosen = None if levels is None else tuple(levels)
        model = create_backbone(backbone, input_shape or DEFAULT_SHAPE, chosen, dense=True, **options)
    else:
        given = sorted([*options, *(["input_shape"] if input_shape is not None else [])])
        if given:
            raise ValueError(f"A backbone that is built already has its options. Received: {given}")
        model = backbone
    maps = None if isinstance(model, keras.Sequential) else model.output  # which knows no output of its own
    if not isinstance(maps, dict) or not set(levels or ()) <= set(maps):
        wanted = "a dict of maps" if levels is None else f"the maps {list(levels)}"
        received = list(maps) if isinstance(maps, dict) else f"a {type(model).__name__}, {model.name}"
        raise ValueError(f"`backbone` must be a model of `create_backbone` with {wanted}. Received: {received}")
    return Pyramid(model.inputs[0], {level: maps[level] for level in levels or maps}, model.name)


def finish_model(pyramid: Pyramid, outputs: Any, *, name: str, weights: str | Path | None = None) -> keras.Model:
    """The dense model, with weights where a file is given.

    Args:
        pyramid: its backbone.
        outputs: of its head, a tensor or a dict of tensors.
        name: of the model.
        weights: a file that `load_weights` reads; `None` for initial values.

    Raises:
        ValueError: if the file does not fit.
    """
    if weights == "official":
        raise ValueError(
            'Official weights are those of a paper\'s model: `create_task(name, weights="official")`. '
            'Received: weights="official"'
        )
    model = keras.Model(pyramid.image, outputs, name=name)
    if weights is not None:
        load_weights(model, weights)
    return model


def check_classes(classes: int) -> None:
    """Raises ValueError unless there is a positive number of classes."""
    if not isinstance(classes, int) or classes < 1:
        raise ValueError(f"`classes` must be a positive integer. Received: classes={classes!r}")


def image_sized(x: Any, image: Any, name: str) -> Any:
    """A map of numbers for every pixel of the image, bilinear, in float32 whatever the policy.

    Args:
        x: a map of the graph.
        image: the graph's input.
        name: of the layer.
    """
    return ResizeLike(dtype="float32", name=name)(x, image)
