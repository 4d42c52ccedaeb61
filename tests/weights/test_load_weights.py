"""Files into models through the public path: every format, every wrapper, every documented difference."""

import warnings

import keras
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import keras_effvit
from keras_effvit import create_backbone, create_model
from keras_effvit.weights import CheckpointError, load_state_dict, load_weights
from keras_effvit.weights.naming import namings
from tests.parity import Fixture, draw
from tests.torch_file import write_legacy, write_zip

NAME = "efficientvit_b0"
SMALL = {"input_shape": (64, 64, 3), "classifier_activation": None}


@pytest.fixture(scope="module")
def state():
    """The authors' names and arrays, small enough to keep a signal alive."""
    return {name: np.asarray(0.05 * value, value.dtype) for name, value in Fixture(NAME).state_dict().items()}


@pytest.fixture(scope="module")
def image():
    return draw("image", (2, 64, 64, 3))


@pytest.fixture(scope="module")
def expected(state, image):
    model = create_model(NAME, **SMALL)
    load_state_dict(model, state)
    return np.asarray(model(image))


def save_npz(path, state):
    np.savez(path, **state)
    return path


def save_compressed(path, state):
    np.savez_compressed(path, **state)
    return path


def save_safetensors(path, state):
    save_file({name: np.ascontiguousarray(value) for name, value in state.items()}, path)
    return path


def save_keras(path, state):
    model = create_model(NAME, **SMALL)
    load_state_dict(model, state)
    model.save(path)
    return path


def save_h5(path, state):
    model = create_model(NAME, **SMALL)
    load_state_dict(model, state)
    model.save_weights(path)
    return path


def save_keras_paths(path, state):
    model = create_model(NAME, **SMALL)
    load_state_dict(model, state)
    return save_npz(path, {weight.path: np.asarray(weight) for weight in model.weights})


WRITERS = {
    "w.pth": write_zip,
    "w.ckpt": write_legacy,
    "w.safetensors": save_safetensors,
    "w.npz": save_npz,
    "compressed.npz": save_compressed,
    "paths.npz": save_keras_paths,
    "w.keras": save_keras,
    "w.weights.h5": save_h5,
}


@pytest.mark.parametrize("file", WRITERS)
def test_every_format_gives_the_same_logits(file, state, image, expected, tmp_path):
    path = WRITERS[file](tmp_path / file, state)
    model = create_model(NAME, **SMALL)
    report = load_weights(model, path)
    assert (report.missing, report.unexpected, report.skipped) == ((), (), ())
    assert report.source == str(path)
    np.testing.assert_array_equal(model(image), expected)
    np.testing.assert_array_equal(create_model(NAME, weights=path, **SMALL)(image), expected)


def test_a_files_name_says_nothing(state, image, expected, tmp_path):
    path = write_zip(tmp_path / "lvt_imagenet.keras", state)
    np.testing.assert_array_equal(create_model(NAME, weights=str(path), **SMALL)(image), expected)


