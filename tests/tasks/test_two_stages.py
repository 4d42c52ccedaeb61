"""Proposals, what is drawn of them, and what the second stage makes of them."""

import keras
import numpy as np
import pytest

from keras_effvit import layers
from keras_effvit.tasks import PanopticFPN
from keras_effvit.tasks.anchors import RPN_ANCHORS, anchors
from keras_effvit.tasks.matching import Matches
from keras_effvit.tasks.raw_heads import geometry
from keras_effvit.tasks.roi_heads import DetectInProposals, MasksOfClasses, RoiAlign
from keras_effvit.tasks.rpn import Propose, propose, rpn_loss
from keras_effvit.tasks.sampling import draw
from keras_effvit.tasks.two_stage_losses import Stages, draw_proposals, panoptic_loss
from tests.tasks import by_definition
from tests.tasks.test_detection_losses import SIDE, entropy, flat, heads
from tests.tasks.test_matching import matched

LEVELS = ["P4", "P5"]
WIDTHS = {"object": 3, "box": 12}


def decoded(deltas, boxes, stds=(1, 1, 1, 1)):
    deltas, boxes = np.asarray(deltas, float) * stds, np.asarray(boxes, float)
    sides = boxes[:, 2:] - boxes[:, :2]
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2 + deltas[:, :2] * sides, np.exp(deltas[:, 2:]) * sides / 2
    return np.clip(np.concatenate([middle - half, middle + half], axis=1), 0, SIDE)


@pytest.mark.parametrize("most", [10, 80])
def test_proposals(most):
    """Every level is thinned out on its own; then the best of all."""
    outputs = heads(np.random.default_rng(0), WIDTHS, LEVELS)
    received, scores = (np.asarray(x) for x in propose(outputs, (SIDE, SIDE), most))
    strides, sizes = geometry(outputs, SIDE, SIDE)
    for image in range(2):
        pool = []
        for level, stride, size in zip(LEVELS, strides, sizes, strict=True):
            of_level = {k: v for k, v in outputs.items() if k.startswith(level)}
            boxes = decoded(flat(of_level, "box", image, 4), anchors(RPN_ANCHORS, [stride], [size]))
            chances = by_definition.sigmoid(flat(of_level, "object", image, 1)[:, 0])
            boxes, chances = (x[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)] for x in (boxes, chances))
            pool += [(chances[i], boxes[i]) for i in by_definition.greedy(boxes, chances, 0.7)]
        pool = sorted(pool, key=lambda item: -item[0])[:most]
        np.testing.assert_allclose(scores[image, : len(pool)], [item[0] for item in pool], atol=1e-5)
        np.testing.assert_allclose(received[image, : len(pool)], [item[1] for item in pool], atol=1e-3)
        assert not received[image, len(pool) :].any()


def test_a_draw():
    """No more positives than their share; negatives fill up; nothing is drawn twice, and not always the same."""
    rng = np.random.default_rng(0)
    positive = np.zeros((2, 200), bool)
    positive[0, rng.choice(200, 50, replace=False)] = True
    positive[1, 7] = True
    negative = ~positive & (rng.uniform(size=(2, 200)) < 0.8)
    found = Matches(np.zeros((2, 200), "int32"), positive, negative)
    index, drawn = (np.asarray(x) for x in draw(found, 40, 0.25, seed=3))
    assert drawn.all()
    for image, count in enumerate((10, 1)):
        assert len(set(index[image])) == 40
        assert positive[image, index[image, :count]].all()
        assert negative[image, index[image, count:]].all()
    assert set(np.asarray(draw(found, 40, 0.25, seed=4)[0])[0, :10]) != set(index[0, :10])
    few = Matches(np.zeros((1, 5), "int32"), np.eye(5, dtype=bool)[:1], np.eye(5, dtype=bool)[1:2])
    index, drawn = (np.asarray(x) for x in draw(few, 8, 0.5))
    np.testing.assert_array_equal(index[0, :2], [0, 1])
    np.testing.assert_array_equal(drawn[0], [True, True, False, False, False])


