from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from keras_effvit import lite
from keras_effvit.preprocessing import IMAGENET_MEAN, IMAGENET_STD, preprocess_input
from keras_effvit.tasks.changes import Change, fitted
from keras_effvit.tasks.detection_losses import yolox_loss
from keras_effvit.tasks.fitting import fit_detector, fit_segmenter
from keras_effvit.tasks.measuring import Predictor, measure_detector, measure_segmenter, segmented
from keras_effvit.tasks.metrics import Overlap
from keras_effvit.tasks.pictures import COLUMNS, class_colours, detection_grid, painted, segmentation_grid
from keras_effvit.tasks.samples import IGNORE, Detections, Scene, Scenes
from keras_effvit.training import TrainingError
from tests.tasks.arrays import floats, ints

SIZE, CLASSES = 16, 3
COLOURS = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8)


def blocks(count, seed=0):
    """Scenes of a quarter, which is a thing, on one of two grounds; a class is a colour."""

    def read(number):
        random = np.random.default_rng([seed, number])
        semantic = np.full((SIZE, SIZE), random.integers(1, 3), np.int32)
        top, left = random.integers(0, 2, 2) * SIZE // 2
        semantic[top : top + SIZE // 2, left : left + SIZE // 2] = 0
        noise = random.integers(-20, 20, (SIZE, SIZE, 3))
        box = floats([[left, top, left + SIZE // 2, top + SIZE // 2]])
        image = (COLOURS[semantic] + noise).clip(0, 255).astype(np.uint8)
        return Scene(image, box, ints([0]), semantic=semantic)

    return Scenes(("thing",), ("thing", "grass", "sea"), read, np.arange(count))


def segmenter(**options):
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    return keras.Model(image, keras.layers.Conv2D(CLASSES, 1, **options)(x), name="tiny")


@pytest.fixture(scope="module")
def learnt():
    keras.utils.set_random_seed(0)
    model = segmenter()
    change = Change(flip=0.5, scale=(0.8, 1.3))
    history = fit_segmenter(
        model, blocks(64), blocks(16, 1), epochs=6, batch_size=8, learning_rate=0.03, change=change, verbose=0
    )
    return model, history.history


def test_a_segmenter_learns_colours(learnt):
    model, history = learnt
    assert history["loss"][-1] < history["loss"][0] / 4
    assert measure_segmenter(model, blocks(16, 1)).mean > 0.95
    assert history["pixels"] == pytest.approx(history["loss"], rel=1e-5)


def test_the_miou_of_validation_is_that_of_the_measure(learnt):
    model, history = learnt
    assert history["val_miou"][-1] == pytest.approx(measure_segmenter(model, blocks(16, 1)).mean, abs=1e-6)


def test_a_file_is_measured_as_the_model_is(learnt, tmp_path):
    model, _ = learnt
    images = preprocess_input(np.stack([scene.image for scene in blocks(16)]).astype("float32"))
    path = tmp_path / "segmenter.tflite"
    path.write_bytes(lite.convert(model, "float32", calibration=images).content)
    for content in (path, path.read_bytes()):
        found = measure_segmenter(content, blocks(16, 1))
        assert isinstance(found, Overlap)
        np.testing.assert_array_equal(found.counts, measure_segmenter(model, blocks(16, 1)).counts)


def test_a_file_with_its_own_preprocessing_gets_pixels(learnt):
    model, _ = learnt
    image = keras.Input((SIZE, SIZE, 3))
    deviation = [(255 * std) ** 2 for std in IMAGENET_STD]
    scaled = keras.layers.Normalization(mean=[255 * mean for mean in IMAGENET_MEAN], variance=deviation)
    scaled.name = "preprocessing"
    whole = keras.Model(image, model(scaled(image)), name="whole")
    pixels = np.stack([scene.image for scene in blocks(16)])
    content = lite.convert(whole, "float32", calibration=pixels).content
    assert measure_segmenter(content, blocks(16, 1)).mean == pytest.approx(measure_segmenter(model, blocks(16, 1)).mean)


def test_scenes_of_another_size_are_measured_in_the_models(learnt):
    model, _ = learnt
    wide = np.zeros((20, 40, 3), np.uint8) + COLOURS[1]
    scenes = Scenes((), ("a", "b", "c"), lambda number: Scene(wide, semantic=np.ones((20, 40), np.int32)), np.arange(1))
    [(scene, found)] = segmented(Predictor(model), scenes)
    assert found.shape == np.asarray(scene.semantic).shape == (SIZE, SIZE)
    np.testing.assert_array_equal(np.asarray(scene.semantic)[:8], 1)
    np.testing.assert_array_equal(np.asarray(scene.semantic)[8:], IGNORE)
    assert measure_segmenter(model, scenes).counts.sum() == 8 * SIZE


def detector():
    """Heads of one level at stride 8, as YOLOX has them; names as its decoding wants them."""
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(16, 8, 8, activation="relu")(image)
    heads = {
        f"P3_{part}": keras.layers.Conv2D(width, 1)(x) for part, width in (("class", 1), ("box", 4), ("object", 1))
    }
    return keras.Model(image, heads, name="tiny_detector")


def test_a_detector_learns_where_the_thing_is():
    keras.utils.set_random_seed(0)
    model = detector()
    before = measure_detector(model, blocks(16, 1))
    # Boxes that do not touch their thing any more have a gradient with GIoU alone.
    loss, change = partial(yolox_loss, overlap="giou"), Change(flip=0.5)
    history = fit_detector(
        model, blocks(64), epochs=16, loss=loss, batch_size=8, learning_rate=0.01, change=change, verbose=0
    ).history
    assert history["loss"][-1] < history["loss"][0] / 2
    assert set(history) >= {"class", "box", "object"}
    found = measure_detector(model, blocks(16, 1))
    assert found.ap50 > max(0.9, before.ap50)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="Received: tiny of 3"):
        fit_segmenter(segmenter(), replace(blocks(4), semantic_classes=("a", "b")), epochs=1)
    image = keras.Input((None, None, 3))
    anywhere = keras.Model(image, keras.layers.Conv2D(CLASSES, 1)(image), name="anywhere")
    with pytest.raises(ValueError, match=r"of a known size\. Received: anywhere"):
        fit_segmenter(anywhere, blocks(4), epochs=1, batch_size=2)
    with pytest.raises(ValueError, match="Expected scenes with semantic maps"):
        measure_segmenter(segmenter(), replace(blocks(4), semantic_classes=()))


def test_a_loss_that_is_no_number_ends_training():
    broken = segmenter(bias_initializer=keras.initializers.Constant(float("nan")))
    with pytest.raises(TrainingError, match="Expected a finite loss"):
        fit_segmenter(broken, blocks(4), epochs=1, batch_size=2, verbose=0)


def test_colours_are_far_apart():
    colours = class_colours(19).astype(int)
    away = np.abs(colours[:, None] - colours[None]).sum(axis=-1) + 1000 * np.eye(19, dtype=int)
    assert away.min() > 120  # half of a channel's range
    assert len(np.unique(class_colours(255), axis=0)) == 255


def test_a_painted_image_has_the_classes_colours_over_grey():
    image = np.full((1, 2, 3), 100, np.uint8)
    picture = painted(image, np.array([[1, IGNORE]]), COLOURS)
    np.testing.assert_array_equal(picture[0, 0], np.round(0.62 * COLOURS[1].astype(float) + 38))
    np.testing.assert_array_equal(picture[0, 1], [38] * 3)


def test_sheets_show_image_truth_and_prediction(learnt, tmp_path):
    model, _ = learnt
    segmentation_grid(model, blocks(4, 1), tmp_path / "grid.png", zoom=2, groups=2)
    sheet = np.asarray(Image.open(tmp_path / "grid.png"))
    scene = fitted(blocks(4, 1)[0], (SIZE, SIZE))
    large = scene.image.repeat(2, axis=0).repeat(2, axis=1)
    y, x = next(
        (y, x)
        for y in range(40)
        for x in range(40)
        if (sheet[y : y + 2 * SIZE, x : x + 2 * SIZE].shape == large.shape)
        and (sheet[y : y + 2 * SIZE, x : x + 2 * SIZE] == large).all()
    )
    truth = painted(scene.image, np.asarray(scene.semantic), class_colours(3)).repeat(2, axis=0).repeat(2, axis=1)
    step = 2 * SIZE + 6
    np.testing.assert_array_equal(sheet[y : y + 2 * SIZE, x + step : x + step + 2 * SIZE], truth)
    assert len(COLUMNS) * step * 2 <= sheet.shape[1]


def test_sheets_of_boxes(tmp_path):
    keras.utils.set_random_seed(0)

    def decode(outputs: Any, size: tuple[int, int]) -> list[Detections]:
        boxes, labels = floats([[2, 3, 12, 14], [0, 0, 5, 5]]), ints([0, 0])
        return [Detections(boxes, floats([0.9, 0.1]), labels) for _ in outputs["P3_box"]]

    detection_grid(detector(), blocks(2, 1), tmp_path / "grid.png", decode=decode, zoom=4, groups=1)
    sheet = np.asarray(Image.open(tmp_path / "grid.png")).astype(int)
    colour = class_colours(1)[0].astype(int)
    x = 6 + 2 * (4 * SIZE + 6)  # the third column
    third = sheet[15 + 6 : 15 + 6 + 4 * SIZE, x : x + 4 * SIZE]
    edge = np.abs(third - colour).sum(axis=-1) == 0
    assert edge[13, 30:44].all()  # the upper edge of the sure box
    assert not edge[19, 0:7].any()  # the unsure one is not drawn
