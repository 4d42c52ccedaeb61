"""Necks: from a backbone's maps to a pyramid of maps with the same channels.

Legend: levels are named by their stride, `"P2"` is 4 and `"P7"` 128; layers are numbered from the finest level, 1.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import keras

from keras_effvit.layers.conv import PaddedConv2D
from keras_effvit.layers.doubling_conv import DoublingConv2D
from keras_effvit.layers.resizing import NearestDoubling, Subsampling

#: Where levels beyond the backbone's come from: every second pixel of the last level, or strided convolutions, of which
#: the first sees the backbone's last map.
Extra = Literal["pool", "on_input"]
CHANNELS = 256

Maps = dict[str, Any]


def feature_pyramid(
    maps: Mapping[str, Any],
    channels: int = CHANNELS,
    *,
    extra: Extra = "pool",
    extra_levels: int = 0,
    name: str = "neck",
) -> Maps:
    """A feature pyramid network (Lin et al. 2017), without normalisations and activations.

    Every map is brought to the same channels and gets what the coarser levels know, doubled by repeating pixels; a
    convolution then makes the level of it.

    Args:
        maps: by level, from fine to coarse, each half as large as the one before.
        channels: of every level.
        extra: what coarser levels are made of.
        extra_levels: how many of them.
        name: what the layers' names begin with.

    Returns:
        The levels, from fine to coarse.

    Raises:
        ValueError: if `extra` is unknown, or the maps do not follow on each other.

    Example:
        >>> maps = create_backbone("sepvit_tiny", (512, 512, 3), dense=True).output
        >>> {level: map.shape[1:] for level, map in feature_pyramid(maps, extra_levels=1).items()}
        {'P2': (128, 128, 256), 'P3': (64, 64, 256), 'P4': (32, 32, 256), 'P5': (16, 16, 256), 'P6': (8, 8, 256)}
    """
    if extra not in get_args(Extra):
        raise ValueError(f"`extra` must be one of {get_args(Extra)}. Received: extra={extra!r}")
    merged = top_down(maps, channels, name)
    pyramid = {
        level: PaddedConv2D(channels, 3, name=f"{name}_out{number}")(x)
        for number, (level, x) in enumerate(merged.items(), start=1)
    }
    x = list(maps.values())[-1] if extra == "on_input" else list(pyramid.values())[-1]
    for _ in range(extra_levels):
        level = f"P{int(list(pyramid)[-1][1:]) + 1}"
        if extra == "on_input":
            x = PaddedConv2D(channels, 3, strides=2, name=f"{name}_out{len(pyramid) + 1}")(x)
        else:
            x = Subsampling(name=f"{name}_{level}")(x)
        pyramid[level] = x
    return pyramid


def three_stage_pyramid(maps: Mapping[str, Any], channels: int = CHANNELS, *, name: str = "neck") -> Maps:
    """LightViT's feature pyramid: a level of stride 4 for a backbone that has none, and one of stride 64.

    The finest merged map is doubled by a transposed convolution before it gets a convolution of its own.

    Args:
        maps: `"P3"` to `"P5"`.
        channels: of every level.
        name: what the layers' names begin with.

    Returns:
        `"P2"` to `"P6"`.

    Raises:
        ValueError: for other levels.

    Example:
        >>> maps = create_backbone("lightvit_tiny", (512, 512, 3), dense=True).output
        >>> list(three_stage_pyramid(maps))
        ['P2', 'P3', 'P4', 'P5', 'P6']
    """
    if list(maps) != ["P3", "P4", "P5"]:
        raise ValueError(f'Expected maps "P3", "P4" and "P5". Received: {list(maps)}')
    merged = top_down(maps, channels, name)
    doubled = DoublingConv2D(channels, name=f"{name}_up")(merged["P3"])
    pyramid = {"P2": PaddedConv2D(channels, 3, name=f"{name}_up_out")(doubled)}
    for number, (level, x) in enumerate(merged.items(), start=1):
        pyramid[level] = PaddedConv2D(channels, 3, name=f"{name}_out{number}")(x)
    pyramid["P6"] = Subsampling(name=f"{name}_P6")(pyramid["P5"])
    return pyramid


def top_down(maps: Mapping[str, Any], channels: int, name: str) -> Maps:
    """Every map at the same channels, with the coarser ones added.

    Args:
        maps: by level, from fine to coarse.
        channels: of the result.
        name: what the layers' names begin with.

    Raises:
        ValueError: if the maps do not follow on each other.
    """
    numbers = [int(level[1:]) for level in maps]
    if not numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise ValueError(f"Expected maps of consecutive levels, from fine to coarse. Received: {list(maps)}")
    laterals = [
        PaddedConv2D(channels, 1, name=f"{name}_lateral{number}")(x) for number, x in enumerate(maps.values(), start=1)
    ]
    merged = laterals[-1:]
    for number in reversed(range(1, len(laterals))):
        finer = laterals[number - 1]
        coarser = NearestDoubling(name=f"{name}_doubling{number}")(merged[0], finer)
        merged.insert(0, keras.layers.Add(name=f"{name}_add{number}")([finer, coarser]))
    return dict(zip(maps, merged, strict=True))
