"""The catalogue: which models there are, how to create one by name, what is known about it."""

import fnmatch
import functools
import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras

from keras_effvit.models.assemble import BACKBONE_DEFAULTS, DEFAULTS, assemble, assemble_backbone
from keras_effvit.models.macs import count_macs
from keras_effvit.models.spec import Family, ModelSpec, PaperFigures
from keras_effvit.preprocessing import Evaluation


@dataclass(frozen=True)
class Variant:
    """A row of a family's table under the name users call it by."""

    title: str
    family: Family
    spec: ModelSpec

    @property
    def options(self) -> dict[str, Any]:
        """The family's own options with their defaults for this variant."""
        return {name: getattr(self.spec, name) for name in self.spec.OPTIONS}

    def configure(self, options: dict[str, Any], defaults: dict[str, Any]) -> tuple[ModelSpec, dict[str, Any]]:
        """Splits `options` into a spec that carries the family's and the rest over `defaults`."""
        valid = [*defaults, *self.spec.OPTIONS]
        unexpected = sorted(set(options) - set(valid))
        if unexpected:
            raise ValueError(f"{self.title}() got unexpected argument(s) {unexpected}; valid: {valid}")
        own = {name: value for name, value in options.items() if name in self.spec.OPTIONS}
        shared = {name: value for name, value in options.items() if name not in own}
        return replace(self.spec, **own), {**defaults, **shared}

    def create(self, options: dict[str, Any]) -> keras.Model:
        """The model with these options."""
        row, shared = self.configure(options, DEFAULTS)
        return assemble(self.family, row, **shared)


@dataclass(frozen=True)
class ModelInfo:
    """What is known about a model.

    Attributes:
        name: the registry's id.
        title: the constructor's name.
        family: the paper's short name.
        params: trainable parameters, which is what the papers count.
        non_trainable_params: moving averages of batch normalisation, which the papers leave out.
        macs: multiply-accumulates of one image of `input_shape`, counted in the built graph.
        input_shape: (height, width, channels) the counts are for.
        paper: the paper's own figures.
        licence: licence of the official weights.
        citation: the paper.
        options: the family's options and their defaults.
    """

    name: str
    title: str
    family: str
    params: int
    non_trainable_params: int
    macs: int
    input_shape: tuple[int, int, int]
    paper: PaperFigures
    licence: str
    citation: str
    options: dict[str, Any]


_variants: dict[str, Variant] = {}


def variant(family: Family, spec: ModelSpec) -> Callable[[Callable], Callable[..., keras.Model]]:
    """Registers a row of a family's table; the function it decorates lends its name and its type, no body.

    Args:
        family: the functions that build the model.
        spec: the row.
    """

    def decorate(function: Callable) -> Callable[..., keras.Model]:
        entry = Variant(function.__name__, family, spec)
        _variants[spec.id] = entry

        @functools.wraps(function)
        def constructor(**options: Any) -> keras.Model:
            return entry.create(options)

        arguments = {**DEFAULTS, **entry.options}
        constructor.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY, default=v) for k, v in arguments.items()],
            return_annotation=keras.Model,
        )
        constructor.__doc__ = _document(entry)
        return constructor

    return decorate


def _document(entry: Variant) -> str:
    paper = entry.spec.paper
    figures = [
        None if paper.params_m is None else f"{paper.params_m} M parameters",
        None if paper.gmacs is None else f"{paper.gmacs} G MACs",
        None if paper.top1 is None else f"{paper.top1} % top-1 on ImageNet",
    ]
    printed = ", ".join(filter(None, figures)) or "no figures"
    own = "\n".join(f"    {name}: default {value!r}." for name, value in entry.options.items())
    return f"""{entry.title} of {entry.family.title}. The paper prints {printed}.

Args:
    include_top: whether the classification head is built.
    weights: `None` for initial values, `"official"` for the authors' own, which are downloaded once, or the path
        of a checkpoint: `.pth`, `.pt`, `.ckpt`, `.bin`, `.safetensors`, `.npz`, `.keras` or `.weights.h5`.
    input_tensor: a Keras tensor to build on, instead of an input of its own.
    input_shape: (height, width, channels), both sides at least 32; 224 x 224 x 3 by default.
    pooling: without the head, `None` for the final map, `"avg"` or `"max"` for its summary.
    classes: number of classes.
    classifier_activation: activation of the head; `None` for logits.
    drop_path_rate: stochastic depth of the last block while training; by default the paper's, {entry.spec.drop_path}.
    include_preprocessing: take pixels in [0, 255], uint8 or float, and scale them inside the model.
    name: the model's name.
    accept_license: that you keep to the licence of official weights that are not free for every use.
{own}

Returns:
    A `keras.Model`.

Raises:
    ValueError: for an argument that makes no sense, with what was expected.

Reference:
    {entry.family.citation}

Example:
    >>> model = keras_effvit.{entry.title}()
    >>> model(numpy.zeros((1, 224, 224, 3))).shape
    (1, 1000)
"""


