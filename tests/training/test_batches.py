import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_effvit.models import evaluation_of, list_models
from keras_effvit.preprocessing import Evaluation
from keras_effvit.training import (
    Augment,
    Images,
    arrays,
    drawn,
    evaluation_batches,
    steps_per_epoch,
    training_batches,
)

EVERYTHING = Augment(
    crop_scale=(0.3, 1), flip=0.5, rand_augment=(2, 9, 0.5), color_jitter=0.3, erasing=0.25, mixup=0.2, cutmix=1.0
)
SIZE = 24


def batches(images, **options):
    return list(training_batches(images, **{"size": SIZE, "batch_size": 8, **options}).as_numpy_iterator())


def assert_same(some, others):
    for (x, y), (x2, y2) in zip(some, others, strict=True):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)


@pytest.fixture(scope="module")
def images():
    return drawn(30, size=SIZE)


@pytest.fixture(scope="module")
def numbered():
    """Images whose pixels are their number, and so are their classes."""
    count = 22
    content = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, SIZE, SIZE, 3))
    return arrays(content, np.arange(count))


def order(found):
    return np.concatenate([x[:, 0, 0, 0] for x, _ in found]).astype(int).tolist()


def test_an_epoch_begun_alone_has_the_same_bytes(images):
    """The second run is another pipeline, and of another thread pool's timing."""
    whole = batches(images, augment=EVERYTHING, seed=5, epochs=4)
    assert len(whole) == 4 * 3
    assert_same(batches(images, augment=EVERYTHING, seed=5, first_epoch=2, epochs=2), whole[6:])
    x, y = whole[0]
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((8, SIZE, SIZE, 3), np.float32, (8, 10), np.float32)
    for _, y in whole:
        np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-5)
    assert len({x.tobytes() for x, _ in whole}) == len(whole)


def test_workers_get_parts_of_the_whole_batches(images):
    varied = Augment(crop_scale=(0.3, 1), flip=0.5)
    whole = batches(images, augment=varied, epochs=2)
    parts = [batches(images, augment=varied, epochs=2, shard=(worker, 4)) for worker in range(4)]
    together = [tuple(np.concatenate(piece) for piece in zip(*each, strict=True)) for each in zip(*parts, strict=True)]
    assert_same(together, whole)


def test_workers_mix_differently(images):
    """Within their part: but not all by the same share."""
    first, second = (batches(images, augment=Augment(mixup=0.8), epochs=1, shard=(worker, 2)) for worker in (0, 1))
    assert first[0][1].shape == (4, 10)
    assert {round(float(y), 6) for y in first[0][1].max(axis=1)} != {
        round(float(y), 6) for y in second[0][1].max(axis=1)
    }


def test_every_image_comes_once_in_an_epoch_and_each_epoch_has_its_order(numbered):
    epochs = [order(batches(numbered, scale=False, first_epoch=epoch, epochs=1)) for epoch in range(3)]
    for each in epochs:
        assert len(set(each)) == len(each) == 16  # two whole batches
        assert each != sorted(each)
    assert epochs[0] != epochs[1] != epochs[2]
    assert set(order(batches(numbered, scale=False, epochs=12))) == set(range(22))
    assert order(batches(numbered, scale=False, seed=1, epochs=1)) != epochs[0]


def test_labels_go_with_their_images(numbered):
    for x, y in batches(numbered, scale=False, epochs=2):
        np.testing.assert_array_equal(y.argmax(axis=1), x[:, 0, 0, 0])
        np.testing.assert_array_equal(y.sum(axis=1), 1)


def test_an_image_changes_with_its_epoch_and_its_place():
    same = arrays(np.broadcast_to(np.asarray(drawn(1, size=SIZE).read(tf.constant(0))), (8, SIZE, SIZE, 3)), [0] * 8)
    found = np.concatenate([x for x, _ in batches(same, augment=Augment(crop_scale=(0.3, 1)), epochs=2)])
    assert len({each.tobytes() for each in found}) == 16


def test_pixels_are_scaled_as_the_models_take_them(numbered):
    (x, _), (raw, _) = batches(numbered, epochs=1)[0], batches(numbered, epochs=1, scale=False)[0]
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(x, (raw / 255 - mean) / deviation, atol=1e-5)


def test_without_an_end_the_epochs_go_on(numbered):
    data = training_batches(numbered, size=SIZE, batch_size=8, scale=False)
    assert data.cardinality() == tf.data.INFINITE_CARDINALITY
    assert order(data.take(6).as_numpy_iterator()) == order(batches(numbered, scale=False, epochs=3))
    assert training_batches(numbered, size=SIZE, batch_size=8, epochs=3).cardinality() == 6


def test_steps_are_whole_batches(numbered):
    assert [steps_per_epoch(numbered, size) for size in (1, 8, 11, 22)] == [22, 2, 2, 1]


