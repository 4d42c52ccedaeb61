"""Counts of models as the package builds them; no image runs through one."""

import functools
from collections.abc import Callable
from typing import Any

from benchmarks.papers.rows import Counts

Size = tuple[int, int]


@functools.cache
def _counted(name: str, size: Size, backbone: bool, options: tuple[tuple[str, Any], ...]) -> Counts:
    import keras

    from keras_effvit.models import count_macs, create_backbone, create_model, model_info
    from keras_effvit.models.registry import count_params

    if not backbone and not options and size == (224, 224):
        info = model_info(name)
        return Counts(info.params, info.macs)
    shape = (*size, 3)
    if backbone:
        model = create_backbone(name, shape, **dict(options))
    else:
        model = create_model(name, input_shape=shape, **dict(options))
    counts = Counts(count_params(model.trainable_weights), count_macs(model))
    keras.backend.clear_session()
    return counts


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