@pytest.mark.parametrize("wrapper", [(), ("state_dict",), ("model",), ("a", "b", "net")])
@pytest.mark.parametrize("prefix", ["", "module.", "encoder.", "module.backbone.", "backbone.backbone."])
def test_finds_wrappers_and_prefixes(wrapper, prefix, state, tmp_path):
    tree = {prefix + name: value for name, value in state.items()}
    for key in reversed(wrapper):
        tree = {key: tree, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": np.zeros(3)}}}}
    report = load_weights(create_model(NAME), write_zip(tmp_path / "w.pth", tree))
    assert (report.wrapper, report.prefix) == (wrapper, prefix)
    if wrapper:
        assert f"under {'/'.join(wrapper)!r}" in str(report)


@pytest.mark.parametrize("place", [("ema", 0.9998), ("ema_model",), ("state_dict_ema",), ("model_ema", "module")])
def test_the_moving_average_only_when_asked(place, state, tmp_path):
    average = {name: value + 1 for name, value in state.items() if value.dtype == np.float32}
    tree = average
    for key in reversed(place):
        tree = {key: tree}
    path = write_zip(tmp_path / "w.pth", {**tree, "model": state})
    model = create_model(NAME)
    assert load_weights(model, path).wrapper == ("model",)
    np.testing.assert_array_equal(model.get_layer("head").bias, state["head.op_list.3.linear.bias"])
    assert load_weights(model, path, ema=True).wrapper == tuple(map(str, place))
    np.testing.assert_array_equal(model.get_layer("head").bias, average["head.op_list.3.linear.bias"])


def test_a_file_without_what_was_asked_for(state, tmp_path):
    model = create_model(NAME)
    with pytest.raises(CheckpointError, match=r"Expected a moving average.*weights under model/\* only"):
        load_weights(model, write_zip(tmp_path / "w.pth", {"model": state}), ema=True)
    with pytest.raises(CheckpointError, match=r"moving average only, under ema/\*; `ema=True` loads it"):
        load_weights(model, write_zip(tmp_path / "w.pth", {"ema": state}))


def test_two_sets_that_fit_as_well_are_not_chosen_between(state, tmp_path):
    other = {name: value.copy() for name, value in state.items()}
    path = write_zip(tmp_path / "w.pth", {"teacher": state, "student": other})
    with pytest.raises(CheckpointError, match=r"Received: 2 that fit as well: student/\*, teacher/\*"):
        load_weights(create_model(NAME), path)


def test_another_family_is_named(tmp_path):
    path = write_zip(tmp_path / "w.pth", {"state_dict": Fixture("lvt").state_dict()})
    with pytest.raises(CheckpointError, match=r"The names in .*w.pth are those of lvt\."):
        load_weights(create_model(NAME), path)
    with pytest.raises(CheckpointError, match=r"Received: 1 arrays, such as 'x'.*unknown"):
        load_weights(create_model(NAME), write_zip(tmp_path / "x.pth", {"x": np.zeros(3, np.float32)}))


def test_a_head_of_another_class_count_is_skipped_and_said(state, tmp_path):
    path = write_zip(tmp_path / "w.pth", state)
    model = create_model(NAME, classes=7)
    before = np.asarray(model.get_layer("head").kernel)
    report = load_weights(model, path)
    assert report.skipped == ("head.op_list.3.linear.weight", "head.op_list.3.linear.bias")
    assert "2 skipped (of another number of classes" in str(report)
    np.testing.assert_array_equal(model.get_layer("head").kernel, before)
    np.testing.assert_array_equal(model.get_layer("head_norm").beta, state["head.op_list.2.norm.bias"])
    with pytest.raises(CheckpointError, match=r"expected \(1280, 7\)"):
        load_weights(model, path, skip_head=False)
    same = create_model(NAME)
    assert load_weights(same, path, skip_head=True).skipped == report.skipped


@pytest.mark.parametrize("file", ["w.keras", "w.weights.h5"])
def test_keras_files_lose_their_head_to_another_class_count(file, state, tmp_path):
    report = load_weights(create_model(NAME, classes=7), WRITERS[file](tmp_path / file, state))
    assert sorted(report.skipped) == ["head/vars/0", "head/vars/1"]


@pytest.mark.parametrize("file", ["w.pth", "w.keras", "w.weights.h5", "paths.npz"])
def test_a_classifiers_file_into_a_pyramid(file, state, image, tmp_path):
    path = WRITERS[file](tmp_path / file, state)
    pyramid = create_backbone(NAME, (64, 64, 3), levels=("P3",), weights=path)
    whole = create_backbone(NAME, (64, 64, 3), weights=path)
    np.testing.assert_array_equal(pyramid(image)["P3"], whole(image)["P3"])
    assert load_weights(whole, path).unexpected == ()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_precisions(dtype, state, tmp_path):
    tensors = {name: value.astype(dtype) for name, value in state.items() if value.dtype == np.float32}
    model = create_model(NAME)
    load_weights(model, write_zip(tmp_path / "w.pth", tensors))
    name = "head.op_list.3.linear.bias"
    np.testing.assert_array_equal(model.get_layer("head").bias, state[name].astype(dtype).astype(np.float32))


def test_quantised_values_are_no_weights(state, tmp_path):
    tensors = {**state, "head.op_list.3.linear.bias": np.zeros(1000, np.int8)}
    model = create_model(NAME)
    before = model.get_weights()
    with pytest.raises(CheckpointError, match=r"linear.bias must hold floating-point numbers. Received: int8"):
        load_weights(model, write_zip(tmp_path / "w.pth", tensors))
    assert all(np.array_equal(x, y) for x, y in zip(before, model.get_weights(), strict=True))


def test_weights_do_not_live_on_in_the_file(state, tmp_path):
    path = write_zip(tmp_path / "w.pth", state)
    model = create_model(NAME)
    load_weights(model, path)
    before = model.get_weights()
    path.write_bytes(bytes(path.stat().st_size))
    assert all(np.array_equal(x, y) for x, y in zip(before, model.get_weights(), strict=True))


# --- timm's names.


def timm_names(state):
    """Timm's names for the authors' arrays, written down by hand for the parts that differ."""
    renamed = {}
    for name, value in state.items():
        name = name.removeprefix("backbone.")
        for theirs, timms in {
            "input_stem.op_list.0.": "stem.in_conv.",
            "input_stem.op_list.1.": "stem.res0.",
            ".op_list.": ".blocks.",
            "head.blocks.0.": "head.in_conv.",
            "head.blocks.2.linear.": "head.classifier.0.",
            "head.blocks.2.norm.": "head.classifier.1.",
            "head.blocks.3.linear.": "head.classifier.4.",
        }.items():
            name = name.replace(theirs, timms)
        renamed[name] = value
    return renamed


def test_timms_names_and_its_epsilon(state, image, tmp_path):
    path = save_safetensors(tmp_path / "model.safetensors", timm_names(state))
    model = create_model(NAME, **SMALL)
    model.predict(image, verbose=0)
    report = load_weights(model, path)
    assert report.names == "efficientvit_b (timm)"
    attention = [layer for layer in model.layers if isinstance(layer, keras_effvit.layers.MultiScaleLinearAttention)]
    assert {layer.epsilon for layer in attention} == {1e-5}
    assert report.settings == (f"attention epsilon 1e-05, in {len(attention)} layers",)
    np.testing.assert_allclose(model.predict(image, verbose=0), model(image), atol=1e-5)
    # The epsilon travels with the file that Keras saves, and goes with the authors' own.
    model.save(tmp_path / "saved.keras")
    again = create_model(NAME, weights=tmp_path / "saved.keras", **SMALL)
    np.testing.assert_array_equal(again(image), model(image))
    assert {layer.epsilon for layer in again.layers if hasattr(layer, "epsilon")} >= {1e-5}
    load_weights(model, save_npz(tmp_path / "w.npz", state))
    assert {layer.epsilon for layer in attention} == {1e-15}


# --- SepViT's window tokens, and the dense models.


@pytest.fixture(scope="module")
def sepvit():
    return Fixture("sepvit_lite").state_dict()


def bilinear(grid, rows, columns):
    """Bilinear interpolation between the centres of cells, a cell at a time."""
    size = len(grid)
    result = np.zeros((rows, columns, grid.shape[-1]))
    for r in range(rows):
        for c in range(columns):
            y, x = (min(max((i + 0.5) * size / n - 0.5, 0), size - 1) for i, n in ((r, rows), (c, columns)))
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, size - 1), min(x0 + 1, size - 1)
            top = grid[y0, x0] * (1 - (x - x0)) + grid[y0, x1] * (x - x0)
            bottom = grid[y1, x0] * (1 - (x - x0)) + grid[y1, x1] * (x - x0)
            result[r, c] = top * (1 - (y - y0)) + bottom * (y - y0)
    return result


