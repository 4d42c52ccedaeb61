"""Counts of models as the package builds them; no image runs through one."""

import functools
from collections.abc import Callable
from typing import Any

from benchmarks.papers.rows import Counts

Size = tuple[int, int]
Options = tuple[tuple[str, Any], ...]


@functools.lru_cache(maxsize=4)
def _built(name: str, size: Size | None, backbone: bool, options: Options) -> Any:
    """A model, of any size where `size` is not given; the last few stay, because rows that follow are of the same."""
    from keras_effvit.models import create_backbone, create_model

    height, width = size or (None, None)
    shape = (height, width, 3)
    if backbone:
        return create_backbone(name, shape, **dict(options))
    return create_model(name, input_shape=shape, **dict(options))


def _takes_any_size(name: str) -> bool:
    from keras_effvit.models.registry import families, models_of

    return next(family.any_size for key, family in families().items() if name in models_of(key))


@functools.cache
def _counted(name: str, size: Size, backbone: bool, options: Options) -> Counts:
    from keras_effvit.models import count_macs
    from keras_effvit.models.registry import count_params

    model = _built(name, None if _takes_any_size(name) else size, backbone, options)
    return Counts(count_params(model.trainable_weights), count_macs(model, (*size, 3)))


def classifier(name: str, size: Size = (224, 224), **options: Any) -> Callable[[], Counts]:
    """Counts a model of the zoo with its head."""
    return lambda: _counted(name, size, False, tuple(options.items()))


def backbone(name: str, size: Size = (224, 224), **options: Any) -> Callable[[], Counts]:
    """Counts a pyramid of the zoo; `dense=True` is the authors' for segmentation and detection."""
    return lambda: _counted(name, size, True, tuple(options.items()))


def block(shape: tuple[int, int, int], *layers: Callable[[], Any]) -> Callable[[], Counts]:
    """Counts layers that take and give the same map."""

    def count() -> Counts:
        import keras

        from keras_effvit.models import count_macs
        from keras_effvit.models.registry import count_params

        model = keras.Sequential([keras.Input(shape), *(layer() for layer in layers)])
        return Counts(count_params(model.trainable_weights), count_macs(model))

    return count


def plus(count: Callable[[], Counts], *parts: Callable[[], Counts] | Counts) -> Callable[[], Counts]:
    """Counts something and adds parts."""

    def total() -> Counts:
        return sum((part if isinstance(part, Counts) else part() for part in parts), start=count())

    return total
