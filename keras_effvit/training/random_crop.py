"""The crop that every ImageNet recipe begins with, which Keras has not."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from keras_effvit.layers.registration import serializable

#: Boxes that are drawn before one is taken from the middle.
TRIES = 10


def crop_box(
    height: Any, width: Any, draws: Any, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """A box somewhere in an image.

    The first of several boxes that fits is taken, their areas uniform in `scale` and the logarithms of their ratios in
    `ratio`. If none does, it is the largest in the middle whose ratio is allowed.

    Args:
        height: of the image.
        width: of the image.
        draws: (4, tries), uniform in [0, 1): areas, ratios; and of each of the last two rows, one place.
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest width over height.

    Returns:
        Top, left, height and width of the box, int32.
    """
    tall, wide = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    area = tall * wide * (scale[0] + (scale[1] - scale[0]) * draws[0])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    shape = tf.exp(low + (high - low) * draws[1])
    widths, heights = tf.round(tf.sqrt(area * shape)), tf.round(tf.sqrt(area / shape))
    fits = (widths >= 1) & (widths <= wide) & (heights >= 1) & (heights <= tall)
    first = tf.argmax(tf.cast(fits, tf.int32))
    middle = _middle_box(tall, wide, ratio)
    chosen = tf.stack([heights[first], widths[first]])
    size = tf.where(tf.reduce_any(fits), chosen, middle)
    room = tf.stack([tall, wide]) - size
    corner = tf.where(tf.reduce_any(fits), tf.floor(draws[2:4, 0] * (room + 1)), tf.floor(room / 2))
    top, left, box_height, box_width = tf.unstack(tf.cast(tf.concat([corner, size], 0), tf.int32))
    return top, left, box_height, box_width


def _middle_box(height: tf.Tensor, width: tf.Tensor, ratio: tuple[float, float]) -> tf.Tensor:
    """Height and width of the largest box with an allowed ratio."""
    wide, tall = tf.minimum(width, tf.round(height * ratio[1])), tf.minimum(height, tf.round(width / ratio[0]))
    return tf.maximum(tf.stack([tall, wide]), 1)


def check_ranges(scale: tuple[float, float], ratio: tuple[float, float]) -> None:
    """Raises ValueError unless both are ranges that boxes can be drawn from.

    Args:
        scale: as of `crop_box`.
        ratio: as of `crop_box`.
    """
    if not 0 < scale[0] <= scale[1] <= 1:
        raise ValueError(f"`scale` must be a range within (0, 1]. Received: scale={scale}")
    if not 0 < ratio[0] <= ratio[1]:
        raise ValueError(f"`ratio` must be a range of positive numbers. Received: ratio={ratio}")


def _pair(numbers: Sequence[float]) -> tuple[float, float]:
    first, second = numbers  # a list, if it comes out of a file
    return first, second


@serializable
class RandomResizedCrop(keras.layers.Layer):
    """Crops a random part of an image and resizes it, smoothly also where it shrinks.

    It takes one image or a batch of one size, in a model as in a `tf.data` pipeline. Without `training` it takes the
    largest box in the middle whose ratio is allowed.

    Args:
        height: of the result.
        width: of the result.
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest width over height of the box.
        interpolation: of the resize.
        value_range: of the pixels; bicubic interpolation overshoots, and is cut to it.
        seed: for the layer's own randomness.

    Raises:
        ValueError: if a size is not positive, or a range no range.

    Example:
        >>> RandomResizedCrop(24, 24, seed=0)(np.zeros((2, 60, 40, 3)), training=True).shape
        TensorShape([2, 24, 24, 3])
    """

    def __init__(
        self,
        height: int,
        width: int,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: Literal["bicubic", "bilinear"] = "bicubic",
        value_range: tuple[float, float] = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if min(height, width) < 1:
            raise ValueError(f"`height` and `width` must be positive. Received: height={height}, width={width}")
        check_ranges(scale, ratio)
        self.height, self.width = height, width
        self.scale, self.ratio, self.value_range = _pair(scale), _pair(ratio), _pair(value_range)
        self.interpolation = interpolation
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def get_random_transformation(self, data: Any, training: bool = True, seed: Any = None) -> Any:
        """What is drawn for images: numbers that `transform_images` makes boxes of, or nothing without training.

        Args:
            data: an image or a batch.
            training: whether to draw.
            seed: a generator of seeds; the layer's own if not given.
        """
        if not training:
            return None
        images = () if len(data.shape) == 3 else (tf.shape(data)[0],)
        return keras.random.uniform((*images, 4, TRIES), seed=seed or self.generator)

    def transform_images(self, images: Any, transformation: Any, training: bool = True) -> Any:
        """The images' boxes, resized.

        Args:
            images: one or a batch.
            transformation: what was drawn.
            training: whether to look at it.
        """
        draws = transformation if training else None
        if len(images.shape) == 3:
            return self._crop(images, draws)
        result = tf.TensorSpec((self.height, self.width, images.shape[-1]), tf.float32)
        if draws is None:
            return tf.map_fn(lambda image: self._crop(image, None), images, fn_output_signature=result)
        return tf.map_fn(lambda both: self._crop(*both), (images, draws), fn_output_signature=result)

    def call(self, images, training=False):
        images = tf.convert_to_tensor(images)
        return self.transform_images(images, self.get_random_transformation(images, training), training)

    def _crop(self, image: tf.Tensor, draws: tf.Tensor | None) -> tf.Tensor:
        height, width = tf.shape(image)[0], tf.shape(image)[1]
        if draws is None:
            size = _middle_box(tf.cast(height, tf.float32), tf.cast(width, tf.float32), self.ratio)
            tall, wide = tf.unstack(tf.cast(size, tf.int32))
            top, left = (height - tall) // 2, (width - wide) // 2
        else:
            top, left, tall, wide = crop_box(height, width, draws, self.scale, self.ratio)
        part = tf.slice(image, tf.stack([top, left, 0]), tf.stack([tall, wide, -1]))
        part = tf.image.resize(part, (self.height, self.width), self.interpolation, antialias=True)
        part = tf.ensure_shape(tf.cast(part, tf.float32), (self.height, self.width, image.shape[-1]))
        return tf.clip_by_value(part, self.value_range[0], self.value_range[1])

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-3], self.height, self.width, input_shape[-1])

    def get_config(self):
        names = ("height", "width", "scale", "ratio", "interpolation", "value_range", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