@pytest.mark.parametrize(("height", "width", "grid"), [(320, 320, (12, 12)), (64, 96, (3, 4)), (224, 448, (8, 16))])
def test_window_tokens_are_resized_to_the_grid(height, width, grid, sepvit, tmp_path):
    model = create_model("sepvit_lite", input_shape=(height, width, 3))
    report = load_weights(model, write_zip(tmp_path / "w.pth", {"model": sepvit}))
    assert "blocks.0.0.win_tokens" in report.resized
    assert "resized to the model's window grid" in str(report)
    tokens = np.asarray(model.get_layer("stage1_block1_attn").token).reshape(*grid, 32)
    np.testing.assert_allclose(tokens, bilinear(sepvit["blocks.0.0.win_tokens"].reshape(8, 8, 32), *grid), atol=1e-5)


def test_tokens_of_no_square_are_refused(sepvit):
    weights = {**sepvit, "blocks.0.0.win_tokens": np.zeros((1, 60, 1, 32), np.float32)}
    with pytest.raises(CheckpointError, match=r"must belong to a square grid.*8x8. Received: \(1, 60, 1, 32\)"):
        load_state_dict(create_model("sepvit_lite"), weights)


def test_tokens_of_our_own_files_are_resized_too(sepvit, tmp_path):
    model = create_model("sepvit_lite")
    load_state_dict(model, sepvit)
    model.save_weights(tmp_path / "w.weights.h5")
    larger = create_model("sepvit_lite", input_shape=(320, 320, 3))
    assert len(load_weights(larger, tmp_path / "w.weights.h5").resized) == 6


