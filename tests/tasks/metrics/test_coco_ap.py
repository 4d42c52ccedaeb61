import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit.tasks.metrics import average_precision
from keras_effvit.tasks.samples import Detections, Scene
from tests.tasks.arrays import floats, ints

CLASSES, SIDE = 3, 150
COCOEVAL = [
    "AP",
    "AP50",
    "AP75",
    "AP_small",
    "AP_medium",
    "AP_large",
    "AR_1",
    "AR_10",
    "AR_100",
    "AR_small",
    "AR_medium",
    "AR_large",
]


def pycocotools(pairs, kind) -> tuple[dict[str, float], np.ndarray]:
    """The twelve figures of COCO's own program, and the AP of every class."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    mask = pytest.importorskip("pycocotools.mask")
    truths, found = [], []
    for image, (scene, detections) in enumerate(pairs):
        for number in range(len(scene.labels)):
            truths.append(
                {
                    "id": len(truths) + 1,
                    "image_id": image + 1,
                    "category_id": int(scene.labels[number]) + 1,
                    "iscrowd": int(scene.crowd[number]),
                    **shape_of(scene, number, mask),
                }
            )
        for number in range(len(detections.labels)):
            shape = shape_of(detections, number, mask)
            if kind == "masks":
                del shape["bbox"], shape["area"]
            found.append(
                {
                    "image_id": image + 1,
                    "category_id": int(detections.labels[number]) + 1,
                    "score": float(detections.scores[number]),
                    **shape,
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = {
            "images": [{"id": image + 1, "height": SIDE, "width": SIDE} for image in range(len(pairs))],
            "annotations": truths,
            "categories": [{"id": label + 1} for label in range(CLASSES)],
            "info": {},
        }
        truth.createIndex()
        results = truth.loadRes(found) if found else coco.COCO()
        if not found:
            results.dataset = {**truth.dataset, "annotations": []}
            results.createIndex()
        judge = cocoeval.COCOeval(truth, results, "segm" if kind == "masks" else "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    precision = judge.eval["precision"][..., 0, -1]  # overlaps, recalls, classes
    return dict(zip(COCOEVAL, map(float, judge.stats), strict=True)), precision.mean(axis=(0, 1))


def shape_of(things: Any, number: int, mask: Any) -> dict[str, Any]:
    x0, y0, x1, y1 = map(float, things.boxes[number])
    shape = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
    if things.masks is not None:
        code = mask.encode(np.asfortranarray(things.masks[number].astype(np.uint8)))
        shape |= {"segmentation": code, "area": float(things.masks[number].sum())}
    return shape


def draw_pairs(random: np.random.Generator, images: int, most: int, masks: bool) -> list[tuple[Scene, Detections]]:
    """Things of all sizes, some of them crowds; detections near them, twice, of a wrong class, or nowhere."""
    pairs = []
    for _ in range(images):
        truth = random_boxes(random, int(random.integers(0, most + 1)))
        copies = truth[random.integers(len(truth), size=random.integers(0, 2 * most + 1))] if len(truth) else truth
        moved = copies + random.integers(-4, 5, copies.shape) / 2
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        boxes = (
            np.concatenate([moved, random_boxes(random, int(random.integers(0, 3)))]).clip(0, SIDE).astype(np.float32)
        )
        boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
        labels = random.integers(CLASSES, size=len(truth)).astype(np.int32)
        scene = Scene(
            np.zeros((SIDE, SIDE, 3), np.uint8),
            truth,
            labels,
            masks_of(truth, random) if masks else None,
            crowd=random.random(len(truth)) < 0.2,
        )
        scores = (random.integers(0, 9, len(boxes)) / 8).astype(np.float32)  # with ties
        guessed = random.integers(CLASSES, size=len(boxes)).astype(np.int32)
        if len(truth) and len(copies):
            guessed[: min(len(truth), len(boxes))] = labels[: len(boxes)]
        pairs.append((scene, Detections(boxes, scores, guessed, masks_of(boxes, random) if masks else None)))
    return pairs


def random_boxes(random: np.random.Generator, count: int) -> np.ndarray:
    """Boxes on half pixels, whose areas and overlaps both programs calculate without rounding."""
    sides = np.exp(random.uniform(np.log(2), np.log(140), (count, 2))).round()
    corner = (random.uniform(0, 1, (count, 2)) * (SIDE - sides) * 2).round() / 2
    return np.concatenate([corner, corner + sides], axis=1).astype(np.float32)


def masks_of(boxes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Ellipses in the boxes, some with a bite."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    masks = np.zeros((len(boxes), SIDE, SIDE), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[:] = ((2 * x - x0 - x1) / (x1 - x0)) ** 2 + ((2 * y - y0 - y1) / (y1 - y0)) ** 2 <= 1
        if random.integers(2):
            mask &= x + y < (x0 + x1 + y0 + y1) / 2 + (x1 - x0) / 3
    return masks


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 6), st.sampled_from(["boxes", "masks"]))
def test_all_figures_are_those_of_pycocotools(seed, images, most, kind):
    pairs = draw_pairs(np.random.default_rng(seed), images, most, masks=kind == "masks")
    theirs, per_class = pycocotools(pairs, kind)
    ours = average_precision(pairs, CLASSES, kind=kind)
    assert ours.summary() == pytest.approx(theirs, abs=1e-12)
    np.testing.assert_allclose(ours.per_class, per_class, atol=1e-12)


def test_more_than_a_hundred_detections():
    random = np.random.default_rng(0)
    pairs = draw_pairs(random, 2, 5, masks=False)
    boxes = random_boxes(random, 130)
    scores = random.uniform(0, 1, 130).astype(np.float32)
    pairs.append((pairs[0][0], Detections(boxes, scores, np.zeros(130, np.int32))))
    theirs, _ = pycocotools(pairs, "boxes")
    assert average_precision(pairs, CLASSES).summary() == pytest.approx(theirs, abs=1e-12)


def test_perfect_detections():
    pairs = draw_pairs(np.random.default_rng(1), 3, 6, masks=False)
    perfect = [
        (scene, Detections(scene.boxes, np.ones(len(scene.labels), np.float32), scene.labels)) for scene, _ in pairs
    ]
    found = average_precision(perfect, CLASSES)
    assert found.ap == found.ap50 == found.ap75 == 1


def test_nothing_to_find():
    scene = Scene(np.zeros((9, 9, 3), np.uint8))
    found = Detections(floats([[0, 0, 4, 4]]), floats([0.9]), ints([0]))
    assert set(average_precision([(scene, found)], 1).summary().values()) == {-1.0}
    assert average_precision([], 1).ap == -1


def test_a_class_that_does_not_exist():
    scene = Scene(np.zeros((9, 9, 3), np.uint8))
    found = Detections(floats([[0, 0, 4, 4]]), floats([0.9]), ints([5]))
    with pytest.raises(ValueError, match="from 0 to 1"):
        average_precision([(scene, found)], 2)
    with pytest.raises(ValueError, match="Expected masks"):
        average_precision([(scene, found)], 6, kind="masks")
