"""COCO's panoptic format, written and read here from its definition: a pixel's segment is R + 256 G + 65536 B."""

import json
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_effvit.tasks.coco_panoptic import coco_panoptic_scenes
from keras_effvit.tasks.fusion import fuse
from keras_effvit.tasks.metrics import panoptic_quality
from keras_effvit.tasks.panoptic_colours import colours_of, numbers_in
from keras_effvit.tasks.panoptic_saving import save_coco_panoptic
from keras_effvit.tasks.problems import AnnotationError
from keras_effvit.tasks.samples import IGNORE, Detections, Segments, panoptic
from keras_effvit.tasks.two_stage_losses import stuff_labels
from tests.tasks.arrays import floats, ints

#: Categories of the file; in the order of labels: cat, dog, grass, sky.
CATEGORIES = [
    {"id": 200, "name": "sky", "isthing": 0},
    {"id": 17, "name": "dog", "isthing": 1},
    {"id": 3, "name": "grass", "isthing": 0},
    {"id": 5, "name": "cat", "isthing": 1},
]
CAT, DOG, GRASS, SKY = 5, 17, 3, 200
#: A number that needs all three channels: red 4, green 3, blue 2.
LARGE = 4 + 256 * 3 + 65536 * 2
MAP = [
    [9, 9, 9, 9, 9, 9],
    [9, LARGE, LARGE, 9, 7, 0],
    [3, LARGE, 3, 3, 7, 7],
    [3, 3, 3, 3, 3, 0],
]
SIZE = (4, 6)
every_use = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def segment(number, category, **changes):
    return {"id": number, "category_id": category, "iscrowd": 0, "bbox": [0, 0, 3, 2], "area": 3} | changes


SEGMENTS = [segment(3, GRASS), segment(LARGE, CAT), segment(9, SKY), segment(7, DOG)]


def painted(path, numbers):
    """A map by the definition, a pixel at a time."""
    image = Image.new("RGB", (len(numbers[0]), len(numbers)))
    for y, row in enumerate(numbers):
        for x, number in enumerate(row):
            image.putpixel((x, y), (number & 255, number >> 8 & 255, number >> 16))
    path.parent.mkdir(exist_ok=True)
    image.save(path)