def test_a_classification_file_into_the_dense_sepvit(tmp_path):
    path = write_zip(tmp_path / "w.pth", {"model": Fixture("sepvit_t").state_dict()})
    model = create_backbone("sepvit_tiny", (256, 256, 3), dense=True)
    before = np.asarray(model.get_layer("stage4_block1_attn").psa.qk.kernel)
    report = load_weights(model, path)
    assert report.unexpected == ()
    assert {name for name in report.ignored if "win_tokens" in name}
    fresh = {f"norm_list.{stage}.{leaf}" for stage in range(4) for leaf in ("weight", "bias")}
    parts = ("PSA_qk.weight", "PSA_qk.bias", "win_tokens_norm.weight", "win_tokens_norm.bias")
    for block in ("2.1", "2.3", "2.5", "3.0", "3.1"):
        fresh |= {f"blocks.{block}.attn.{part}" for part in parts}
    assert set(report.missing) == fresh
    np.testing.assert_array_equal(model.get_layer("stage4_block1_attn").psa.qk.kernel, before)


def test_a_dense_file_must_be_whole(tmp_path):
    """The differences are those of a classification file; a dense file that lacks an entry is damaged."""
    state = Fixture("sepvit_t_dense").state_dict()
    del state["norm_list.2.bias"]
    with pytest.raises(CheckpointError, match=r"Missing: norm_list.2.bias"):
        load_weights(create_backbone("sepvit_tiny", (256, 256, 3), dense=True), write_zip(tmp_path / "w.pth", state))


def test_a_classification_file_into_the_dense_lightvit(tmp_path):
    path = write_zip(tmp_path / "w.pth", {"state_dict": Fixture("lightvit_tiny").state_dict()})
    report = load_weights(create_backbone("lightvit_tiny", dense=True), path)
    assert set(report.missing) == {f"norm{stage}.{leaf}" for stage in range(3) for leaf in ("weight", "bias")}
    assert report.unexpected == ()
    assert {name.split(".")[0] for name in report.ignored if "num_batches" not in name} >= {"norm", "neck", "head"}


# --- Constructors.


def test_the_constructor_says_what_it_loaded(state, tmp_path, capsys):
    create_model(NAME, weights=write_zip(tmp_path / "w.pth", {"model": state}))
    assert "entries loaded from" in capsys.readouterr().out
    keras.config.disable_interactive_logging()
    try:
        create_model(NAME, weights=tmp_path / "w.pth")
        assert capsys.readouterr().out == ""
    finally:
        keras.config.enable_interactive_logging()


def test_the_constructor_starts_fine_tuning_from_the_authors_file(state, tmp_path, capsys):
    path = write_zip(tmp_path / "w.pth", state)
    assert create_model(NAME, weights=path, classes=7).output_shape == (None, 7)
    assert "2 skipped (of another number of classes" in capsys.readouterr().out


@pytest.mark.parametrize("file", ["w.keras", "w.weights.h5"])
def test_the_constructor_takes_a_whole_model_as_it_is(file, state, tmp_path):
    with pytest.raises(ValueError, match=r"expected \(1280, 7\)"):
        create_model(NAME, weights=WRITERS[file](tmp_path / file, state), classes=7)


def test_the_constructor_of_another_model(state, tmp_path):
    with pytest.raises(ValueError, match=r"weights of this model: efficientvit_b1.*which do not fit"):
        create_model("efficientvit_b1", weights=write_zip(tmp_path / "w.pth", state))


@pytest.mark.parametrize("name", ["efficientvit_b0", "lightvit_tiny", "sepvit_lite", "lvt"])
def test_the_names_in_keras_files_are_those_of_the_layers(name, tmp_path):
    """The naming must name every array Keras saves, and no other."""
    model = create_model(name)
    model.save_weights(tmp_path / "w.weights.h5")
    report = load_weights(model, tmp_path / "w.weights.h5")
    assert set(report.matched) == set(namings(model)[-2].targets)
    assert report.ignored == ()


def test_a_trained_models_file(state, image, tmp_path):
    """Beside the weights Keras keeps what the optimizer and the random generators remember."""
    model = create_model(NAME, drop_path_rate=0.2, classes=3, input_shape=(64, 64, 3))
    model.compile("adam", "sparse_categorical_crossentropy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(image, np.array([0, 1]), verbose=0)
    model.save(tmp_path / "w.keras")
    again = create_model(NAME, classes=3, input_shape=(64, 64, 3), weights=tmp_path / "w.keras")
    np.testing.assert_allclose(again(image), model(image), atol=1e-6)
