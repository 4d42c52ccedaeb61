"""How training images are varied: the papers' figures, and what they do to an image or a batch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import keras
import tensorflow as tf

from keras_effvit.training.rand_augment import RandAugment, check_strength
from keras_effvit.training.random_crop import RandomResizedCrop, check_ranges
from keras_effvit.training.streams import Stream

#: Of an image's area, how much random erasing takes at least and at most.
ERASED = (0.02, 1 / 3)


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Figures of an augmentation, as the papers print them; without any, an image is cut in the middle and left alone.

    Attributes:
        crop_scale: smallest and largest share of an image's area that is cropped, or `None` for the whole.
        crop_ratio: smallest and largest width over height of the crop.
        interpolation: of the resize.
        flip: probability of a mirror image.
        rand_augment: operations per image, their magnitude from 0 to 10, its deviation: "m9-mstd0.5-inc1" with two
            operations is `(2, 9, 0.5)`.
        color_jitter: brightness, contrast and saturation vary by this share. timm, which the papers train with, leaves
            it out where there is `rand_augment`, whatever the papers' tables say; here both are done.
        erasing: probability that a box is replaced by noise.
        mixup: of the beta distribution that two images of a batch are blended by.
        cutmix: of the beta distribution that a box of another image is sized by.
        switch: probability that a batch gets CutMix where both are on.

    Raises:
        ValueError: if a figure is out of its range.

    Example:
        >>> Augment(crop_scale=(0.08, 1), flip=0.5, rand_augment=(2, 9, 0.5), erasing=0.25, mixup=0.2, cutmix=1.0)
    """

    crop_scale: tuple[float, float] | None = None
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    flip: float = 0.0
    rand_augment: tuple[int, float, float] | None = None
    color_jitter: float = 0.0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    switch: float = 0.5

    def __post_init__(self):
        for name in ("flip", "color_jitter", "erasing", "mixup", "cutmix", "switch"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` must be between 0 and 1. Received: {name}={getattr(self, name)}")
        if self.rand_augment is not None:
            check_strength(*self.rand_augment)
        if self.crop_scale is not None:
            check_ranges(self.crop_scale, self.crop_ratio)

    def gentle(self) -> "Augment":
        """What is left for few epochs: no RandAugment, erasing, mixing, larger crops, nothing that is new.

        Colours vary a little where they varied before, by either of the two.
        """
        jitter = self.color_jitter or (1.0 if self.rand_augment else 0.0)
        low, high = self.crop_scale or (1.0, 1.0)
        return replace(
            self,
            crop_scale=self.crop_scale and (min(max(0.35, low), high), high),
            rand_augment=None,
            color_jitter=min(0.2, jitter),
            erasing=0.0,
            mixup=0.0,
            cutmix=0.0,
        )


#: An image (height, width, 3) of any size or type and its stream -> float32 (size, size, 3), pixels from 0 to 255.
ImageChange = Callable[[tf.Tensor, Stream], tf.Tensor]
#: Images and labels of a batch, and its stream -> both, mixed.
BatchChange = Callable[[tf.Tensor, tf.Tensor, Stream], tuple[tf.Tensor, tf.Tensor]]


def image_change(augment: Augment, size: int) -> ImageChange:
    """What happens to every image, in the order of the papers: crop, mirror, colours, erasing.

    Args:
        augment: the figures.
        size: side of the result.
    """
    steps = [_crop(augment, size)]
    if augment.flip:
        steps.append(_sometimes(augment.flip, lambda image, stream: image[:, ::-1]))
    if augment.color_jitter:
        steps.append(_jitter(augment.color_jitter))
    if augment.rand_augment is not None:
        steps.append(RandAugment(*augment.rand_augment))
    if augment.erasing:
        # The layer decides too, but only after it has drawn the noise, a fifth of all work.
        erase = keras.layers.RandomErasing((1.0, 1.0), scale=ERASED, **_OURS)
        steps.append(_sometimes(augment.erasing, lambda image, stream: _through(erase, image, stream)))

    def change(image: tf.Tensor, stream: Stream) -> tf.Tensor:
        for step in steps:
            image = step(image, stream)
        return image

    return change


def batch_change(augment: Augment) -> BatchChange | None:
    """MixUp, CutMix, or for every batch one of them; nothing if both are off.

    Args:
        augment: the figures. Every pair of a batch has its own share.
    """
    layers: list[Any] = []
    if augment.mixup:
        layers.append(keras.layers.MixUp(augment.mixup, **_OURS))
    if augment.cutmix:
        layers.append(keras.layers.CutMix((augment.cutmix, augment.cutmix), **_OURS))
    if not layers:
        return None

    def change(images: tf.Tensor, labels: tf.Tensor, stream: Stream) -> tuple[tf.Tensor, tf.Tensor]:
        def mixed(layer: Any) -> tuple[tf.Tensor, tf.Tensor]:
            drawn = layer.get_random_transformation(images, seed=stream)
            return layer.transform_images(images, drawn), layer.transform_labels(labels, drawn)

        if len(layers) == 1:
            return mixed(layers[0])
        return tf.cond(stream.uniform() < augment.switch, lambda: mixed(layers[1]), lambda: mixed(layers[0]))

    return change


#: Whatever policy and format the model is trained with, images are prepared so.
_OURS: dict[str, Any] = {"dtype": "float32", "data_format": "channels_last"}


def _crop(augment: Augment, size: int) -> ImageChange:
    if augment.crop_scale is None:
        crop, training = RandomResizedCrop(size, size, ratio=(1, 1), interpolation=augment.interpolation), False
    else:
        figures = {"scale": augment.crop_scale, "ratio": augment.crop_ratio, "interpolation": augment.interpolation}
        crop, training = RandomResizedCrop(size, size, dtype="float32", **figures), True

    def change(image: tf.Tensor, stream: Stream) -> tf.Tensor:
        return crop.transform_images(image, crop.get_random_transformation(image, training, stream))

    return change


def _jitter(share: float) -> ImageChange:
    """Brightness, contrast and saturation, each by a factor around 1; Keras writes a saturation s as s / (1 + s)."""
    # With pixels to 255, Keras' RandomSaturation lets a saturation grow beyond 1, which is no colour.
    ours = {"value_range": (0, 1), **_OURS}
    layers = [
        keras.layers.RandomBrightness((-share, share), **ours),
        keras.layers.RandomContrast((share, share), **ours),
        keras.layers.RandomSaturation(((1 - share) / (2 - share), (1 + share) / (2 + share)), **ours),
    ]

    def change(image: tf.Tensor, stream: Stream) -> tf.Tensor:
        image = image / 255
        for layer in layers:
            image = _through(layer, image, stream)
        return image * 255

    return change


def _through(layer: Any, image: tf.Tensor, stream: Stream) -> tf.Tensor:
    """An image through one of Keras' layers, its randomness from our stream."""
    batch = image[None]
    return tf.ensure_shape(
        layer.transform_images(batch, layer.get_random_transformation(batch, seed=stream))[0], image.shape
    )


def _sometimes(probability: float, change: ImageChange) -> ImageChange:
    def maybe(image: tf.Tensor, stream: Stream) -> tf.Tensor:
        return tf.cond(stream.uniform() < probability, lambda: change(image, stream), lambda: image)

    return maybe