def written(folder, segments=SEGMENTS, *, numbers=MAP, more=(), images=None, categories=None, first=None):
    """A file of two images of 4 x 6 with an annotation each, the second in order, and the folders of both."""
    (folder / "images").mkdir(exist_ok=True)
    for number in (1, 2):
        pixels = np.full((*SIZE, 3), 60 * number, np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{number}.png")
    painted(folder / "maps/a.png", numbers)
    painted(folder / "maps/b.png", MAP)
    listed = [{"id": n, "file_name": f"{n}.png", "height": SIZE[0], "width": SIZE[1]} for n in (1, 2)]
    annotations = [
        {"image_id": 1, "file_name": "a.png", "segments_info": segments} | (first or {}),
        {"image_id": 2, "file_name": "b.png", "segments_info": SEGMENTS},
        *more,
    ]
    content = {
        "images": listed if images is None else images(listed),
        "annotations": annotations,
        "categories": CATEGORIES if categories is None else categories,
    }
    path = folder / "panoptic.json"
    path.write_text(json.dumps(content))
    return path


def read(path, **options) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return coco_panoptic_scenes(path, path.parent / "images", path.parent / "maps", **options)


@every_use
@given(st.lists(st.integers(0, 2**24 - 1), min_size=1, max_size=9))
def test_numbers_and_colours(numbers):
    colours = colours_of(np.array([numbers]))
    assert colours.dtype == np.uint8
    assert [r + 256 * g + 65536 * b for r, g, b in colours[0].tolist()] == numbers
    np.testing.assert_array_equal(numbers_in(colours), [numbers])


@pytest.mark.parametrize("number", [-1, 2**24])
def test_numbers_without_a_colour(number):
    with pytest.raises(ValueError, match=f"from 0 to 16777215. Received: .*{number}"):
        colours_of(np.array([[0, number]]))


@pytest.mark.parametrize("check", [True, False])
def test_a_scene_by_hand(tmp_path, check):
    path = written(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scenes = coco_panoptic_scenes(path, tmp_path / "images", tmp_path / "maps", check=check)
    assert scenes.classes == ("cat", "dog")
    assert scenes.semantic_classes == ("cat", "dog", "grass", "sky")
    assert scenes.problems == ()
    assert scenes.numbers.tolist() == [1, 2]
    scene: Any = scenes[0]
    np.testing.assert_array_equal(scene.image, np.full((*SIZE, 3), 60))
    np.testing.assert_array_equal(scene.labels, [0, 1])
    np.testing.assert_array_equal(scene.boxes, [[1, 1, 3, 3], [4, 1, 6, 3]])
    np.testing.assert_array_equal(scene.masks, [np.array(MAP) == LARGE, np.array(MAP) == 7])
    np.testing.assert_array_equal(
        scene.semantic,
        [[3, 3, 3, 3, 3, 3], [3, 0, 0, 3, 1, 255], [2, 0, 2, 2, 1, 1], [2, 2, 2, 2, 2, 255]],
    )
    assert not scene.crowd.any()


def test_groups_are_nobodys_pixels_but_keep_their_mask(tmp_path):
    groups = [segment(LARGE, CAT, iscrowd=1), segment(7, DOG), segment(9, SKY, iscrowd=1), segment(3, GRASS)]
    scene = read(written(tmp_path, groups))[0]
    np.testing.assert_array_equal(scene.crowd, [True, False])
    np.testing.assert_array_equal(scene.labels, [0, 1])
    np.testing.assert_array_equal(scene.masks[0], np.array(MAP) == LARGE)
    np.testing.assert_array_equal(scene.semantic == IGNORE, np.isin(MAP, [0, LARGE, 9]))


def test_panoptic_quality_of_what_was_read(tmp_path):
    """By hand: the cat is found at 2/3, the dog whole; of the grass's eight pixels seven are; the sky is a group."""
    groups = [segment(LARGE, CAT), segment(7, DOG), segment(9, SKY, iscrowd=1), segment(3, GRASS)]
    scenes = read(written(tmp_path, groups))
    truth = panoptic(scenes[0], len(scenes.classes))
    found = [[4, 4, 4, 4, 4, 4], [4, 1, 1, 4, 2, 2], [3, 0, 3, 3, 2, 2], [3, 3, 3, 3, 0, 3]]
    quality = panoptic_quality([(truth, Segments(ints(found), ints([0, 1, 2, 3])))], 4, 2)
    np.testing.assert_allclose(quality.per_class, [2 / 3, 1, 7 / 8, np.nan])
    np.testing.assert_array_equal(quality.invented, [0, 0, 0, 0])


def test_what_is_true_comes_back_from_the_fusion(tmp_path):
    """The semantic head's classes are those that the fusion takes."""
    scenes = read(written(tmp_path))
    scene = scenes[0]
    semantic = np.asarray(stuff_labels(scene.semantic, things=2, stuff=2))
    expected = [[1] * 6, [1, 2, 2, 1, 2, 255], [0, 2, 0, 0, 2, 2], [0, 0, 0, 0, 0, 255]]
    np.testing.assert_array_equal(semantic, expected)
    found = Detections(scene.boxes, floats([0.9, 0.8]), scene.labels, scene.masks)
    fused = fuse(found, semantic, things=2, stuff=2, least_stuff=1)
    truth = panoptic(scene, things=2)
    np.testing.assert_array_equal(fused.numbers, truth.numbers)
    np.testing.assert_array_equal(fused.labels, truth.labels)


BAD = {
    "no number": (segment(None, CAT), "a number of its own"),
    "void": (segment(0, CAT), "a number of its own"),
    "no colour": (segment(2**24, CAT), "a number of its own"),
    "of another": (segment(3, CAT), "a number of its own"),
    "unknown class": (segment(LARGE, 99), "number of a category"),
    "class of a kind": (segment(LARGE, [5]), "number of a category"),
    "no pixel": (segment(8, CAT), "a pixel in the map"),
    "no area": (segment(LARGE, CAT, area=0), "an area"),
    "area of a kind": (segment(LARGE, CAT, area="3"), "an area"),
    "area of nothing": (segment(LARGE, CAT, area=float("nan")), "an area"),
    "box without area": (segment(LARGE, CAT, bbox=[1, 1, 0, 2]), "a box with an area"),
    "box outside": (segment(LARGE, CAT, bbox=[6, 1, 2, 2]), "a box within 4 x 6"),
    "no box": (segment(LARGE, CAT, bbox=[1, 1]), "a box x, y"),
    "no segment": (7, "a segment. Received: 7"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_segments_are_named_and_the_others_kept(tmp_path, name):
    bad, reason = BAD[name]
    # The cat's pixels are there only where the bad segment has them: otherwise they were of no segment.
    there = isinstance(bad, dict) and bad["id"] == LARGE
    numbers = np.where((np.array(MAP) == LARGE) & (not there), 0, MAP)
    path = written(tmp_path, [segment(3, GRASS), segment(9, SKY), segment(7, DOG), bad], numbers=numbers.tolist())
    with pytest.warns(UserWarning, match="1 skipped"):
        scenes: Any = coco_panoptic_scenes(path, tmp_path / "images", tmp_path / "maps")
    [problem] = scenes.problems
    place = bad.get("id") if isinstance(bad, dict) else None
    assert problem.where == f"{path}: annotation of image 1: segment {'at place 3' if place is None else place}"
    assert problem.action == "skipped"
    assert reason in problem.reason
    assert "Received: " in problem.reason
    assert [scene.labels.tolist() for scene in scenes] == [[1], [0, 1]]
    expected = np.select([numbers == 7, numbers == 3, numbers == 9], [1, 2, 3], IGNORE)
    np.testing.assert_array_equal(scenes[0].semantic, expected)


def test_a_segment_needs_no_box_and_no_area(tmp_path):
    bare = [{key: row[key] for key in ("id", "category_id")} for row in SEGMENTS]
    scenes = read(written(tmp_path, bare))
    assert scenes.problems == ()
    np.testing.assert_array_equal(scenes[0].boxes, scenes[1].boxes)


def test_pixels_of_no_segment_are_named_and_nobodys(tmp_path):
    scenes = read(written(tmp_path, [segment(3, GRASS), segment(7, DOG)]))
    [problem] = scenes.problems
    assert problem.where.endswith("annotation of image 1: pixels")
    assert problem.reason.endswith(f"Received: 2 others, [9, {LARGE}]")
    np.testing.assert_array_equal(scenes[0].semantic == IGNORE, np.isin(MAP, [0, 9, LARGE]))
    np.testing.assert_array_equal(scenes[0].labels, [1])


def test_an_image_without_segments_is_a_scene_in_which_nothing_is_known(tmp_path):
    scenes = read(written(tmp_path, [], numbers=[[0] * 6] * 4))
    assert scenes.problems == ()
    assert scenes[0].masks.shape == (0, *SIZE)
    assert (scenes[0].semantic == IGNORE).all()
    assert len(panoptic(scenes[0], 2).labels) == 0


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ({"file_name": "c.png"}, "does not exist"),
        ({"file_name": None}, "in the folder"),
        ({"file_name": "../maps/a.png"}, "in the folder"),
        ({"file_name": "turned.png"}, r"Expected an image of 4 x 6. Received: .*turned.png of 6 x 4"),
        ({"file_name": "grey.png"}, r"grey.png: Expected three channels of eight bits. Received: \(4, 6\)"),
        ({"file_name": "clear.png"}, r"clear.png: Expected three channels of eight bits. Received: \(4, 6, 4\)"),
        ({"file_name": "torn.png"}, "Expected an image. Received: .*torn.png"),
        ({"segments_info": None}, "Expected a list of segments"),
        ({"image_id": 9}, "number of an image that can be used. Received: 9"),
        ({"image_id": [1]}, "number of an image that can be used"),
    ],
)
def test_bad_annotations_are_named_with_their_images(tmp_path, first, reason):
    path = written(tmp_path, first=first)
    painted(tmp_path / "maps/turned.png", np.transpose(MAP).tolist())
    Image.new("L", (6, 4)).save(tmp_path / "maps/grey.png")
    Image.new("RGBA", (6, 4)).save(tmp_path / "maps/clear.png")
    (tmp_path / "maps/torn.png").write_bytes((tmp_path / "maps/a.png").read_bytes()[:50])
    with pytest.warns(UserWarning, match=f"2 skipped:\n  .*annotation of image .*{reason}"):
        scenes: Any = coco_panoptic_scenes(path, tmp_path / "images", tmp_path / "maps")
    assert scenes.numbers.tolist() == [2]
    assert [problem.where for problem in scenes.problems] == [
        f"{path}: annotation of image {first.get('image_id', 1)}",
        f"{path}: image 1",
    ]
    assert "Expected a panoptic map" in scenes.problems[1].reason
    assert scenes[0].labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ({"file_name": "9.png"}, "does not exist"),
        ({"height": 5}, "an image of 5 x 6"),
        ({"width": -6}, "a height and a width"),
        ({"id": 2}, "a number of its own"),
    ],
)
def test_bad_images_are_named_with_their_annotations(tmp_path, image, reason):
    scenes = read(written(tmp_path, images=lambda listed: [listed[1], listed[0] | image]))
    assert [reason in problem.reason for problem in scenes.problems] == [True, False]
    assert scenes.problems[1].where.endswith("annotation of image 1")
    assert scenes.numbers.tolist() == [2]


