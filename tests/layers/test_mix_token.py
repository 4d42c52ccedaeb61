"""MixToken: where boxes fall, what they exchange, and that tokens find their way back."""

from collections import Counter
from itertools import product

import keras
import numpy as np
import pytest

from keras_effvit.layers import MixToken, UnmixTokens
from keras_effvit.layers.mix_token import draw_box, swap_box


def probabilities(rows, columns, steps=20_000):
    """Of every box: lambda runs through its uniform distribution, the centre through all pixels."""
    kept = (np.arange(steps) + 0.5) / steps
    cuts = np.floor(np.outer((rows, columns), np.sqrt(1 - kept))).astype(int)
    odds = Counter()
    for (height, width), count in Counter(zip(*cuts.tolist(), strict=True)).items():
        for row, column in product(range(rows), range(columns)):
            ends = (row - height // 2, column - width // 2, row + height // 2, column + width // 2)
            box = tuple(int(np.clip(end, 0, side)) for end, side in zip(ends, 2 * (rows, columns), strict=True))
            odds[box] += count / steps / (rows * columns)
    return odds


def test_boxes_are_drawn_as_often_as_they_should():
    import tensorflow as tf

    draws, expected = 4000, probabilities(4, 5)
    seed = keras.random.SeedGenerator(0)
    draw = tf.function(lambda: draw_box(4, 5, seed))
    drawn = Counter(tuple(np.asarray(draw()).tolist()) for _ in range(draws))
    assert set(drawn) <= set(expected)
    for box, p in expected.items():
        assert abs(drawn[box] - draws * p) < 5 * np.sqrt(draws * p * (1 - p)) + 1, box


@pytest.mark.parametrize("box", [(1, 2, 4, 6), (0, 0, 7, 7), (3, 3, 3, 5), (5, 5, 9, 9)])
def test_a_box_is_swapped_with_the_batch_reversed(box):
    x = np.random.default_rng(0).standard_normal((3, 7, 6, 2)).astype("float32")
    expected = x.copy()
    expected[:, box[0] : box[2], box[1] : box[3]] = x[::-1, box[0] : box[2], box[1] : box[3]]
    np.testing.assert_array_equal(swap_box(x, box), expected)


@pytest.mark.parametrize("size", [(16, 24), (13, 21)])
def test_the_box_that_is_told_is_the_box_that_is_mixed(size):
    x = np.random.default_rng(0).standard_normal((4, *size, 3)).astype("float32")
    layer = MixToken(8, seed=1)
    told = set()
    for _ in range(20):
        mixed, boxes = layer(x, training=True)
        box = np.asarray(boxes)[0]
        np.testing.assert_array_equal(boxes, np.tile(box, (4, 1)))
        np.testing.assert_array_equal(mixed, swap_box(x, 8 * box))
        told.add(tuple(box.tolist()))
    assert len(told) > 1
    assert max(box[2] for box in told) <= -(-size[0] // 8)
    assert max(box[3] for box in told) <= -(-size[1] // 8)


def test_nothing_happens_at_inference():
    x = np.random.default_rng(0).standard_normal((2, 16, 16, 3)).astype("float32")
    for options in ({}, {"training": False}):
        mixed, box = MixToken(8)(x, **options)
        np.testing.assert_array_equal(mixed, x)
        assert np.asarray(box).tolist() == [[0] * 4] * 2


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_tokens_find_their_way_back(batch):
    x = np.random.default_rng(0).standard_normal((batch, 4, 5, 3)).astype("float32")
    mix, unmix = MixToken(1, seed=0), UnmixTokens()
    for _ in range(10):
        mixed, box = mix(x, training=True)
        tokens = keras.ops.reshape(mixed, (batch, 20, 3))
        np.testing.assert_array_equal(unmix(tokens, box, x, training=True), x.reshape(batch, 20, 3))
        np.testing.assert_array_equal(unmix(tokens, box, x), tokens)
