"""What every variant's row and every family have in common."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, ClassVar, Literal, TypedDict

import numpy as np

from keras_effvit.preprocessing import Evaluation

Pooling = Literal["avg", "max"] | None


class ModelOptions(TypedDict, total=False):
    """The constructor vocabulary every model shares; the families add a few options of their own."""

    include_top: bool
    weights: str | PathLike[str] | None
    input_tensor: Any
    input_shape: tuple[int | None, int | None, int] | None
    pooling: Pooling
    classes: int
    classifier_activation: Any
    drop_path_rate: float | None
    include_preprocessing: bool
    name: str | None
    accept_license: bool


@dataclass(frozen=True)
class PaperFigures:
    """What the paper prints for a variant: parameters in millions, MACs in billions, ImageNet top-1 in percent."""

    params_m: float | None
    gmacs: float | None
    top1: float | None


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One row of a family's table of variants.

    The subclasses add the paper's columns. A field named in `OPTIONS` is an option of the family's constructors;
    `__post_init__` is where a subclass refuses values that make no sense.
    """

    OPTIONS: ClassVar[tuple[str, ...]] = ()

    id: str
    drop_path: float
    paper: PaperFigures
    evaluation: Evaluation
    dense: bool = False


@dataclass(frozen=True)
class Encoding:
    """What a family's encoder gives: the stages' maps, and what else its head needs."""

    maps: Mapping[str, Any]
    tokens: Any = None
    box: Any = None


@dataclass(frozen=True)
class Family:
    """The three functions that make a model of a family, and its facts.

    Attributes:
        encode: image, spec, drop path rate -> Encoding.
        finish: Encoding, spec -> the final map, which `include_top=False` returns and pooling summarises.
        classify: Encoding, spec, classes -> logits, or a dict of training outputs.
        any_size: whether the network can be built for an unknown height and width.
    """

    name: str
    title: str
    citation: str
    licence: str
    encode: Callable[[Any, Any, float], Encoding]
    finish: Callable[[Encoding, Any], Any]
    classify: Callable[[Encoding, Any, int], Any]
    any_size: bool = True


def drop_path_rates(rate: float, depths: tuple[int, ...]) -> list[list[float]]:
    """Rates that rise linearly from 0 at the first block to `rate` at the last, a list for every stage."""
    rates = iter(np.linspace(0.0, rate, sum(depths)).tolist())
    return [[next(rates) for _ in range(depth)] for depth in depths]
