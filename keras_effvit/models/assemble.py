"""The skeleton all models share: input -> encoder -> final map or pyramid -> head, and the constructor's rules."""

from collections.abc import Callable
from typing import Any

import keras

from keras_effvit.layers.drop_path import DropPath
from keras_effvit.models.spec import Encoding, Family, ModelSpec
from keras_effvit.preprocessing import preprocessing_layer

#: The arguments every constructor takes, with their defaults.
DEFAULTS: dict[str, Any] = {
    "include_top": True,
    "weights": None,
    "input_tensor": None,
    "input_shape": None,
    "pooling": None,
    "classes": 1000,
    "classifier_activation": "softmax",
    "drop_path_rate": None,
    "include_preprocessing": False,
    "name": None,
    "accept_license": False,
}
#: The subset of them that makes sense for a pyramid of maps.
BACKBONE_DEFAULTS = {
    key: DEFAULTS[key]
    for key in (
        *("weights", "input_tensor", "input_shape", "drop_path_rate"),
        *("include_preprocessing", "name", "accept_license"),
    )
}
MIN_SIDE = 32


def _no_loader(model: keras.Model, spec: ModelSpec, *, weights: Any, accept_license: bool) -> None:
    raise ValueError(f"`weights` needs `keras_effvit.weights` to be imported. Received: weights={weights!r}")


_loader: Callable[..., None] = _no_loader


def use_weight_loader(loader: Callable[..., None]) -> None:
    """Says what loads weights: `keras_effvit.weights`, which knows the models and is not known to them.

    Args:
        loader: called by every constructor that is given `weights`, as loader(model, spec, weights=, accept_license=).
    """
    global _loader
    _loader = loader


def assemble(family: Family, spec: ModelSpec, **options: Any) -> keras.Model:
    """Builds the classifier, or with `include_top=False` the feature extractor, of a spec.

    Args:
        family: the functions that build the network.
        spec: the variant's row with the family's options applied.
        **options: every key of `DEFAULTS`.

    Raises:
        ValueError: for an option that makes no sense.
    """
    _check_head(options)
    image, encoding = _encode(family, spec, options)
    if options["include_top"]:
        outputs = family.classify(encoding, spec, options["classes"])
        if not isinstance(outputs, dict):
            outputs = _predictions(outputs, options["classifier_activation"])
    else:
        _check_no_box(encoding)
        outputs = _pool(family.finish(encoding, spec), options["pooling"])
    return _finish_model(image, outputs, spec, options)


def assemble_backbone(
    family: Family, spec: ModelSpec, *, levels: tuple[str, ...] | None, **options: Any
) -> keras.Model:
    """Builds a model that gives a dict of the stages' maps.

    Args:
        family: the functions that build the network.
        spec: the variant's row with the family's options applied.
        levels: the maps to return; all when `None`.
        **options: every key of `BACKBONE_DEFAULTS`.

    Raises:
        ValueError: for an option that makes no sense or a level the network does not have.
    """
    image, encoding = _encode(family, spec, options)
    _check_no_box(encoding)
    available = list(encoding.maps)
    chosen = available if levels is None else list(levels)
    if not chosen or not set(chosen) <= set(available):
        raise ValueError(f"`levels` must be taken from {available}. Received: levels={levels}")
    outputs = {level: encoding.maps[level] for level in chosen}
    return _finish_model(image, outputs, spec, options)


def _check_head(options: dict[str, Any]) -> None:
    classes, pooling = options["classes"], options["pooling"]
    if options["include_top"] and (not isinstance(classes, int) or classes < 1):
        raise ValueError(f"`classes` must be a positive integer. Received: classes={classes!r}")
    if pooling not in (None, "avg", "max"):
        raise ValueError(f'`pooling` must be None, "avg" or "max". Received: pooling={pooling!r}')


def _check_no_box(encoding: Encoding) -> None:
    if encoding.box is not None:
        raise ValueError("`training_outputs=True` needs the head, which tells the box. Received: a model without it")


def _encode(family: Family, spec: ModelSpec, options: dict[str, Any]) -> tuple[Any, Encoding]:
    image = _image(family, spec, options["input_shape"], options["input_tensor"])
    rate = spec.drop_path if options["drop_path_rate"] is None else options["drop_path_rate"]
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"`drop_path_rate` must be in [0, 1). Received: drop_path_rate={rate}")
    x = image
    if options["include_preprocessing"]:
        if image.shape[-1] != 3:
            raise ValueError(f"`include_preprocessing` needs 3 channels. Received: input_shape={image.shape[1:]}")
        x = preprocessing_layer()(x)
    return image, family.encode(x, spec, rate)


def _image(family: Family, spec: ModelSpec, input_shape: Any, input_tensor: Any) -> Any:
    if input_tensor is not None:
        shape = tuple(input_tensor.shape[1:])
        if input_shape is not None and tuple(input_shape) != shape:
            raise ValueError(
                f"`input_shape` must agree with `input_tensor`. Received: input_shape={input_shape}, tensor of {shape}"
            )
        _check_shape(family, shape)
        if keras.utils.is_keras_tensor(input_tensor):
            return input_tensor
        return keras.Input(tensor=input_tensor, name="image")
    size = spec.evaluation.size
    shape = (size, size, 3) if input_shape is None else tuple(input_shape)
    _check_shape(family, shape)
    return keras.Input(shape, name="image")


def _check_shape(family: Family, shape: tuple[int | None, ...]) -> None:
    if len(shape) != 3 or shape[-1] is None or shape[-1] < 1:
        raise ValueError(f"`input_shape` must be (height, width, channels). Received: input_shape={shape}")
    sides = [side for side in shape[:2] if side is not None]
    if any(side < MIN_SIDE for side in sides):
        raise ValueError(f"`input_shape` must be at least {MIN_SIDE}x{MIN_SIDE}. Received: input_shape={shape}")
    if len(sides) < 2 and not family.any_size:
        raise ValueError(
            f"{family.name} needs a fixed height and width, because its window grid follows them. "
            f"Received: input_shape={shape}"
        )


def _predictions(logits: Any, activation: Any) -> Any:
    if activation is None or keras.activations.get(activation) is keras.activations.linear:
        return logits
    # float32 whatever the policy: probabilities in half precision lose the tail.
    return keras.layers.Activation(activation, dtype="float32", name="predictions")(logits)


def _pool(x: Any, pooling: str | None) -> Any:
    if pooling == "avg":
        return keras.layers.GlobalAveragePooling2D("channels_last", name="avg_pool")(x)
    if pooling == "max":
        return keras.layers.GlobalMaxPooling2D("channels_last", name="max_pool")(x)
    return x


def _finish_model(image: Any, outputs: Any, spec: ModelSpec, options: dict[str, Any]) -> keras.Model:
    inputs = keras.utils.get_source_inputs(image)
    model = keras.Model(inputs[0] if len(inputs) == 1 else inputs, outputs, name=options["name"] or spec.id)
    if options["weights"] is not None:
        _loader(model, spec, weights=options["weights"], accept_license=options["accept_license"])
    return model


def residual(x: Any, branch: Any, rate: float, name: str) -> Any:
    """`x + DropPath(branch)` as named layers; the drop is left out where it never happens."""
    if rate > 0.0:
        branch = DropPath(rate, name=f"{name}_drop")(branch)
    return keras.layers.Add(name=f"{name}_add")([x, branch])
