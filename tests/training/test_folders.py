import io
import os
import warnings

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_effvit.lite import LiteError
from keras_effvit.lite.images import labelled_images
from keras_effvit.training import Skipped, image_folder
from keras_effvit.training.decoding import decode


def picture(seed=0, width=20, height=14):
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def saved(folder, *names, kind="PNG"):
    """Pictures of several sizes."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(number, 20 + number, 14), kind))
    return folder


def pixels(images):
    return [image.numpy() for image in map(images.read, tf.range(len(images), dtype=tf.int64))]


FILES = {
    "jpeg": encoded(picture(), "JPEG"),
    "progressive jpeg": encoded(picture(), "JPEG", progressive=True),
    "grey jpeg": encoded(picture().convert("L"), "JPEG"),
    "cmyk jpeg": encoded(picture().convert("CMYK"), "JPEG"),
    "png": encoded(picture(), "PNG"),
    "grey png": encoded(picture().convert("L"), "PNG"),
    "transparent png": encoded(Image.merge("RGBA", (*picture().split(), picture(1).convert("L"))), "PNG"),
    "palette png": encoded(picture().convert("P"), "PNG"),
    "two-colour png": encoded(picture().convert("1"), "PNG"),
    "animated png": encoded(picture(), "PNG", save_all=True, append_images=[picture(1)]),
    "gif": encoded(picture(), "GIF"),
    "animated gif": encoded(picture(), "GIF", save_all=True, append_images=[picture(1)]),
    "webp": encoded(picture(), "WEBP"),
    "bmp": encoded(picture(), "BMP"),
    "grey bmp": encoded(picture().convert("L"), "BMP"),
    "palette bmp": encoded(picture().convert("P"), "BMP"),
    "small palette bmp": encoded(picture().quantize(7), "BMP"),
}


@pytest.mark.parametrize("kind", FILES)
def test_images_are_decoded_as_by_pil(kind):
    expected = Image.open(io.BytesIO(FILES[kind])).convert("RGB")
    np.testing.assert_array_equal(decode(tf.constant(FILES[kind])), expected)


def test_an_orientation_is_not_followed():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    content = encoded(picture(), "JPEG", exif=exif)
    np.testing.assert_array_equal(decode(tf.constant(content)), Image.open(io.BytesIO(content)))


def test_sixteen_bits_become_eight():
    values = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16) + 5
    content = encoded(Image.fromarray(values), "PNG")
    np.testing.assert_array_equal(np.asarray(decode(tf.constant(content)))[..., 0], values >> 8)


SHORTENED = ["jpeg", "progressive jpeg", "png", "gif", "webp", "bmp", "palette bmp"]


@settings(max_examples=120, deadline=None)
@given(kind=st.sampled_from(SHORTENED), share=st.floats(0, 1, exclude_max=True))
def test_a_shortened_file_is_none(kind, share):
    """What lacks its last bytes, but for the two that only say that a file ends."""
    content = FILES[kind]
    kept = content[: min(int(share * len(content)), len(content) - 12)]
    with pytest.raises(tf.errors.OpError):
        decode(tf.constant(kept))


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(sorted(FILES)), seed=st.integers(0, 2**32 - 1))
def test_damage_is_an_image_or_an_error(kind, seed):
    generator = np.random.default_rng(seed)
    content = np.frombuffer(FILES[kind], np.uint8).copy()
    content[generator.integers(0, len(content), 3)] = generator.integers(0, 256, 3)
    try:
        found = decode(tf.constant(content.tobytes()))
    except tf.errors.OpError:
        return
    assert found.dtype == tf.uint8
    assert found.shape[-1] == 3


def test_a_folder_is_a_class(tmp_path):
    saved(tmp_path, "b/2.png", "b/1.png", "a/deep/3.png", "c/4.PNG")
    images = image_folder(tmp_path, verbose=False)
    assert images.classes == ("a", "b", "c")
    assert images.labels.tolist() == [0, 1, 1, 2]
    paths = ["a/deep/3.png", "b/1.png", "b/2.png", "c/4.PNG"]
    for found, path in zip(pixels(images), paths, strict=True):
        np.testing.assert_array_equal(found, Image.open(tmp_path / path))
    assert images.skipped == ()
    assert images.content is not None
    assert images.content(tf.constant(2, tf.int64)).numpy() == (tmp_path / "b/2.png").read_bytes()


def test_labels_are_those_that_evaluate_counts(tmp_path):
    saved(tmp_path, "b/1.png", "a/2.png", "c/3.png", ".hidden/4.png", "b/.thumbs/5.png")
    images = image_folder(tmp_path, verbose=False)
    assert images.labels.tolist() == [label for _, label in labelled_images(tmp_path, (8, 8, 3))] == [0, 1, 2]


def test_a_class_may_be_a_link(tmp_path):
    saved(tmp_path / "elsewhere", "1.png", "2.png")
    saved(tmp_path / "all", "a/1.png")
    (tmp_path / "all" / "b").symlink_to(tmp_path / "elsewhere")
    assert image_folder(tmp_path / "all", verbose=False).labels.tolist() == [0, 1, 1]


def test_what_cannot_be_read_is_left_out_and_named(tmp_path):
    saved(tmp_path, "a/1.png", "a/7.png", "b/1.png", "b/9.png")
    short = tmp_path / "a" / "2.jpg"
    short.write_bytes(FILES["jpeg"][:-20])
    (tmp_path / "a" / "3.png").write_bytes(b"")
    (tmp_path / "a" / "4.png").write_text("hello")
    (tmp_path / "b" / "5.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "b" / "6.png").mkdir()
    with pytest.warns(UserWarning, match="Images left out: 5") as warned:
        images = image_folder(tmp_path, verbose=False)
    assert [os.path.relpath(each.path, tmp_path) for each in images.skipped] == [
        *("a/2.jpg", "a/3.png", "a/4.png", "b/5.jpg", "b/6.png"),
    ]
    reasons = ["Invalid JPEG data", "Input is empty", "Unknown image file format", "No such file", "Is a directory"]
    for skipped, reason in zip(images.skipped, reasons, strict=True):
        assert reason in skipped.reason
        assert "{{" not in skipped.reason
        assert skipped.path in str(warned[0].message)
    assert warned[0].filename == __file__
    assert images.labels.tolist() == [0, 0, 1, 1]
    for found, path in zip(pixels(images), ["a/1.png", "a/7.png", "b/1.png", "b/9.png"], strict=True):
        np.testing.assert_array_equal(found, Image.open(tmp_path / path))


def test_many_that_cannot_be_read_are_counted(tmp_path):
    saved(tmp_path, "a/1.png", "b/1.png")
    for number in range(9):
        (tmp_path / "a" / f"{number + 2}.png").write_text("hello")
    with pytest.warns(UserWarning, match=r"Images left out: 9(\n.*){5}\n  and 4 more$"):
        assert len(image_folder(tmp_path, verbose=False).skipped) == 9


def test_parts_know_what_was_left_out(tmp_path):
    saved(tmp_path, *(f"{name}/{number}.png" for name in "ab" for number in range(4)))
    (tmp_path / "a" / "9.png").write_text("hello")
    with pytest.warns(UserWarning, match="Images left out: 1"):
        train, val = image_folder(tmp_path, verbose=False).split(0.25)
    assert train.skipped == val.skipped
    assert isinstance(train.skipped[0], Skipped)
    assert [len(train), len(val)] == [6, 2]


def test_unchecked_images_are_not_opened(tmp_path):
    saved(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a" / "2.png").write_text("hello")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = image_folder(tmp_path, check=False, verbose=False)
    assert len(images) == 3
    with pytest.raises(tf.errors.OpError, match="Unknown image file format"):
        pixels(images)


def test_classes_of_other_images(tmp_path):
    saved(tmp_path, "b/1.png", "d/1.png")
    images = image_folder(tmp_path, ["d", "a", "b"], verbose=False)
    assert images.classes == ("d", "a", "b")
    assert images.labels.tolist() == [0, 2]
    with pytest.raises(LiteError, match=r"Received: \['d'\]"):
        image_folder(tmp_path, ["a", "b"], verbose=False)


def no_folder(folder):
    return folder / "missing"


def a_file(folder):
    (folder / "file").write_text("hello")
    return folder / "file"


def nothing(folder):
    return folder


def images_alone(folder):
    return saved(folder, "1.png", "2.png")


def images_beside(folder):
    return saved(folder, "1.png", "a/2.png", "b/3.png")


def one_class(folder):
    return saved(folder, "cats/1.png")


def empty_class(folder):
    (folder / "dogs").mkdir()
    return saved(folder, "cats/1.png", "mice/1.png")


def text_for_a_class(folder):
    (folder / "dogs").mkdir()
    (folder / "dogs" / "1.txt").write_text("hello")
    return saved(folder, "cats/1.png", "mice/1.png")


def only_empty_classes(folder):
    for name in ("cats", "dogs"):
        (folder / name).mkdir()
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_folder, "Expected a folder.*missing"),
        (a_file, "Expected a folder.*file"),
        (nothing, "Received: no folder"),
        (images_alone, "Received: 1.png beside them"),
        (images_beside, "Received: 1.png beside them"),
        (one_class, r"two classes.*\['cats'\]"),
        (empty_class, r"Received: none in \['dogs'\]"),
        (text_for_a_class, r"Received: none in \['dogs'\]"),
        (only_empty_classes, r"Received: none in \['cats', 'dogs'\]"),
    ],
)
def test_folders_that_are_no_data_set(make, message, tmp_path):
    with pytest.raises(LiteError, match=message):
        image_folder(make(tmp_path), verbose=False)


def test_a_class_none_of_whose_images_can_be_read(tmp_path):
    saved(tmp_path, "cats/1.png", "mice/1.png")
    (tmp_path / "mice" / "1.png").write_text("hello")
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(LiteError, match=r"an image of 'mice' that can be read.*mice/1.png: Unknown image"),
    ):
        image_folder(tmp_path, verbose=False)


def test_a_fingerprint_is_of_the_images_and_their_order(tmp_path):
    saved(tmp_path / "one", "a/1.png", "a/2.png", "b/1.png")
    images = image_folder(tmp_path / "one", verbose=False)
    assert image_folder(tmp_path / "one", check=False, verbose=False).fingerprint == images.fingerprint
    different = {
        images.fingerprint,
        images.subset([1, 0, 2]).fingerprint,
        images.subset([0, 1]).fingerprint,
        *(part.fingerprint for part in images.subset([0, 1, 2, 2]).split(0.5)),
        image_folder(tmp_path / "one", ["b", "a"], verbose=False).fingerprint,
    }
    (tmp_path / "one" / "a" / "1.png").write_bytes(FILES["png"])
    different.add(image_folder(tmp_path / "one", verbose=False).fingerprint)
    assert len(different) == 7
