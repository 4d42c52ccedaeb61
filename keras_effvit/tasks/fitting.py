"""Trains a segmenter, a detector or a two-stage model on scenes, with Keras' own loop and optimizer."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_effvit.lite.graph import scales_pixels
from keras_effvit.tasks.batches import Kind, SceneBatches, targets_of
from keras_effvit.tasks.changes import Change
from keras_effvit.tasks.detection_losses import yolox_loss
from keras_effvit.tasks.samples import IGNORE, Scenes
from keras_effvit.tasks.segmentation_losses import segmentation_loss
from keras_effvit.tasks.two_stage_losses import Stages, scenes_loss
from keras_effvit.training.callbacks import StopOnNaN
from keras_effvit.training.schedule import cosine, undecayed

#: A model's outputs, a batch's targets, whether it is trained -> losses by name, to be added up.
Loss = Callable[[Any, Any, bool], Mapping[str, Any]]
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
        seen: of the student's layers, what the loss is of; all by default.

    Example:
        >>> learner = DenseLearner(model, lambda outputs, y, training: segmentation_loss(outputs, y))
        >>> learner.compile("adamw")
    """

    def __init__(
        self,
        student: keras.Model,
        loss: Loss,
        metrics: tuple[keras.metrics.Metric, ...] = (),
        seen: keras.Model | None = None,
    ):
        super().__init__(name=f"{student.name}_learner")
        self.student = student
        self._seen = seen or student
        self._loss_of = loss
        self._parts: dict[str, keras.metrics.Mean] = {}
        self._own = list(metrics)
        self.built = True

    def call(self, inputs, training=False):
        return self._seen(inputs, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        losses = self._loss_of(y_pred, y, training)
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
    learner = DenseLearner(model, lambda outputs, y, training: segmentation_loss(outputs, y), metrics)
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
    learner = DenseLearner(model, lambda outputs, y, training: loss(outputs, y["boxes"], y["labels"], size))
    data = _data(model, train, val, "boxes", batch_size, change or Change(flip=0.5, scale=(0.5, 1.5)), seed)
    return _fit(learner, *data, epochs, (learning_rate, weight_decay), verbose)


def fit_two_stage(
    model: keras.Model,
    train: Scenes,
    val: Scenes | None = None,
    *,
    epochs: int,
    batch_size: int = 8,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    change: Change | None = None,
    seed: int = 0,
    verbose: int | str = "auto",
) -> keras.callbacks.History:
    """Trains a model that proposes boxes and looks into them, in place.

    Args:
        model: of `MaskRCNN` or `PanopticFPN`, for the scenes' classes.
        train: scenes with boxes and masks, and for `PanopticFPN` semantic maps; they are scaled and cut to the model's
            size.
        val: scenes to measure the loss on after every epoch; what is drawn of their proposals does not change.
        epochs: how often to see every scene.
        batch_size: scenes in a batch. Each has up to 512 proposals, which take more memory than the images.
        learning_rate: as of `fit_segmenter`.
        weight_decay: as of `fit_segmenter`.
        change: as of `fit_detector`.
        seed: of order, changes and the proposals that are drawn.
        verbose: as of `keras.Model.fit`.

    Raises:
        ValueError: if the model or the scenes do not fit.
        TrainingError: if the loss is no number.

    Example:
        >>> model = tasks.PanopticFPN("lvt", things=6, stuff=4, input_shape=(128, 128, 3), proposals=100)
        >>> fit_two_stage(model, drawn_scenes(1000), epochs=10)
    """
    _size_of(model)
    stages = Stages.of(model)
    kind: Kind = "everything" if stages.stuff else "masks"
    for scenes in (train, val):
        if scenes is not None:
            _check_two_stage(model.name, stages, scenes, kind)
    draws = keras.random.SeedGenerator(seed)
    learner = DenseLearner(
        model,
        # With one draw for all validation, its losses can be compared, and training is the same with and without.
        lambda first, y, training: scenes_loss(stages, first, y, draws if training else seed),
        seen=stages.first,
    )
    data = _data(model, train, val, kind, batch_size, change or Change(flip=0.5, scale=(0.5, 1.5)), seed)
    return _fit(learner, *data, epochs, (learning_rate, weight_decay), verbose)


def _check_two_stage(name: str, stages: Stages, scenes: Scenes, kind: Kind) -> None:
    """Raises ValueError unless the scenes have what the model learns, as far as their first one tells."""
    things = len(scenes.classes)
    if stages.things != things:
        raise ValueError(
            f"Expected a model of the scenes' {things} classes of things. Received: {name} of {stages.things}"
        )
    if stages.stuff and not (
        scenes.semantic_classes[:things] == scenes.classes and len(scenes.semantic_classes) == things + stages.stuff
    ):
        raise ValueError(
            f"Expected scenes whose semantic classes are the {things} of things and then the {stages.stuff} of stuff "
            f"of {name}. Received: {scenes.semantic_classes}"
        )
    if len(scenes):
        targets_of([scenes[0]], kind, most=1)


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
    # What is made while a step is traced has it traced again: half a minute for a detector of two stages.
    optimizer.build(learner.trainable_variables)
    callbacks: list[Any] = [StopOnNaN()]
    return learner.fit(train, validation_data=val, epochs=epochs, callbacks=callbacks, verbose=verbose, shuffle=False)


def _size_of(model: keras.Model) -> tuple[int, int]:
    shape = model.inputs[0].shape
    if len(model.inputs) != 1 or len(shape) != 4 or None in shape[1:]:
        raise ValueError(f"Expected a model of images of a known size. Received: {model.name} of {shape}")
    return shape[1], shape[2]
