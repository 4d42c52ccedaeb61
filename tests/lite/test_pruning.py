"""Pruning: the shares that the schedules say, and zeros that stay zeros all the way to the file."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_effvit import lite
from keras_effvit.lite.pruning import PrunedParameter
from tests.lite.conftest import images, tiny


def train(graph, epochs=4):
    graph.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    graph.fit(images(4, 32), np.array([0, 1, 2, 0]), batch_size=2, epochs=epochs, verbose=0)
    return graph


def zeros(weight):
    return float(np.mean(np.asarray(weight) == 0))


def pruned_layers(graph):
    return [layer for layer in graph.layers if isinstance(layer, PrunedParameter)]


def test_training_prunes_to_the_share_of_the_schedule(tmp_path):
    model = tiny()
    graph = lite.prune(model, lite.polynomial_decay(0.6, 0, 6, frequency=1))
    assert lite.sparsity(graph) == 0
    np.testing.assert_array_equal(graph(images(2, 32), training=False), model(images(2, 32), training=False))
    train(graph)
    assert lite.sparsity(graph) == pytest.approx(0.6, abs=0.002)
    graph.save(tmp_path / "pruned.keras")
    loaded = keras.models.load_model(tmp_path / "pruned.keras")
    np.testing.assert_array_equal(loaded(images(2, 32)), graph(images(2, 32)))
    assert lite.sparsity(loaded) == lite.sparsity(graph)


def test_the_schedule_is_followed_step_by_step():
    graph = lite.prune(tiny(classes=5), lite.polynomial_decay(0.8, 2, 6, power=1, frequency=2), layers="^head")
    shares = []
    for _ in range(4):
        train(graph, epochs=1)  # two steps each
        shares.append(round(lite.sparsity(graph), 2))
    # Steps 2, 4 and 6 prune: a straight line from 0 at step 2 to 0.8 at step 6.
    assert shares == [0.0, 0.0, 0.4, 0.8]


def test_two_of_four_neighbours_along_the_input_channels():
    graph = train(lite.prune(tiny(), lite.constant_sparsity(0.5, frequency=1), pattern="2:4"))
    for layer in pruned_layers(graph):
        mask = np.asarray(layer.mask)
        channels = mask.shape[-2]
        if channels % 4 == 0:
            groups = np.moveaxis(mask, -2, -1).reshape(-1, channels // 4, 4)
            assert (groups.sum(-1) == 2).all(), layer.name


def test_depthwise_kernels_biases_and_norms_are_left_alone():
    graph = train(lite.prune(tiny(), lite.constant_sparsity(0.5, frequency=1)))
    names = [layer.name for layer in pruned_layers(graph)]
    assert names
    assert all(name.endswith("kernel") for name in names)
    assert not [name for name in names if ".depth." in name or "aggregate_depth" in name]


def test_statistics_of_batch_normalisation_still_follow():
    graph = lite.prune(tiny(), lite.constant_sparsity(0.5))
    before = [np.asarray(weight) for weight in graph.weights if "moving_mean" in weight.path]
    train(graph)
    after = [np.asarray(weight) for weight in graph.weights if "moving_mean" in weight.path]
    assert before
    assert all(np.abs(x - y).max() > 0 for x, y in zip(before, after, strict=True))


def test_zeros_stay_in_the_model_in_training_for_integers_and_in_the_file():
    model = tiny()
    graph = train(lite.prune(model, lite.constant_sparsity(0.5, frequency=1)))
    lite.restore_weights(graph, model)
    np.testing.assert_allclose(model(images(2, 32)), graph(images(2, 32)), atol=1e-5)
    assert zeros(model.get_layer("head").weights[0]) == pytest.approx(0.5, abs=0.01)

    aware = lite.quantize_aware(graph)
    train(aware, epochs=2)
    file = lite.convert(aware, calibration=images(4, 32))
    shares = share_of_zeros(file)
    assert np.average(shares) >= 0.45, "rounding adds zeros and takes none away"


def share_of_zeros(file):
    """Of the integer weights of every convolution and linear layer that is not depthwise."""
    from keras_effvit.lite.flatfile import unpack

    model = unpack(file.content)
    shares = []
    for operator in file.inspection.operators:
        if operator.name in ("CONV_2D", "FULLY_CONNECTED"):
            tensor = model.subgraphs[0].tensors[operator.inputs[1]]
            shares.append(zeros(np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.int8)))
    return shares


@pytest.mark.parametrize("pattern", ["2", "4:2", "0:4", "two:four"])
def test_a_pattern_that_is_none(pattern):
    with pytest.raises(lite.LiteError, match="zeros and neighbours"):
        lite.prune(tiny(), lite.constant_sparsity(0.5), pattern=pattern)


def test_what_is_no_schedule_and_layers_that_are_not_there():
    with pytest.raises(lite.LiteError, match="Expected a schedule"):
        lite.prune(tiny(), 0.5)
    with pytest.raises(lite.LiteError, match="'nowhere'"):
        lite.prune(tiny(), lite.constant_sparsity(0.5), layers="nowhere")
    with pytest.raises(lite.LiteError, match="prunes nothing"):
        lite.sparsity(tiny())


DOOR = """
import os, keras, keras_effvit, tensorflow as tf
before = dict(os.environ)
keras_effvit.lite.constant_sparsity(0.5)
assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
assert tf.keras.Model is keras.Model
"""


@pytest.mark.parametrize("legacy", [None, "0"])
def test_the_door_leaves_keras_and_the_environment_as_they_were(legacy):
    environment = {key: value for key, value in os.environ.items() if key != "TF_USE_LEGACY_KERAS"}
    if legacy is not None:
        environment["TF_USE_LEGACY_KERAS"] = legacy
    subprocess.run([sys.executable, "-c", DOOR], env=environment, check=True, timeout=300)
