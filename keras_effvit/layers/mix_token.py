"""MixToken: while training, a box of every map is replaced by another image's (Jiang et al. 2021, used by LVT).

Legend: `b` batch, `h w` map, `c` channels; a box is (first row, first column, last row, last column) of the coarsest
map, the last ones excluded, one and the same for the whole batch. Sample `k` exchanges it with sample `b - 1 - k`.
"""

import keras
from keras import ops

from keras_effvit.layers.registration import serializable
from keras_effvit.layers.windows import flatten_map


def draw_box(rows, columns, seed):
    """A random box of a `rows` x `columns` map, (4,) integers; its area is uniform before it is cut at the border.

    Args:
        rows: of the map.
        columns: of the map.
        seed: a `keras.random.SeedGenerator`.
    """
    sides = ops.stack([rows, columns])
    # Drawn is lambda, the share that is kept, from Beta(1, 1).
    share = ops.sqrt(1.0 - keras.random.uniform((), dtype="float32", seed=seed))
    cut = ops.cast(ops.floor(ops.cast(sides, "float32") * share), "int32")
    places = keras.random.uniform((2,), dtype="float32", seed=seed)
    centre = ops.cast(ops.floor(ops.cast(sides, "float32") * places), "int32")
    sides = ops.cast(sides, "int32")
    first = ops.clip(centre - cut // 2, 0, sides)
    last = ops.clip(centre + cut // 2, 0, sides)
    return ops.concatenate([first, last])


def swap_box(x, box):
    """Replaces a box of every map by that of the batch in reverse order.

    Args:
        x: maps, (b, h, w, c).
        box: (4,) integers in pixels of the map; what lies outside is ignored.

    Example:
        >>> x = keras.ops.arange(2)[:, None, None, None] * keras.ops.ones((2, 2, 2, 1), "int32")
        >>> swap_box(x, (0, 1, 2, 2))[0, :, :, 0]
        [[0, 1], [0, 1]]
    """
    _, height, width, _ = ops.shape(x)
    rows, columns = ops.arange(height)[:, None], ops.arange(width)[None]
    top, left, bottom, right = (box[i] for i in range(4))
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    return ops.where(inside[None, :, :, None], ops.flip(x, axis=0), x)


@serializable
class MixToken(keras.layers.Layer):
    """Mixes the maps of a batch inside a random box while training, and tells the box.

    Args:
        scale: side of a pixel of the coarsest map, in pixels of this one.
        seed: makes the draws repeatable.

    Returns:
        The maps, and the box in pixels of the coarsest map, (b, 4) with equal rows; zeros where nothing was mixed.

    Example:
        >>> mixed, box = MixToken(8)(keras.ops.ones((2, 56, 56, 64)), training=True)
        >>> mixed.shape, box.shape
        ((2, 56, 56, 64), (2, 4))
    """

    def __init__(self, scale: int = 8, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, inputs, training=False):
        batch, height, width, _ = ops.shape(inputs)
        if not training:
            return inputs, ops.zeros((batch, 4), dtype="int32")
        box = draw_box(-(-height // self.scale), -(-width // self.scale), self.seed_generator)
        return swap_box(inputs, box * self.scale), ops.broadcast_to(box[None], (batch, 4))

    def compute_output_spec(self, inputs, training=False):
        box = keras.KerasTensor((inputs.shape[0], 4), dtype="int32")
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype), box

    def compute_output_shape(self, input_shape):
        return input_shape, (input_shape[0], 4)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale, "seed": self.seed}


@serializable
class UnmixTokens(keras.layers.Layer):
    """Gives the tokens that `MixToken` exchanged back to the images they belong to.

    Call arguments:
        tokens: (b, h * w, c), one for every pixel of the coarsest map.
        box: what `MixToken` told.
        grid: the coarsest map, of which only height and width count.

    Example:
        >>> box = keras.ops.ones((2, 4), "int32")
        >>> UnmixTokens()(keras.ops.ones((2, 49, 10)), box, keras.ops.ones((2, 7, 7, 256)), training=True).shape
        (2, 49, 10)
    """

    def call(self, tokens, box, grid, training=False):
        if not training:
            return tokens
        _, height, width, _ = ops.shape(grid)
        channels = tokens.shape[-1]
        return flatten_map(swap_box(ops.reshape(tokens, (-1, height, width, channels)), box[0]))

    def compute_output_shape(self, tokens_shape, box_shape, grid_shape):
        return tokens_shape
