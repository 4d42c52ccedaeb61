"""Batches for training and evaluation; what is in one depends on the seed and its place alone."""

import keras
import tensorflow as tf

from keras_effvit.preprocessing import Evaluation, preprocess_input
from keras_effvit.training.augment import Augment, batch_change, image_change
from keras_effvit.training.images import Images
from keras_effvit.training.streams import Stream, fold, key

#: What a key is for, so that an epoch's order, an image's changes and a batch's never share one.
ORDER, IMAGE, BATCH = 0, 1, 2
#: Traced as it is written: there is no Python in it that TensorFlow would have to translate, which takes its time.
plain = tf.autograph.experimental.do_not_convert


def steps_per_epoch(images: Images, batch_size: int) -> int:
    """How many whole batches an epoch has.

    Args:
        images: to train on.
        batch_size: of all workers together.

    Raises:
        ValueError: if there is not one.
    """
    if not 1 <= batch_size <= len(images):
        raise ValueError(
            f"`batch_size` must be between 1 and the number of images, {len(images)}. Received: batch_size={batch_size}"
        )
    return len(images) // batch_size


def training_batches(
    images: Images,
    *,
    size: int,
    batch_size: int,
    augment: Augment | None = None,
    seed: int = 0,
    first_epoch: int = 0,
    epochs: int | None = None,
    scale: bool = True,
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Epoch after epoch of shuffled, augmented, mixed batches.

    Order, crops, augmentation and mixing are functions of the seed, the epoch and the position in it. So an epoch that
    is begun alone has the same bytes as within a longer run, whatever the number of threads; and a worker gets its part
    of what would have been the whole batch, but that MixUp and CutMix mix within the part.

    Args:
        images: to train on.
        size: side of the result.
        batch_size: of all workers together.
        augment: how to vary images; they are cut in the middle if not given.
        seed: any whole number from 0 on.
        first_epoch: where to begin.
        epochs: how many; without end if not given.
        scale: whether to scale pixels as the models expect, or leave them from 0 to 255.
        shard: number of this worker, and how many there are; each gets its part of every batch.

    Returns:
        Pairs of images, float32 (batch, size, size, 3), and labels, float32 (batch, classes), of sum 1. An epoch has
        `steps_per_epoch` batches; what remains is left out, other images in every epoch.

    Raises:
        ValueError: if there are too few images, or workers do not get equal parts.

    Example:
        >>> x, y = next(iter(training_batches(drawn(100), size=64, batch_size=16)))
        >>> x.shape, y.shape
        (TensorShape([16, 64, 64, 3]), TensorShape([16, 10]))
    """
    augment = augment or Augment()
    steps, own = steps_per_epoch(images, batch_size), _part(batch_size, shard)
    change, mix = image_change(augment, size), batch_change(augment)
    keys = {use: key(seed, use) for use in (ORDER, IMAGE, BATCH)}
    labels, depth = tf.constant(images.labels), len(images.classes)

    @plain
    def places(epoch: tf.Tensor) -> tf.data.Dataset:
        """Numbers of the images of an epoch in its order, and the places they have in it."""
        numbers = tf.range(len(images), dtype=tf.int64)
        order = keras.random.shuffle(numbers, seed=Stream(fold(keys[ORDER], epoch)))
        mine = tf.reshape(tf.range(steps)[:, None] * batch_size + tf.range(own)[None] + shard[0] * own, [-1])
        return tf.data.Dataset.from_tensor_slices((tf.repeat(epoch, steps * own), mine, tf.gather(order, mine)))

    @plain
    def image(epoch: tf.Tensor, place: tf.Tensor, number: tf.Tensor) -> tuple:
        pixels = change(images.read(number), Stream(fold(keys[IMAGE], epoch, place)))
        return pixels, tf.one_hot(labels[number], depth), epoch, place

    @plain
    def batch(x: tf.Tensor, y: tf.Tensor, epoch: tf.Tensor, place: tf.Tensor) -> tuple:
        if mix is not None:
            x, y = mix(x, y, Stream(fold(keys[BATCH], epoch[0], place[0])))
        return preprocess_input(x) if scale else x, y

    last = first_epoch + epochs if epochs is not None else tf.int64.max
    data = tf.data.Dataset.range(first_epoch, last).flat_map(places)
    data = data.map(image, num_parallel_calls=tf.data.AUTOTUNE).batch(own, drop_remainder=True)
    data = data.map(batch, num_parallel_calls=tf.data.AUTOTUNE)
    batches = tf.data.INFINITE_CARDINALITY if epochs is None else steps * epochs
    return _ready(data.apply(tf.data.experimental.assert_cardinality(batches)))


def evaluation_batches(
    images: Images,
    *,
    evaluation: Evaluation,
    batch_size: int,
    scale: bool = True,
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """All images once, in their order, prepared as the authors of a model prepare them.

    Args:
        images: to evaluate on.
        evaluation: resize and crop; `keras_effvit.models.evaluation_of` knows those of the models.
        batch_size: of this worker; the last batch may be smaller.
        scale: whether to scale pixels as the models expect, or leave them from 0 to 255.
        shard: number of this worker, and how many there are; it gets every so manieth image.

    Returns:
        Pairs of images, float32 (batch, size, size, 3), and labels, float32 (batch, classes), one of them 1.

    Raises:
        ValueError: if the batch or the shard make no sense.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: batch_size={batch_size}")
    _check_shard(shard)
    labels, depth = tf.constant(images.labels), len(images.classes)

    @plain
    def image(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = evaluated(images.read(number), evaluation)
        return preprocess_input(pixels) if scale else pixels, tf.one_hot(labels[number], depth)

    numbers = tf.data.Dataset.range(shard[0], len(images), shard[1])
    return _ready(numbers.map(image, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size))


def evaluated(image: tf.Tensor, evaluation: Evaluation) -> tf.Tensor:
    """An image with its short side resized and its middle cut out, as torchvision does it on PIL's images.

    Args:
        image: uint8 (height, width, 3).
        evaluation: the sizes.

    Returns:
        float32 (size, size, 3), whole numbers from 0 to 255.
    """
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    short, resize, size = tf.minimum(height, width), evaluation.resize, evaluation.size
    sides = tf.stack([resize * height // short, resize * width // short])
    resized = tf.image.resize(image, sides, evaluation.interpolation, antialias=True)
    resized = tf.clip_by_value(tf.round(tf.cast(resized, tf.float32)), 0.0, 255.0)
    top, left = tf.unstack(tf.cast(tf.round(tf.cast(sides - size, tf.float32) / 2), tf.int32))
    return tf.ensure_shape(resized[top : top + size, left : left + size], (size, size, 3))


def _part(batch_size: int, shard: tuple[int, int]) -> int:
    """How many images of every batch are a worker's."""
    _check_shard(shard)
    if batch_size % shard[1]:
        raise ValueError(
            f"`batch_size` must be a multiple of the workers. Received: {batch_size} for {shard[1]} workers"
        )
    return batch_size // shard[1]


def _check_shard(shard: tuple[int, int]) -> None:
    if not 0 <= shard[0] < shard[1]:
        raise ValueError(f"`shard` must be (worker, workers), the first of them 0. Received: shard={shard}")


def _ready(data: tf.data.Dataset) -> tf.data.Dataset:
    """In the same order whatever the threads, not divided again by a strategy, and ahead of the model."""
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return data.with_options(options).prefetch(tf.data.AUTOTUNE)
