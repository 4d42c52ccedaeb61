"""What all segmenters share: from a head's maps to logits, for every pixel or at the head's own stride."""

from pathlib import Path
from typing import Any

import keras

from keras_effvit.layers.conv import ConvNormAct, PaddedConv2D
from keras_effvit.layers.initializers import conv_fan_out
from keras_effvit.tasks.assemble import Pyramid, finish_model, image_sized

#: Of whole channels, before the classifier.
DROPOUT = 0.1


def unit(filters: int, kernel_size: int, name: str) -> ConvNormAct:
    """Convolution, batch normalisation and ReLU, as the heads of OpenMMLab have them."""
    return ConvNormAct(filters, kernel_size, activation="relu", kernel_initializer=conv_fan_out(), name=name)


def classifier(x: Any, classes: int, name: str = "classifier", *, dropout: float = DROPOUT) -> Any:
    """Logits of a map, channels dropped before while training."""
    if dropout > 0.0:
        x = keras.layers.SpatialDropout2D(dropout, data_format="channels_last", name=f"{name}_dropout")(x)
    start = keras.initializers.RandomNormal(stddev=0.01)
    # float32 whatever the policy, as the classification heads are.
    return PaddedConv2D(classes, 1, kernel_initializer=start, dtype="float32", name=name)(x)


def finish_segmenter(
    pyramid: Pyramid,
    logits: Any,
    auxiliary: Any = None,
    *,
    resize: bool,
    name: str,
    weights: str | Path | None,
) -> keras.Model:
    """The segmenter.

    Args:
        pyramid: its backbone.
        logits: of its head.
        auxiliary: logits of a second head that only training looks at; the output is then a dict of both.
        resize: to the image's size.
        name: of the model.
        weights: as of `finish_model`.
    """
    outputs = {"logits": logits, **({} if auxiliary is None else {"auxiliary": auxiliary})}
    if resize:
        outputs = {key: image_sized(x, pyramid.image, f"image_{key}") for key, x in outputs.items()}
    return finish_model(pyramid, outputs if len(outputs) > 1 else outputs["logits"], name=name, weights=weights)
