import json
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_effvit.tasks.coco import coco_scenes
from keras_effvit.tasks.problems import AnnotationError
from keras_effvit.tasks.rle import lengths_of, text_of
from keras_effvit.tasks.samples import IGNORE
from keras_effvit.tasks.scenes import drawn_scenes

SIZE = (40, 48)
SQUARE = [[4, 4, 12, 4, 12, 12, 4, 12]]


def annotation(number, **changes):
    return {
        "id": number,
        "image_id": 1,
        "category_id": 3,
        "bbox": [4, 4, 8, 8],
        "segmentation": SQUARE,
        "iscrowd": 0,
        "area": 64,
    } | changes


def written(folder, annotations=(), images=None, categories=None):
    """A COCO file of two pictures of 40 x 48, and its folder."""
    folder.mkdir(exist_ok=True)
    for number in (1, 2):
        Image.fromarray(np.full((*SIZE, 3), 60 * number, np.uint8)).save(folder / f"{number}.png")
    listed = [{"id": n, "file_name": f"{n}.png", "height": SIZE[0], "width": SIZE[1]} for n in (1, 2)]
    content = {
        "images": listed if images is None else images(listed),
        "annotations": list(annotations),
        "categories": categories or [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


def read(path, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return coco_scenes(path, path.parent, *args, **options)


def test_scenes_go_into_a_file_and_come_back(tmp_path):
    """What was drawn, written with polygons' two other forms, is what is read."""
    drawn = list(drawn_scenes(3, SIZE, seed=2))
    images, annotations = [], []
    for number, scene in enumerate(drawn):
        Image.fromarray(scene.image).save(tmp_path / f"drawn{number}.png")
        images.append({"id": number + 10, "file_name": f"drawn{number}.png", "height": SIZE[0], "width": SIZE[1]})
        assert scene.masks is not None
        for box, label, mask in zip(scene.boxes.tolist(), scene.labels.tolist(), scene.masks, strict=True):
            counts = lengths_of(mask)
            annotations.append(
                annotation(
                    len(annotations) + 1,
                    image_id=number + 10,
                    category_id=label + 1,
                    bbox=[box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    segmentation={"size": list(SIZE), "counts": text_of(counts) if label % 2 else counts},
                )
            )
    names = ["cross", "disc", "ring", "square", "star", "triangle"]
    categories = [{"id": place + 1, "name": name} for place, name in enumerate(names)]
    path = written(tmp_path, annotations, lambda _: images, categories)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scenes = coco_scenes(path, tmp_path, semantic=True)
    assert scenes.classes == tuple(names)
    assert scenes.semantic_classes == (*names, "background")
    assert scenes.problems == ()
    for scene, expected in zip(scenes, drawn, strict=True):
        for part in ("image", "boxes", "labels", "masks", "crowd"):
            np.testing.assert_array_equal(getattr(scene, part), getattr(expected, part))
        np.testing.assert_array_equal(scene.semantic, np.minimum(np.asarray(expected.semantic), len(names)))


def test_categories_count_by_their_numbers_or_as_asked(tmp_path):
    path = written(tmp_path, [annotation(1), annotation(2, category_id=7), annotation(3, image_id=2)])
    everything = read(path)
    assert everything.classes == ("cat", "dog")
    assert [scene.labels.tolist() for scene in everything] == [[0, 1], [0]]
    dogs = read(path, ["dog"])
    assert [scene.labels.tolist() for scene in dogs] == [[0], []]
    assert dogs[1].masks.shape == (0, *SIZE)  # pyright: ignore[reportOptionalMemberAccess]
    assert dogs.problems == ()
    with pytest.raises(AnnotationError, match=r"Expected categories \['cow'\]"):
        read(path, ["dog", "cow"])


def test_groups_are_ignored_in_a_semantic_map(tmp_path):
    [scene, _] = read(written(tmp_path, [annotation(1, iscrowd=1)]), semantic=True)
    assert scene.crowd.tolist() == [True]
    assert np.count_nonzero(scene.semantic == IGNORE) == 64
    assert np.count_nonzero(scene.semantic == 2) == SIZE[0] * SIZE[1] - 64


def test_boxes_alone(tmp_path):
    path = written(tmp_path, [annotation(1, segmentation=[]), annotation(2, segmentation=None)])
    [scene, _] = read(path)
    assert scene.masks is None
    np.testing.assert_array_equal(scene.boxes, [[4, 4, 12, 12]] * 2)
    with pytest.raises(AnnotationError, match="Expected masks"):
        read(path, semantic=True)


RLE = {"size": list(SIZE), "counts": [0, SIZE[0] * SIZE[1]]}
BAD = {
    "box outside": ({"bbox": [50, 4, 8, 8]}, "within 40 x 48"),
    "box above": ({"bbox": [4, -9, 8, 8]}, "within 40 x 48"),
    "no area": ({"bbox": [4, 4, 0, 8]}, "with an area"),
    "negative": ({"bbox": [4, 4, 8, -8]}, "with an area"),
    "not a number": ({"bbox": [4, 4, float("nan"), 8]}, "a box x, y"),
    "too long a number": ({"bbox": [4, 4, 10**400, 8]}, "a box x, y"),
    "three numbers": ({"bbox": [4, 4, 8]}, "a box x, y"),
    "no box": ({"bbox": None}, "a box x, y"),
    "unknown class": ({"category_id": 99}, "number of a category"),
    "class of a kind": ({"category_id": [3]}, "number of a category"),
    "unknown image": ({"image_id": 99}, "number of an image"),
    "no mask": ({"segmentation": []}, "a mask, as other annotations have"),
    "mask of another size": ({"segmentation": RLE | {"size": [48, 40]}}, "a mask of 40 x 48"),
    "too few lengths": ({"segmentation": RLE | {"counts": [5, 6]}}, "run lengths of 40 x 48"),
    "garbage": ({"segmentation": RLE | {"counts": "\u00e4\u00f6\n"}}, "run lengths as text"),
    "cut short": ({"segmentation": RLE | {"counts": "P`"}}, "run lengths as text"),
    "empty mask": ({"segmentation": RLE | {"counts": [SIZE[0] * SIZE[1]]}}, "a pixel in it"),
    "polygon without area": ({"segmentation": [[4, 4, 9, 4, 12, 4]]}, "a pixel in it"),
    "two corners": ({"segmentation": [[4, 4, 9, 9]]}, "three corners"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_annotations_are_named_and_the_others_kept(tmp_path, name):
    changes, reason = BAD[name]
    path = written(tmp_path, [annotation(1), annotation(2, **changes), annotation(3, image_id=2)])
    with pytest.warns(UserWarning, match="1 skipped"):
        scenes = coco_scenes(path, tmp_path)
    [problem] = scenes.problems
    assert problem.where == f"{path}: annotation 2"
    assert problem.action == "skipped"
    assert reason in problem.reason
    assert "Received: " in problem.reason
    assert [len(scene.labels) for scene in scenes] == [1, 1]


def test_a_box_that_sticks_out_is_cut_off_and_named_unless_it_was_rounded(tmp_path):
    boxes = [[-5, 4, 15, 8], [40, 30, 9, 11], [-0.5, 0, 48.9, 40.5]]
    path = written(tmp_path, [annotation(n + 1, bbox=box) for n, box in enumerate(boxes)])
    scenes = read(path)
    np.testing.assert_array_equal(scenes[0].boxes, [[0, 4, 10, 12], [40, 30, 48, 40], [0, 0, 48, 40]])
    assert [(problem.where[-1], problem.action) for problem in scenes.problems] == [("1", "clipped")]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ({"file_name": "9.png"}, "does not exist"),
        ({"file_name": "../1.png"}, "in the folder"),
        ({"file_name": "/etc/passwd"}, "in the folder"),
        ({"file_name": None}, "in the folder"),
        ({"height": 41}, "an image of 41 x 48"),
        ({"height": 0}, "a height and a width"),
        ({"id": 1}, "a number of its own"),
        ({"id": None}, "a number of its own"),
        ({"id": 2**63}, "a number of its own"),
        ({"file_name": "broken.png"}, "Expected an image"),
    ],
)
def test_bad_images_are_named_with_their_annotations(tmp_path, image, reason):
    path = written(tmp_path, [annotation(1), annotation(2, image_id=2)], lambda listed: [listed[0], listed[1] | image])
    content = (tmp_path / "2.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(content[: len(content) // 2])
    scenes = read(path)
    assert [reason in problem.reason for problem in scenes.problems] == [True, False]
    assert scenes.problems[1].where.endswith("annotation 2")
    assert len(scenes) == 1
    assert len(scenes[0].labels) == 1


def test_without_the_check_a_damaged_image_is_an_error_when_it_is_read(tmp_path):
    path = written(tmp_path, [annotation(1)])
    (tmp_path / "1.png").write_bytes(b"nothing")
    scenes = read(path, check=False)
    assert len(scenes) == 2
    with pytest.raises(ValueError, match=r"Expected an image. Received: .*1\.png"):
        scenes[0]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"images": [], "annotations": [], "categories": {}}', "[" * 100000, "\ud800"],
)
def test_no_coco_file(tmp_path, content):
    path = tmp_path / "instances.json"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(AnnotationError, match="Received: "):
        coco_scenes(path, tmp_path)


@pytest.mark.parametrize(
    "categories",
    [
        [{"id": 1}],
        [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}],
        [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}],
        [3],
    ],
)
def test_categories_that_say_nothing(tmp_path, categories):
    with pytest.raises(AnnotationError, match="Expected categories"):
        read(written(tmp_path, [], categories=categories))


def test_no_image_left(tmp_path):
    with pytest.raises(AnnotationError, match="the first because: Expected an image file"):
        read(written(tmp_path, [], lambda listed: [listed[0] | {"file_name": "9.png"}]))
    with pytest.raises(AnnotationError, match="it lists no image"):
        read(written(tmp_path, [], lambda listed: []))


anything = st.none() | st.booleans() | st.integers(-5, 60) | st.floats() | st.text(max_size=4)
anything = anything | st.lists(anything, max_size=6) | st.lists(st.lists(st.integers(-9, 60), max_size=8), max_size=2)
rows = st.dictionaries(st.sampled_from(list(annotation(0))), anything, max_size=3)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(rows | anything, max_size=6))
def test_nothing_is_lost(tmp_path, changes):
    """Whatever stands in the list: every annotation is in a scene or named, and every scene can be read."""
    listed = [annotation(n) | row if isinstance(row, dict) else row for n, row in enumerate(changes)]
    scenes = read(written(tmp_path, [annotation(99), *listed]))
    kept = sum(len(scene.labels) for scene in scenes)
    assert kept + sum(problem.action == "skipped" for problem in scenes.problems) == len(listed) + 1
    for scene in scenes:
        assert (scene.boxes >= 0).all()
        assert (scene.boxes <= [48, 40, 48, 40]).all()