def test_the_proposals_losses():
    """With fewer anchors than are drawn, all of them count."""
    rng = np.random.default_rng(4)
    outputs = heads(rng, WIDTHS, ["P3"])
    boxes = np.array([[[2, 0, 60, 50], [5, 20, 64, 64]], [[10, 30, 64, 60], [0, 0, 0, 0]]], "float32")
    labels = np.array([[0, 2], [1, -1]], "int32")
    received = {k: float(v) for k, v in rpn_loss(outputs, boxes, labels, (SIDE, SIDE)).items()}
    all_anchors = anchors(RPN_ANCHORS, *geometry(outputs, SIDE, SIDE)).astype(float)
    of_object = of_box = 0.0
    drawn = 0
    for image in range(2):
        answers = matched(all_anchors, boxes[image, : int((labels[image] >= 0).sum())], 0.7, 0.3, 0.3)
        logits, deltas = flat(outputs, "object", image, 1)[:, 0], flat(outputs, "box", image, 4)
        used = answers != -2
        drawn += used.sum()
        of_object += entropy(answers >= 0, logits)[used].sum()
        for n in np.flatnonzero(answers >= 0):
            box, anchor = boxes[image, answers[n]].astype(float), all_anchors[n]
            sides, own = box[2:] - box[:2], anchor[2:] - anchor[:2]
            way = ((box[:2] + box[2:]) - (anchor[:2] + anchor[2:])) / 2 / own
            of_box += np.abs(np.concatenate([way, np.log(sides / own)]) - deltas[n]).sum()
    assert of_box > 0
    assert received == pytest.approx({"rpn_object": of_object / drawn, "rpn_box": of_box / drawn}, rel=1e-3)


def test_drawn_proposals():
    """The true boxes are proposals; half an overlap makes a positive; what only fills a place is not drawn."""
    boxes = np.array([[[0, 0, 20, 20], [40, 40, 60, 60]]], "float32")
    labels = np.array([[2, 0]], "int32")
    proposals = np.array([[[0, 0, 20, 12], [0, 0, 20, 8], [40, 41, 60, 60], [0, 0, 0, 0]]], "float32")
    drawn = draw_proposals(np.concatenate([proposals, boxes], axis=1), boxes, labels)
    assert float(keras.ops.sum(drawn.drawn)) == 5
    chosen = {tuple(box): i for i, box in enumerate(np.asarray(drawn.boxes)[0]) if np.asarray(drawn.drawn)[0, i]}
    expected = {(0, 0, 20, 12): 2, (40, 41, 60, 60): 0, (0, 0, 20, 20): 2, (40, 40, 60, 60): 0}
    for box, label in expected.items():
        assert np.asarray(drawn.positive)[0, chosen[box]] == 1
        assert np.asarray(drawn.labels)[0, chosen[box]] == label
        np.testing.assert_array_equal(np.asarray(drawn.truth)[0, chosen[box]], boxes[0, list(labels[0]).index(label)])
    assert np.asarray(drawn.positive)[0, chosen[(0, 0, 20, 8)]] == 0


def test_the_second_stage():
    """Classes, boxes of the class, and suppression, candidate by candidate; the background is the last class."""
    rng = np.random.default_rng(5)
    proposals = np.stack([by_definition.random_boxes(rng, 12, least=8.0) for _ in range(2)])
    proposals[1, 10:] = 0  # places that no proposal takes
    logits = rng.normal(0, 2, (24, 4)).astype("float32")
    deltas = rng.normal(0, 1, (24, 12)).astype("float32")
    layer = DetectInProposals((SIDE, SIDE), least_score=0.1, threshold=0.4, most=10)
    received = {k: np.asarray(v) for k, v in layer([proposals, logits, deltas]).items()}
    shares = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(-1, keepdims=True)
    for image in range(2):
        items = []
        for r in range(12 if image == 0 else 10):
            for label in range(3):
                box = decoded(
                    deltas[12 * image + r, 4 * label : 4 * label + 4][None],
                    proposals[image, r][None],
                    (0.1, 0.1, 0.2, 0.2),
                )[0]
                items.append((box, shares[12 * image + r, label], label))
        items = [item for item in items if item[1] > 0.1 and by_definition.size(item[0]) > 0]
        boxes, scores, labels = (np.array([item[i] for item in items]) for i in range(3))
        kept = by_definition.greedy(boxes, scores, 0.4, labels)[:10]
        np.testing.assert_allclose(received["scores"][image, : len(kept)], scores[kept], atol=1e-5)
        np.testing.assert_allclose(received["boxes"][image, : len(kept)], boxes[kept], atol=1e-3)
        np.testing.assert_array_equal(received["labels"][image, : len(kept)], labels[kept])


