"""Trains a segmenter or a detector on scenes, with Keras' own loop and optimizer."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_effvit.lite.graph import scales_pixels
from keras_effvit.tasks.batches import Kind, SceneBatches
from keras_effvit.tasks.changes import Change
from keras_effvit.tasks.detection_losses import yolox_loss
from keras_effvit.tasks.samples import IGNORE, Scenes
from keras_effvit.tasks.segmentation_losses import segmentation_loss
from keras_effvit.training.callbacks import StopOnNaN
from keras_effvit.training.schedule import cosine, undecayed

#: A model's outputs and a batch's targets -> losses by name, to be added up.
Loss = Callable[[Any, Any], Mapping[str, Any]]
#: Boxes and labels of detectors: outputs, boxes, labels, (height, width) -> losses by name.
BoxLoss = Callable[[Any, Any, Any, tuple[int, int]], Mapping[str, Any]]
#: Of a run's steps, how many the learning rate rises.
WARMUP = 0.05
#: Of all gradients together, as detectors are trained; one step never goes far.
CLIP = 5.0


class DenseLearner(keras.Model):
    """What Keras fits: a model, and losses of everything that it gives at once.

    Args:
        student: learns.
        loss: of its outputs and the targets.
        metrics: that look at targets and `"logits"`.

    Example:
        >>> learner = DenseLearner(model, segmentation_loss)
        >>> learner.compile("adamw")
    """

    def __init__(self, student: keras.Model, loss: Loss, metrics: tuple[keras.metrics.Metric, ...] = ()):
        super().__init__(name=f"{student.name}_learner")
        self.student = student
        self._loss_of = loss
        self._parts: dict[str, keras.metrics.Mean] = {}
        self._own = list(metrics)
        self.built = True

    def call(self, inputs, training=False):
        return self.student(inputs, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        losses = self._loss_of(y_pred, y)
        for name, value in losses.items():
            if name not in self._parts:
                self._parts[name] = keras.metrics.Mean(name=name)
            self._parts[name].update_state(value)
        return sum([*losses.values(), *self.student.losses])

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        logits = y_pred["logits"] if isinstance(y_pred, Mapping) and "logits" in y_pred else y_pred
        for metric in self._own:
            metric.update_state(y, logits)
        return self.get_metrics_result()

    @property
    def metrics(self):
        return [*super().metrics, *self._own]


def fit_segmenter(
    model: keras.Model,
    train: Scenes,
    val: Scenes | None = None,
    *,
    epochs: int,
    batch_size: int = 16,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    change: Change | None = None,
    seed: int = 0,
    verbose: int | str = "auto",
) -> keras.callbacks.History:
    """Trains a segmenter, in place.

    Args:
        model: of this package, of a known input size, that gives logits of the scenes' semantic classes.
        train: scenes with semantic maps; they are scaled and cut to the model's size.
        val: scenes to measure after every epoch.
        epochs: how often to see every scene.
        batch_size: scenes in a batch.
        learning_rate: the highest; it rises at first and then falls along a cosine.
        weight_decay: of AdamW, of whatever has more than one dimension.
        change: how scenes are varied; mirrored, and scaled from a half to two, if not given.
        seed: of order and changes.
        verbose: as of `keras.Model.fit`.

    Raises:
        ValueError: if the model does not fit the scenes.
        TrainingError: if the loss is no number.

    Example:
        >>> model = tasks.SegFormer("efficientvit_b0", classes=10, input_shape=(128, 128, 3))
        >>> fit_segmenter(model, drawn_scenes(1000), drawn_scenes(100, seed=1), epochs=10)
    """
    logits = model.output["logits"] if isinstance(model.output, Mapping) else model.output
    if logits.shape[-1] != len(train.semantic_classes):
        raise ValueError(
            f"Expected a model of the scenes' {len(train.semantic_classes)} semantic classes. "
            f"Received: {model.name} of {logits.shape[-1]}"
        )
    metrics = (
        (keras.metrics.MeanIoU(logits.shape[-1], ignore_class=IGNORE, sparse_y_pred=False, name="miou"),)
        if logits.shape[1:3] == model.inputs[0].shape[1:3]
        else ()
    )
    learner = DenseLearner(model, segmentation_loss, metrics)
    data = _data(model, train, val, "pixels", batch_size, change or Change(flip=0.5, scale=(0.5, 2.0)), seed)
    return _fit(learner, *data, epochs, (learning_rate, weight_decay), verbose)


def fit_detector(
    model: keras.Model,
    train: Scenes,
    val: Scenes | None = None,
    *,
    epochs: int,
    loss: BoxLoss = yolox_loss,
    batch_size: int = 16,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    change: Change | None = None,
    seed: int = 0,
    verbose: int | str = "auto",
) -> keras.callbacks.History:
    """Trains a detector of boxes, in place.

    Args:
        model: of this package, of a known input size, that gives raw heads.
        train: scenes with boxes; they are scaled and cut to the model's size.
        val: scenes to measure the loss on after every epoch.
        epochs: how often to see every scene.
        loss: that belongs to the heads: `yolox_loss` or `retinanet_loss`.
        batch_size: scenes in a batch.
        learning_rate: as of `fit_segmenter`.
        weight_decay: as of `fit_segmenter`.
        change: how scenes are varied; mirrored, and scaled from a half to 1.5, if not given.
        seed: of order and changes.
        verbose: as of `keras.Model.fit`.

    Raises:
        ValueError: if the model or the scenes do not fit.
        TrainingError: if the loss is no number.

    Example:
        >>> model = tasks.EfficientViTDet("efficientvit_b0", classes=6, input_shape=(128, 128, 3))
        >>> fit_detector(model, drawn_scenes(1000), epochs=10)
    """
    size = _size_of(model)
    learner = DenseLearner(model, lambda outputs, y: loss(outputs, y["boxes"], y["labels"], size))
    data = _data(model, train, val, "boxes", batch_size, change or Change(flip=0.5, scale=(0.5, 1.5)), seed)
    return _fit(learner, *data, epochs, (learning_rate, weight_decay), verbose)


def _data(
    model: keras.Model,
    train: Scenes,
    val: Scenes | None,
    kind: Kind,
    batch_size: int,
    change: Change,
    seed: int,
) -> tuple[SceneBatches, SceneBatches | None]:
    size, scale = _size_of(model), not scales_pixels(model)
    batches = SceneBatches(train, size, batch_size, kind=kind, change=change, seed=seed, scale=scale)
    return batches, None if val is None else SceneBatches(val, size, batch_size, kind=kind, scale=scale)


def _fit(
    learner: DenseLearner,
    train: SceneBatches,
    val: SceneBatches | None,
    epochs: int,
    rates: tuple[float, float],
    verbose: int | str,
) -> keras.callbacks.History:
    steps = epochs * len(train)
    optimizer = keras.optimizers.AdamW(
        cosine(rates[0], steps, warmup_steps=round(WARMUP * steps)), weight_decay=rates[1], global_clipnorm=CLIP
    )
    optimizer.exclude_from_weight_decay(var_list=undecayed(learner.trainable_variables, ()))
    learner.compile(optimizer)
    callbacks: list[Any] = [StopOnNaN()]
    return learner.fit(train, validation_data=val, epochs=epochs, callbacks=callbacks, verbose=verbose, shuffle=False)


def _size_of(model: keras.Model) -> tuple[int, int]:
    shape = model.inputs[0].shape
    if len(model.inputs) != 1 or len(shape) != 4 or None in shape[1:]:
        raise ValueError(f"Expected a model of images of a known size. Received: {model.name} of {shape}")
    return shape[1], shape[2]
