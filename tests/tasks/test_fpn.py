"""Necks against numpy written from their definition."""

import keras
import numpy as np
import pytest

from keras_effvit.tasks import feature_pyramid, three_stage_pyramid
from tests.lite.conftest import alive

CHANNELS = {"P2": 3, "P3": 5, "P4": 4, "P5": 6}


def maps_of(levels, height, width):
    """Inputs of a graph, and random maps for them, of an image of (height, width)."""
    rng = np.random.default_rng(0)
    shapes = {
        level: (-(-height // 2 ** int(level[1])), -(-width // 2 ** int(level[1])), CHANNELS[level]) for level in levels
    }
    inputs = {level: keras.Input(shape, name=level) for level, shape in shapes.items()}
    return inputs, {
        level: rng.standard_normal((1, *shape)).astype("float32").astype(float) for level, shape in shapes.items()
    }


def convolve(x, layer, stride=1):
    """Cross-correlation with zeros around, pixel by pixel."""
    kernel, bias = (np.asarray(w, float) for w in layer.get_weights())
    reach = kernel.shape[0] // 2
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    rows, columns = range(0, x.shape[1], stride), range(0, x.shape[2], stride)
    side = kernel.shape[0]
    return np.stack(
        [
            np.stack([np.einsum("brci,rcio->bo", padded[:, r : r + side, c : c + side], kernel) for c in columns], 1)
            for r in rows
        ],
        1,
    ) + bias  # fmt: skip


def merge(model, maps):
    """Laterals, and from the top down what floor(i * source / wanted) picks of the coarser."""
    levels = list(maps)
    merged = {level: convolve(maps[level], model.get_layer(f"neck_lateral{i + 1}")) for i, level in enumerate(levels)}
    for fine, coarse in zip(levels[-2::-1], levels[:0:-1], strict=True):
        (_, h, w, _), (_, ch, cw, _) = merged[fine].shape, merged[coarse].shape
        rows, columns = [i * ch // h for i in range(h)], [i * cw // w for i in range(w)]
        merged[fine] = merged[fine] + merged[coarse][:, rows][:, :, columns]
    return merged


def run(model, maps):
    outputs = model({level: value.astype("float32") for level, value in maps.items()})
    return {level: np.asarray(value) for level, value in outputs.items()}


@pytest.mark.parametrize("size", [(64, 96), (72, 104)])
def test_levels_of_pooled_pixels(size):
    inputs, maps = maps_of(["P2", "P3", "P4", "P5"], *size)
    model = alive(keras.Model(inputs, feature_pyramid(inputs, 7, extra_levels=1)))
    outputs, merged = run(model, maps), merge(model, maps)
    assert list(outputs) == ["P2", "P3", "P4", "P5", "P6"]
    for number, level in enumerate(merged, start=1):
        expected = convolve(merged[level], model.get_layer(f"neck_out{number}"))
        np.testing.assert_allclose(outputs[level], expected, atol=1e-4)
    np.testing.assert_array_equal(outputs["P6"], outputs["P5"][:, ::2, ::2])


def test_levels_of_strided_convolutions_of_the_backbones_last_map():
    inputs, maps = maps_of(["P3", "P4", "P5"], 104, 136)
    model = alive(keras.Model(inputs, feature_pyramid(inputs, 7, extra="on_input", extra_levels=2)))
    outputs = run(model, maps)
    p6 = convolve(maps["P5"], model.get_layer("neck_out4"), stride=2)
    p7 = convolve(p6, model.get_layer("neck_out5"), stride=2)
    assert list(outputs) == ["P3", "P4", "P5", "P6", "P7"]
    np.testing.assert_allclose(outputs["P6"], p6, atol=1e-4)
    np.testing.assert_allclose(outputs["P7"], p7, atol=1e-4)


def test_three_stages_get_a_level_of_stride_4():
    inputs, maps = maps_of(["P3", "P4", "P5"], 64, 96)
    model = alive(keras.Model(inputs, three_stage_pyramid(inputs, 7)))
    outputs, merged = run(model, maps), merge(model, maps)
    kernel, bias = (np.asarray(w, float) for w in model.get_layer("neck_up").get_weights())
    doubled = np.zeros((1, 16, 24, 7))
    for i in (0, 1):
        for j in (0, 1):
            doubled[:, i::2, j::2] = merged["P3"] @ kernel[i, j] + bias
    assert list(outputs) == ["P2", "P3", "P4", "P5", "P6"]
    np.testing.assert_allclose(outputs["P2"], convolve(doubled, model.get_layer("neck_up_out")), atol=1e-4)
    for number, level in enumerate(merged, start=1):
        expected = convolve(merged[level], model.get_layer(f"neck_out{number}"))
        np.testing.assert_allclose(outputs[level], expected, atol=1e-4)
    np.testing.assert_array_equal(outputs["P6"], outputs["P5"][:, ::2, ::2])


def test_levels_that_do_not_follow_on_each_other():
    inputs, _ = maps_of(["P2", "P4"], 64, 64)
    with pytest.raises(ValueError, match=r"consecutive levels.*Received: \['P2', 'P4'\]"):
        feature_pyramid(inputs)
    with pytest.raises(ValueError, match=r'Expected maps "P3", "P4" and "P5"'):
        three_stage_pyramid(inputs)


def test_unknown_kind_of_extra_levels():
    inputs, _ = maps_of(["P2", "P3"], 64, 64)
    with pytest.raises(ValueError, match=r"`extra` must be one of .*Received: extra='on_output'"):
        feature_pyramid(inputs, extra="on_output")  # type: ignore[arg-type]