def test_a_second_annotation_and_one_that_is_none(tmp_path):
    second = {"image_id": 1, "file_name": "b.png", "segments_info": []}
    scenes = read(written(tmp_path, more=[second, 3]))
    assert [problem.where.split(": ", 1)[1] for problem in scenes.problems] == [
        "annotation of image 1",
        "annotation at place 3",
    ]
    assert scenes[0].labels.tolist() == [0, 1]


def test_without_the_check_a_map_that_does_not_fit_is_an_error_when_it_is_read(tmp_path):
    for segments, reason in [
        ([*SEGMENTS, segment(8, DOG)], r"a\.png: Expected pixels of \[8\]"),
        (SEGMENTS[:3], r"a\.png: .*Received: 1 others, \[7\]"),
    ]:
        scenes = read(written(tmp_path, segments), check=False)
        assert len(scenes) == 2
        with pytest.raises(ValueError, match=reason):
            scenes[0]
        assert scenes[1].labels.tolist() == [0, 1]
    scenes = read(written(tmp_path), check=False)
    (tmp_path / "maps/a.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"Expected an image. Received: .*a\.png"):
        scenes[0]


def test_a_segment_that_was_named_is_no_error_without_the_check(tmp_path):
    scenes = read(written(tmp_path, [*SEGMENTS[:3], segment(7, 99)]), check=False)
    [problem] = scenes.problems
    assert "segment 7" in problem.where
    assert scenes[0].labels.tolist() == [0]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"images": [], "annotations": {}, "categories": []}'])
