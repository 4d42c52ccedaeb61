"""RandAugment on one image at a time, with the strengths that the papers' "m9-mstd0.5-inc1" means.

The operations are Keras' own. `keras.layers.RandAugment` over them is not used for three reasons: it has one `factor`
for all, with which a strength that suits colours turns an image by half a circle; it draws the same operations for a
whole batch; and it computes all eleven for every one it applies.
"""

import math
from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from keras_effvit.training.streams import Stream

#: The papers' scale of magnitudes ends here.
STRONGEST = 10.0
#: An operation that is drawn is applied with this probability, or an image would never stay as it is.
APPLIED = 0.5
#: What comes in from beyond the border.
GREY = 128.0

#: A batch of one image with pixels from 0 to 255, a level in [0, 1] and a sign -> the image.
Operation = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def check_strength(operations: int, magnitude: float, deviation: float) -> None:
    """Raises ValueError unless these are figures of a RandAugment.

    Args:
        operations: as of `RandAugment`.
        magnitude: as of `RandAugment`.
        deviation: as of `RandAugment`.
    """
    if operations < 1 or not 0 <= magnitude <= STRONGEST or deviation < 0:
        raise ValueError(
            "RandAugment takes one operation or more, a magnitude in [0, 10] and a deviation from 0 on. "
            f"Received: {operations}, {magnitude}, {deviation}"
        )


class RandAugment:
    """Applies operations drawn at random, each with a strength of its own.

    Args:
        operations: how many to draw for an image.
        magnitude: their strength, from 0 to 10.
        deviation: of the strength, which is normal around `magnitude`.

    Raises:
        ValueError: if the strength is beyond the scale.

    Example:
        >>> image = tf.random.uniform((64, 64, 3), 0, 255)
        >>> RandAugment(2, 9, 0.5)(image, Stream(key(0))).shape
        TensorShape([64, 64, 3])
    """

    def __init__(self, operations: int = 2, magnitude: float = 9.0, deviation: float = 0.5):
        check_strength(operations, magnitude, deviation)
        self.count, self.magnitude, self.deviation = operations, magnitude, deviation
        self.operations = {**_geometry(), **_colours()}
        self._apply = tf.function(
            self._apply_one, autograph=False
        )  # one graph of all operations, however many are drawn

    def __call__(self, image: tf.Tensor, stream: Stream) -> tf.Tensor:
        """The image after the operations.

        Args:
            image: (height, width, 3), pixels from 0 to 255.
            stream: decides all.
        """
        batch, same = image[None], len(self.operations)
        for _ in range(self.count):
            number = tf.random.stateless_uniform((), stream.next(), 0, same, tf.int32)
            number = tf.where(stream.uniform() < APPLIED, number, same)
            noise = tf.random.stateless_normal((), stream.next()) * self.deviation
            level = tf.clip_by_value((self.magnitude + noise) / STRONGEST, 0.0, 1.0)
            sign = tf.where(stream.uniform() < 0.5, -1.0, 1.0)
            batch = self._apply(number, batch, level, sign)
        return tf.ensure_shape(batch[0], image.shape)

    def _apply_one(self, number: tf.Tensor, batch: tf.Tensor, level: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
        branches = [lambda each=each: each(batch, level, sign) for each in self.operations.values()]
        return tf.switch_case(number, [*branches, lambda: batch])


def _geometry() -> Mapping[str, Operation]:
    """To 30 degrees, to a shear of 0.3, by 0.45 of the side."""

    def moved(x: tf.Tensor, matrix: list) -> tf.Tensor:
        """Pixels from where `matrix`, seen from the image's middle, puts them."""
        height, width = (tf.cast(side, tf.float32) for side in (tf.shape(x)[1], tf.shape(x)[2]))
        (a, b, right), (c, d, down) = matrix
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        e = middle_x - a * middle_x - b * middle_y + right * width
        f = middle_y - c * middle_x - d * middle_y + down * height
        transform = tf.stack([tf.cast(each, tf.float32) for each in (a, b, e, c, d, f, 0.0, 0.0)])
        return keras.ops.image.affine_transform(x, transform, fill_mode="constant", fill_value=GREY)

    def rotate(x: tf.Tensor, level: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
        angle = sign * level * math.radians(30)
        cos, sin = tf.cos(angle), tf.sin(angle)
        return moved(x, [(cos, -sin, 0.0), (sin, cos, 0.0)])

    return {
        "rotate": rotate,
        "shear_x": lambda x, level, sign: moved(x, [(1.0, sign * level * 0.3, 0.0), (0.0, 1.0, 0.0)]),
        "shear_y": lambda x, level, sign: moved(x, [(1.0, 0.0, 0.0), (sign * level * 0.3, 1.0, 0.0)]),
        "translate_x": lambda x, level, sign: moved(x, [(1.0, 0.0, sign * level * 0.45), (0.0, 1.0, 0.0)]),
        "translate_y": lambda x, level, sign: moved(x, [(1.0, 0.0, 0.0), (0.0, 1.0, sign * level * 0.45)]),
    }


def _colours() -> Mapping[str, Operation]:
    """Factors from 0.1 to 1.9, down to no bit, solarised from white down to all; "inc1" is that more is stronger."""
    ours = {"dtype": "float32", "data_format": "channels_last"}  # whatever the policy the model is trained under
    colour, sharpness = keras.layers.RandomColorDegeneration(0, **ours), keras.layers.RandomSharpness(0, **ours)
    contrast, bits = keras.layers.RandomContrast(0, **ours), keras.layers.RandomPosterization(8, **ours)
    solar, equal = keras.layers.Solarization(**ours), keras.layers.Equalization(**ours)
    stretch, invert = keras.layers.AutoContrast(**ours), keras.layers.RandomInvert(1.0, **ours)

    def posterise(x: tf.Tensor, level: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
        lost = tf.cast(4 + tf.floor(level * 4), tf.uint8)
        return bits.transform_images(x, {"shift_factor": tf.minimum(lost, 7)[None]})

    def solarise(x: tf.Tensor, level: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
        return solar.transform_images(x, {"additions": 0.0, "thresholds": 256 - tf.floor(level * 256)})

    return {
        "auto_contrast": lambda x, level, sign: stretch.transform_images(x),
        "equalise": lambda x, level, sign: equal.transform_images(x, None),
        "invert": lambda x, level, sign: invert.transform_images(x, {"apply_inversion": tf.constant([True])}),
        "posterise": posterise,
        "solarise": solarise,
        "solarise_add": lambda x, level, sign: tf.where(x < 128, tf.minimum(x + tf.floor(level * 110), 255.0), x),
        "colour": lambda x, level, sign: colour.transform_images(x, {"factor": -sign * level * 0.9}),
        "contrast": lambda x, level, sign: contrast.transform_images(x, {"contrast_factor": 1 + sign * level * 0.9}),
        # Keras' RandomBrightness adds, which would leave nothing of an image at this strength.
        "brightness": lambda x, level, sign: tf.clip_by_value(x * (1 + sign * level * 0.9), 0.0, 255.0),
        "sharpness": lambda x, level, sign: sharpness.transform_images(x, {"factor": (1 + sign * level * 0.9) / 2}),
    }