@pytest.mark.parametrize("size", [0, 23])
def test_more_in_a_batch_than_there_are(numbered, size):
    with pytest.raises(ValueError, match=f"Received: batch_size={size}"):
        steps_per_epoch(numbered, size)
    with pytest.raises(ValueError, match=f"Received: batch_size={size}"):
        training_batches(numbered, size=SIZE, batch_size=size)


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0), (0, 3)])
def test_workers_that_make_no_sense(numbered, shard):
    with pytest.raises(ValueError, match="Received: "):
        training_batches(numbered, size=SIZE, batch_size=8, shard=shard)


def sized(*shapes):
    """Images of several sizes, as smooth as photographs and away from 0 and 255."""
    generator = np.random.default_rng(0)
    pictures = []
    for height, width in shapes:
        small = Image.fromarray(generator.integers(50, 200, (9, 9, 3), np.uint8))
        pictures.append(np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)))
    ragged = tf.ragged.constant([picture.ravel().tolist() for picture in pictures], dtype=tf.uint8)
    sizes = tf.constant([picture.shape for picture in pictures])
    return pictures, Images(("a",), np.zeros(len(pictures), np.int64), lambda n: tf.reshape(ragged[n], sizes[n]))


@pytest.mark.parametrize("evaluation", [Evaluation(64, 73, "bicubic"), Evaluation(64, 64, "bilinear")])
def test_images_are_evaluated_as_with_pil(evaluation):
    """PIL is told torchvision's sides of the resize and corners of the crop. It rounds twice: by 1/2, of which the
    second pass makes 1.25 / 2 at most, and by 1/2, as we do; whole numbers then differ by 1 at most.
    """
    pictures, images = sized((100, 130), (131, 77), (50, 40), (80, 80), (73, 91))
    data = evaluation_batches(images, evaluation=evaluation, batch_size=2, scale=False)
    found = np.concatenate([x for x, _ in data.as_numpy_iterator()])
    method = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[evaluation.interpolation]
    for picture, each in zip(pictures, found, strict=True):
        height, width = picture.shape[:2]
        short = min(height, width)
        sides = int(evaluation.resize * width / short), int(evaluation.resize * height / short)
        resized = Image.fromarray(picture).resize(sides, method)
        left, top = (round((side - 64) / 2) for side in sides)
        expected = np.asarray(resized.crop((left, top, left + 64, top + 64)), float)
        assert np.abs(each - expected).max() <= 1


def test_all_images_are_evaluated_once_in_order(numbered):
    evaluation = Evaluation(SIZE, SIZE)
    found = list(evaluation_batches(numbered, evaluation=evaluation, batch_size=8, scale=False).as_numpy_iterator())
    assert [len(x) for x, _ in found] == [8, 8, 6]
    assert order(found) == list(range(22))
    np.testing.assert_array_equal(np.concatenate([y for _, y in found]), np.eye(22))
    parts = [
        order(
            evaluation_batches(
                numbered, evaluation=evaluation, batch_size=8, scale=False, shard=(worker, 3)
            ).as_numpy_iterator()
        )
        for worker in range(3)
    ]
    assert sorted(number for part in parts for number in part) == list(range(22))


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"shard": (1, 1)}])
def test_evaluations_that_make_no_sense(numbered, wrong):
    with pytest.raises(ValueError, match="Received: "):
        evaluation_batches(numbered, **{"evaluation": Evaluation(SIZE, SIZE), "batch_size": 8, **wrong})


#: (size, short side) as the papers and the authors' code have them.
PROTOCOLS = {
    "sepvit": (224, 256),
    "lvt": (224, 233),  # 224 / 0.96
    "lightvit": (224, 256),
    "efficientvit_base": (224, 256),
    "efficientvit_b0": (224, 224),
    "efficientvit_b1": (224, 236),  # 224 / 0.95
    "efficientvit_b2": (224, 224),
}


@pytest.mark.parametrize("family", PROTOCOLS)
def test_every_family_has_its_protocol(family):
    for name in list_models(f"{family}*"):
        found = evaluation_of(name)
        assert (found.size, found.resize, found.interpolation) == (*PROTOCOLS[family], "bicubic")


@pytest.mark.parametrize(("name", "size", "resize"), [("sepvit_lite", 64, 73), ("lvt", 224, 233), ("lvt", 64, 67)])
def test_another_size_keeps_the_ratio(name, size, resize):
    """64 x 256 / 224 = 73.1; 64 x 233 / 224 = 66.6."""
    found = evaluation_of(name, size)
    assert (found.size, found.resize) == (size, resize)


def test_a_size_is_positive():
    with pytest.raises(ValueError, match="Received: size=0"):
        evaluation_of("lvt", 0)