def test_no_coco_file(tmp_path, content):
    path = tmp_path / "panoptic.json"
    path.write_text(content)
    with pytest.raises(AnnotationError, match="Received: "):
        read(path)


@pytest.mark.parametrize(
    ("categories", "reason"),
    [
        ([{"id": 5, "name": "cat"}], "an `isthing` of 0 or 1"),
        ([{"id": 5, "name": "cat", "isthing": "no"}], "an `isthing` of 0 or 1"),
        ([{"id": 5, "name": "cat", "isthing": 1}] * 2, "different numbers and names"),
        ([{"id": n, "name": str(n), "isthing": 0} for n in range(256)], "255 categories at most"),
    ],
)
def test_categories_that_say_nothing(tmp_path, categories, reason):
    with pytest.raises(AnnotationError, match=reason):
        read(written(tmp_path, categories=categories))


def test_nothing_left(tmp_path):
    with pytest.raises(AnnotationError, match="the first because: Expected an image file"):
        read(written(tmp_path, images=lambda listed: [listed[0] | {"file_name": "9.png"}]))
    with pytest.raises(AnnotationError, match="the first because: Expected the number of an image"):
        read(written(tmp_path, images=lambda listed: []))


anything = st.none() | st.booleans() | st.integers(-5, 20) | st.floats() | st.text(max_size=4)
anything = anything | st.lists(anything, max_size=4)
segment_rows = st.dictionaries(st.sampled_from(list(segment(0, 0))), anything, max_size=3)
changed_rows = st.tuples(st.sampled_from(SEGMENTS), segment_rows).map(lambda pair: pair[0] | pair[1])


