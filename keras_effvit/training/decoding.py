"""From the bytes of an image file to pixels, and what is wrong where that fails."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

#: Where the header of a BMP file says something: offset of the pixels, length of its second header, bits of a pixel.
PIXELS_AT, HEADER_AT, BITS_AT = 10, 14, 28


def decode(content: tf.Tensor) -> tf.Tensor:
    """The pixels of an image, as PIL has them after `convert("RGB")`.

    JPEG, PNG, BMP, WebP, and of GIF the first picture. Grey becomes three equal channels, alpha is left out, 16 bits
    become 8, CMYK becomes RGB. An orientation noted in EXIF is not followed, as PIL does not.

    Args:
        content: of the file, a scalar string.

    Returns:
        uint8, (height, width, 3).
    """
    # TensorFlow's own choice for JPEG is a faster transform that is up to four levels away from PIL's.
    pixels = tf.cond(
        tf.io.is_jpeg(content),
        lambda: tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.cond(_is_indexed(content), lambda: _indexed(content), lambda: _any(content)),
    )
    return tf.ensure_shape(pixels, (None, None, 3))


def _any(content: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(content, channels=3, expand_animations=False)


def _is_indexed(content: tf.Tensor) -> tf.Tensor:
    """Whether it is a BMP file of eight bits a pixel, which TensorFlow takes to be grey, whatever its palette says."""
    long = tf.strings.length(content) > BITS_AT + 2
    return tf.cond(
        long & (tf.strings.substr(content, 0, 2) == b"BM"), lambda: _number(content, BITS_AT, 2) == 8, lambda: False
    )


def _indexed(content: tf.Tensor) -> tf.Tensor:
    start = HEADER_AT + _number(content, HEADER_AT, 4)
    colours = tf.io.decode_raw(tf.strings.substr(content, start, _number(content, PIXELS_AT, 4) - start), tf.uint8)
    palette = tf.reshape(colours, (-1, 4))[:, 2::-1]  # blue, green, red, nothing
    return tf.gather(palette, tf.cast(_any(content)[:, :, 0], tf.int32))


def _number(content: tf.Tensor, at: int, length: int) -> tf.Tensor:
    """A little-endian number."""
    digits = tf.cast(tf.io.decode_raw(tf.strings.substr(content, at, length), tf.uint8), tf.int32)
    return tf.reduce_sum(digits * tf.constant([256**place for place in range(length)], tf.int32))


def each_image(read: Callable[[tf.Tensor], tf.Tensor], count: int, *, verbose: bool = False) -> Iterator[Any | str]:
    """Reads images in their order, many at a time, with a progress bar.

    Args:
        read: what is to be read of an image, for its number.
        count: how many there are.
        verbose: whether to show the bar.

    Yields:
        What was read, an array or bytes; or a text, why nothing was.
    """
    bar = keras.utils.Progbar(count, verbose=int(verbose), unit_name="image")
    data = iter(tf.data.Dataset.range(count).map(read, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))
    for _ in range(count):
        try:
            yield next(data).numpy()
        except tf.errors.OpError as error:  # the iterator goes on with the next
            yield _reason(error)
        bar.add(1)


def _reason(error: tf.errors.OpError) -> str:
    """What TensorFlow says, without where in its graph it says it."""
    first = str(error.message).split("\n")[0]
    found = re.search(r"Iterator::[\w:\[\]]+: (.*)", first)
    return found.group(1) if found else first
