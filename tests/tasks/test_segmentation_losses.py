import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from keras_effvit.tasks.samples import IGNORE
from keras_effvit.tasks.segmentation_losses import pixel_cross_entropy, segmentation_loss

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 3, (2, 4, 6, 5)).astype(np.float32)
TARGETS = RANDOM.integers(0, 5, (2, 4, 6)).astype(np.int32)
TARGETS[0, :2] = IGNORE


def by_definition(targets, logits):
    """Minus the mean logarithm of what softmax gives the true class, over the pixels that have one."""
    known = targets != IGNORE
    return -log_softmax(logits.astype(np.float64), axis=-1)[known][np.arange(known.sum()), targets[known]].mean()


def test_the_mean_over_labelled_pixels():
    assert float(pixel_cross_entropy(TARGETS, LOGITS)) == pytest.approx(by_definition(TARGETS, LOGITS), rel=1e-6)


def test_what_is_ignored_teaches_nothing():
    changed = LOGITS.copy()
    changed[0, :2] = 1e4
    assert float(pixel_cross_entropy(TARGETS, changed)) == float(pixel_cross_entropy(TARGETS, LOGITS))
    nothing = np.full_like(TARGETS, IGNORE)
    assert float(pixel_cross_entropy(nothing, LOGITS)) == 0


def test_half_precision_is_summed_in_single():
    loss = pixel_cross_entropy(TARGETS, keras.ops.cast(LOGITS, "float16"))
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert float(loss) == pytest.approx(by_definition(TARGETS, LOGITS.astype(np.float16)), rel=1e-5)


def test_coarse_logits_are_resized_to_the_targets():
    """A map twice as wide as high, doubled by hand with half-pixel centres: weights 1/4 and 3/4, edges held."""
    coarse = RANDOM.normal(0, 3, (1, 1, 2, 3)).astype(np.float32)
    left, right = coarse[0, 0]
    fine = np.stack([left, 0.75 * left + 0.25 * right, 0.25 * left + 0.75 * right, right])[None, None].repeat(2, 1)
    targets = np.array([[[0, 1, 2, 0], [1, 1, IGNORE, 2]]], np.int32)
    assert float(pixel_cross_entropy(targets, coarse)) == pytest.approx(by_definition(targets, fine), rel=1e-6)


def test_a_helper_counts_less():
    auxiliary = LOGITS[..., ::-1]
    losses = segmentation_loss({"logits": LOGITS, "auxiliary": auxiliary}, TARGETS)
    assert float(losses["pixels"]) == pytest.approx(by_definition(TARGETS, LOGITS), rel=1e-6)
    assert float(losses["auxiliary"]) == pytest.approx(0.4 * by_definition(TARGETS, auxiliary), rel=1e-6)
    assert list(segmentation_loss(LOGITS, TARGETS)) == ["pixels"]
    with pytest.raises(ValueError, match=r"Received: \['P3_class'\]"):
        segmentation_loss({"P3_class": LOGITS}, TARGETS)