@settings(every_use, max_examples=60)
@given(st.lists(changed_rows | anything, max_size=6))
def test_no_segment_is_lost(tmp_path, listed):
    """Whatever stands in the list: every segment, here a thing, is in the scene or named, and pixels of none are."""
    scenes = read(written(tmp_path, listed, categories=[row | {"isthing": 1} for row in CATEGORIES]))
    assert scenes.numbers.tolist() == [1, 2]
    named = sum(": segment " in problem.where for problem in scenes.problems)
    scene = scenes[0]
    assert len(scene.labels) + named == len(listed)
    known = np.isin(MAP, [row["id"] for row in listed if isinstance(row, dict) and type(row["id"]) is int])
    assert (scene.semantic[~known] == IGNORE).all()
    strange = set(np.array(MAP)[~known].tolist()) - {0}
    assert any("pixels" in problem.where for problem in scenes.problems) == bool(strange)


@st.composite
def labellings(draw):
    """Segments of distinct classes of stuff, and things as many as there happen to be; some without a pixel."""
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    labels = draw(st.lists(st.integers(0, 1), max_size=4)) + draw(st.lists(st.integers(2, 3), unique=True))
    numbers = draw(st.lists(st.integers(0, len(labels)), min_size=height * width, max_size=height * width))
    crowd = [draw(st.booleans()) and label < 2 for label in labels]
    return Segments(ints(numbers).reshape(height, width), ints(labels), np.array(crowd, bool))


def like(folder, sizes):
    """A file that lists images, and the images."""
    (folder / "images").mkdir(exist_ok=True)
    images = []
    for place, (height, width) in enumerate(sizes):
        number = 10**9 * place + 7
        Image.new("RGB", (width, height)).save(folder / f"images/{number}.jpg")
        images.append({"id": number, "file_name": f"{number}.jpg", "height": height, "width": width})
    path = folder / "like.json"
    path.write_text(json.dumps({"images": images, "categories": CATEGORIES}))
    return path, [row["id"] for row in images]


