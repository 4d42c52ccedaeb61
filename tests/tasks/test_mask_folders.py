import shutil
import warnings

import numpy as np
import pytest
from PIL import Image

from keras_effvit.tasks.mask_folders import mask_folder
from keras_effvit.tasks.problems import AnnotationError
from keras_effvit.tasks.samples import IGNORE

CLASSES = ("road", "grass", "sky")


@pytest.fixture
def folders(tmp_path):
    """Two images with their masks, one of them with a palette."""
    random = np.random.default_rng(0)
    for name in ("a", "deep/b"):
        picture(tmp_path, name, random)
        mask(tmp_path, name, random.integers(0, 3, (12, 16)).astype(np.uint8))
    paletted = Image.open(tmp_path / "masks/a.png")
    paletted.putpalette(random.integers(0, 256, 768).astype(np.uint8).tobytes())
    paletted.save(tmp_path / "masks/a.png")
    return tmp_path


def picture(folder, name, random=None, size=(12, 16)):
    path = folder / f"images/{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((random or np.random.default_rng(1)).integers(0, 256, (*size, 3), np.uint8)).save(path)


def mask(folder, name, pixels):
    path = folder / f"masks/{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def read(folder, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mask_folder(folder / "images", folder / "masks", CLASSES, **options)


def test_images_and_masks_of_one_name(folders):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scenes = mask_folder(folders / "images", folders / "masks", CLASSES)
    assert (scenes.classes, scenes.semantic_classes, scenes.problems) == ((), CLASSES, ())
    for scene, name in zip(scenes, ("a", "deep/b"), strict=True):
        assert scene.semantic is not None
        np.testing.assert_array_equal(scene.image, np.asarray(Image.open(folders / f"images/{name}.jpg")))
        np.testing.assert_array_equal(scene.semantic, np.asarray(Image.open(folders / f"masks/{name}.png")))
        assert len(scene.boxes) == 0


@pytest.mark.parametrize(
    ("numbers", "options", "expected"),
    [
        ([[0, 1, 2, 255]], {}, [[0, 1, 2, IGNORE]]),
        ([[0, 1, 2, 9]], {"ignore": 9}, [[0, 1, 2, IGNORE]]),
        ([[0, 1, 2, 3]], {"first": 1}, [[IGNORE, 0, 1, 2]]),
    ],
)
def test_what_numbers_mean(tmp_path, numbers, options, expected):
    picture(tmp_path, "a", size=(1, 4))
    mask(tmp_path, "a", np.array(numbers, np.uint8))
    np.testing.assert_array_equal(read(tmp_path, **options)[0].semantic, expected)


BAD = {
    "another size": (np.zeros((16, 12), np.uint8), "the image's 12 x 16"),
    "a colour": (np.zeros((12, 16, 3), np.uint8), "one channel"),
    "unknown class": (np.full((12, 16), 3, np.uint8), r"from 0 to 2, or 255. Received: \[3\]"),
    "sixteen bits": (np.full((12, 16), 1000, np.uint16), r"Received: \[1000\]"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_masks_are_named_and_the_others_kept(folders, name):
    pixels, reason = BAD[name]
    picture(folders, "c")
    mask(folders, "c", pixels)
    with pytest.warns(UserWarning, match=rf"1 skipped:\n  .*masks: c: Expected .*{reason}"):
        scenes = mask_folder(folders / "images", folders / "masks", CLASSES)
    assert len(scenes) == 2
    assert [problem.where for problem in scenes.problems] == [f"{folders / 'masks'}: c"]
    unchecked = read(folders, check=False)
    assert len(unchecked) == 3
    with pytest.raises(ValueError, match="Received: "):
        unchecked[1]


def test_files_without_a_partner_or_with_two_and_damaged_ones(folders):
    picture(folders, "only_image")
    mask(folders, "only_mask", np.zeros((12, 16), np.uint8))
    picture(folders, "torn")
    mask(folders, "torn", np.zeros((12, 16), np.uint8))
    torn = folders / "images/torn.jpg"
    torn.write_bytes(torn.read_bytes()[:300])
    Image.new("RGB", (16, 12)).save(folders / "images/a.png")
    (folders / "images/.hidden.jpg").write_bytes(b"")
    (folders / "images/notes.txt").write_text("")
    scenes = read(folders)
    assert len(scenes) == 2
    assert [problem.where.split(": ")[1] for problem in scenes.problems] == ["a.png", "only_image", "only_mask", "torn"]


def test_nothing_left(folders):
    with pytest.raises(AnnotationError, match="Expected a folder"):
        mask_folder(folders / "images", folders / "no", CLASSES)
    with pytest.raises(AnnotationError, match="different names"):
        mask_folder(folders / "images", folders / "masks", ["a", "a"])
    shutil.rmtree(folders / "masks")
    (folders / "masks").mkdir()
    with pytest.raises(AnnotationError, match="the first because: Expected a mask"):
        read(folders)