def test_masks_are_those_of_the_class():
    logits = np.random.default_rng(0).normal(size=(6, 4, 4, 3)).astype("float32")
    labels = np.array([[0, 2, 1], [1, 1, -1]], "int32")
    masks = np.asarray(MasksOfClasses()([logits, labels]))
    assert masks.shape == (2, 3, 4, 4)
    for image, number in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]:
        expected = by_definition.sigmoid(logits[3 * image + number, :, :, labels[image, number]])
        np.testing.assert_allclose(masks[image, number], expected, atol=1e-6)


@pytest.mark.parametrize(
    "layer", [Propose((64, 96), 50), RoiAlign((4, 8), 7), DetectInProposals((64, 96), most=7), MasksOfClasses()]
)
def test_layers_are_saved_with_a_model(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()


def tiny_backbone():
    """Four maps of eight channels."""
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.ConvNormAct(8, 3, strides=2, activation="relu", name="stem")(image)
    maps = {}
    for level in range(2, 6):
        x = layers.ConvNormAct(8, 3, strides=2, activation="relu", name=f"stage{level - 1}")(x)
        maps[f"P{level}"] = x
    return keras.Model(image, maps, name="tiny")


@pytest.mark.slow
def test_all_losses_of_a_panoptic_model():
    """They fall together when a batch is learnt by heart, and reach every weight."""
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    model = PanopticFPN(tiny_backbone(), things=2, stuff=2, width=24, hidden=16, proposals=16, most=4)
    stages = Stages.of(model)
    boxes = np.array([[[4, 4, 40, 44], [30, 34, 62, 62]], [[10, 2, 50, 30], [0, 0, 0, 0]]], "float32")
    labels = np.array([[0, 1], [1, -1]], "int32")
    masks, semantic = np.zeros((2, 2, SIDE, SIDE), bool), np.zeros((2, SIDE, SIDE), "int32")
    images = np.random.default_rng(0).normal(0, 0.3, (2, SIDE, SIDE, 3)).astype("float32")
    for image, number in [(0, 0), (0, 1), (1, 0)]:
        x0, y0, x1, y1 = boxes[image, number].astype(int)
        masks[image, number, y0:y1, x0:x1] = True
        semantic[image, y0:y1, x0:x1] = 2
        images[image, y0:y1, x0:x1, labels[image, number]] += 2
    semantic[:, :4] = 255  # nobody knows
    optimizer = keras.optimizers.Adam(3e-3)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            losses = panoptic_loss(stages, images, boxes, labels, masks, semantic, seed=1)
            total = tf.add_n(list(losses.values()))
        gradients = tape.gradient(total, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return losses, [tf.reduce_max(tf.abs(g)) for g in gradients]

    history = [step() for _ in range(15)]
    first, last = ({k: float(v) for k, v in history[i][0].items()} for i in (0, -1))
    assert set(first) == {"rpn_object", "rpn_box", "class", "box", "mask", "semantic"}
    assert all(value > 0 for value in first.values())
    assert sum(last.values()) < 0.8 * sum(first.values()), (first, last)
    reached = {v.path: float(g) for v, g in zip(model.trainable_variables, history[-1][1], strict=True)}
    assert [path for path, size in reached.items() if not size > 0] == []
    outputs = model(images)
    assert outputs["masks"].shape == (2, 4, 28, 28)
    assert outputs["semantic"].shape == (2, SIDE // 4, SIDE // 4, 3)