@settings(every_use, max_examples=40)
@given(st.lists(labellings(), min_size=1, max_size=3))
def test_what_is_written_is_the_format_and_comes_back(tmp_path, found):
    source, numbers = like(tmp_path, [segments.numbers.shape for segments in found])
    path = tmp_path / "found.json"
    save_coco_panoptic(path, tmp_path / "maps", zip(np.array(numbers), found, strict=True), source)
    content = json.loads(path.read_text())
    assert content["categories"] == CATEGORIES
    assert [row["image_id"] for row in content["annotations"]] == [row["id"] for row in content["images"]] == numbers
    for row, segments in zip(content["annotations"], found, strict=True):
        check_definition(row, tmp_path / "maps", segments)
    scenes = read(path)
    assert scenes.problems == ()
    assert scenes.numbers.tolist() == numbers
    for scene, segments in zip(scenes, found, strict=True):
        compare(panoptic(scene, 2), segments)


def check_definition(row, folder, segments):
    """Every pixel has its segment's colour, and every segment's row says what its pixels are."""
    image = Image.open(folder / row["file_name"])
    assert (image.mode, image.format) == ("RGB", "PNG")
    red, green, blue = np.moveaxis(np.asarray(image).astype(int), -1, 0)
    painted_numbers = red + 256 * green + 65536 * blue
    assert set(np.unique(painted_numbers).tolist()) - {0} == {info["id"] for info in row["segments_info"]}
    np.testing.assert_array_equal(painted_numbers == 0, segments.numbers == 0)
    for info in row["segments_info"]:
        rows, columns = np.nonzero(painted_numbers == info["id"])
        (place,) = np.unique(segments.numbers[rows, columns]) - 1
        assert info["category_id"] == [CAT, DOG, GRASS, SKY][segments.labels[place]]
        assert info["iscrowd"] == segments.crowd[place]
        assert info["area"] == len(rows) == np.count_nonzero(segments.numbers == place + 1)
        x, y, width, height = info["bbox"]
        assert [x, y, x + width - 1, y + height - 1] == [columns.min(), rows.min(), columns.max(), rows.max()]


def compare(read_back, segments):
    """The same segments, whatever their order; those without a pixel are gone."""

    def rows(one):
        masks = [one.numbers == place + 1 for place in range(len(one.labels))]
        each = zip(masks, one.labels.tolist(), one.crowd.tolist(), strict=True)
        return sorted((np.flatnonzero(mask).tolist(), label, crowd) for mask, label, crowd in each if mask.any())

    assert rows(read_back) == rows(segments)


ONE = Segments(np.ones(SIZE, np.int32), ints([3]))


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([(7, ONE), (8, ONE)], "each once. Received: image 8"),
        ([(7, ONE), (7, ONE)], "each once. Received: image 7"),
        ([(7, Segments(np.ones((6, 4), np.int32), ints([3])))], r"image 7's 4 x 6. Received: \(6, 4\)"),
        ([(7, Segments(np.ones(SIZE, np.int32), ints([4])))], r"from 0 to 3 in image 7. Received: \[4\]"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_no_half_of_a_file(tmp_path, found, reason):
    source, _ = like(tmp_path, [SIZE])
    path, maps = tmp_path / "found.json", tmp_path / "maps"
    path.write_text("of maps that were there before")
    with pytest.raises(ValueError, match=reason):
        save_coco_panoptic(path, maps, found, source)
    assert not path.exists()
    assert {each.name for each in tmp_path.iterdir()} == {"images", "like.json", "maps"}
    kept = [np.asarray(Image.open(each)).tolist() for each in maps.iterdir()]
    assert kept == [[[[1, 0, 0]] * 6] * 4] * (len(found) - 1)


def test_the_file_that_lists_the_images_is_not_written_over(tmp_path):
    source, _ = like(tmp_path, [SIZE])
    before = source.read_bytes()
    with pytest.raises(ValueError, match="Expected another file"):
        save_coco_panoptic(source, tmp_path / "maps", [(7, ONE)], source)
    assert source.read_bytes() == before
    source.write_text("{}")
    with pytest.raises(AnnotationError, match="Expected a list of 'images'"):
        save_coco_panoptic(tmp_path / "found.json", tmp_path / "maps", [(7, ONE)], source)