def _find(name: str) -> Variant:
    if name not in _variants:
        raise ValueError(f"Unknown model. Expected one of {list_models()}. Received: {name!r}")
    return _variants[name]


def list_models(pattern: str = "*") -> list[str]:
    """Names of the models that match a shell pattern.

    Args:
        pattern: such as `"sepvit*"`.

    Example:
        >>> list_models("sepvit*")
        ['sepvit_lite', 'sepvit_tiny', 'sepvit_small', 'sepvit_base']
    """
    return [name for name in _variants if re.match(fnmatch.translate(pattern), name)]


def families() -> dict[str, Family]:
    """The families of models by name."""
    return {entry.family.name: entry.family for entry in _variants.values()}


def models_of(family: str) -> list[str]:
    """Names of a family's models."""
    return [name for name, entry in _variants.items() if entry.family.name == family]


def create_model(name: str, /, **options: Any) -> keras.Model:
    """Creates a model by its name in the registry.

    Args:
        name: one of `list_models()`.
        **options: what the model's constructor takes.

    Raises:
        ValueError: for an unknown name or option.

    Example:
        >>> create_model("sepvit_lite", classes=10).output_shape
        (None, 10)
    """
    return _find(name).create(options)


def create_backbone(
    name: str,
    /,
    input_shape: tuple[int | None, int | None, int] | None = None,
    levels: tuple[str, ...] | None = None,
    *,
    dense: bool = False,
    **options: Any,
) -> keras.Model:
    """Creates a feature pyramid: a model that gives a dict of the stages' maps.

    Args:
        name: one of `list_models()`.
        input_shape: (height, width, channels), both sides at least 32; 224 x 224 x 3 by default.
        levels: which maps, out of `"P2"` (stride 4) to `"P5"` (stride 32); all that the model has by default.
        dense: the variant the authors use for segmentation and detection, where it differs (SepViT, LightViT).
        **options: `input_tensor`, `weights`, `drop_path_rate`, `include_preprocessing`, `name`, `accept_license` and
            the family's own.

    Raises:
        ValueError: for an unknown name, option or level.

    Example:
        >>> pyramid = create_backbone("lightvit_tiny", (256, 320, 3), levels=("P3", "P5"))
        >>> {level: map.shape[1:] for level, map in pyramid(numpy.zeros((1, 256, 320, 3))).items()}
        {'P3': (32, 40, 64), 'P5': (8, 10, 256)}
    """
    entry = _find(name)
    row, shared = entry.configure({**options, "input_shape": input_shape}, BACKBONE_DEFAULTS)
    return assemble_backbone(entry.family, replace(row, dense=dense), levels=levels, **shared)


@functools.cache
def model_info(name: str) -> ModelInfo:
    """Facts about a model, with parameters and MACs counted in the model as built.

    Args:
        name: one of `list_models()`.

    Example:
        >>> model_info("sepvit_lite").params
        3661128
    """
    entry = _find(name)
    model = entry.create({})
    return ModelInfo(
        name=name,
        title=entry.title,
        family=entry.family.name,
        params=count_params(model.trainable_weights),
        non_trainable_params=count_params(model.non_trainable_weights),
        macs=count_macs(model),
        input_shape=model.input_shape[1:],
        paper=entry.spec.paper,
        licence=entry.family.licence,
        citation=entry.family.citation,
        options=entry.options,
    )


def evaluation_of(name: str, size: int | None = None) -> Evaluation:
    """How a model's authors prepare images for evaluation.

    Args:
        name: one of `list_models()`.
        size: side of the model's input; the authors' if not given. For another one, the resize before the crop keeps
            its ratio to it.

    Raises:
        ValueError: for an unknown name, or a size that is not positive.

    Example:
        >>> evaluation_of("lvt"), evaluation_of("lvt", 64).resize
        (Evaluation(size=224, resize=233, interpolation='bicubic'), 67)
    """
    authors = _find(name).spec.evaluation
    if size is None or size == authors.size:
        return authors
    if size < 1:
        raise ValueError(f"`size` must be positive. Received: size={size}")
    return replace(authors, size=size, resize=round(size * authors.resize / authors.size))


def count_params(variables) -> int:
    """Number of values in `variables`."""
    return sum(math.prod(variable.shape) for variable in variables)
