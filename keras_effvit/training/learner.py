"""The model that `fit` trains: a student, perhaps a teacher, and what a recipe makes of their outputs.

Keras 3.15 trains under `tf.distribute.MirroredStrategy`, but clips gradients before they are added up and cannot
accumulate them; under `MultiWorkerMirroredStrategy` its `fit` fails in its first step (keras issue 20585). The learner
stays a `keras.Model` with Keras' loop, callbacks, metrics and optimizers, and brings the two things that are missing:
a training step, and what runs a step on every replica.
"""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_effvit.training import losses
from keras_effvit.training.heads import TokenView, logits_of, token_view

if TYPE_CHECKING:
    from keras_effvit.training.recipe import Recipe


class Learner(keras.Model):
    """Trains a student's own layers.

    Args:
        student: a classifier, which learns.
        recipe: loss, smoothing, tokens and what a teacher counts.
        teacher: a classifier, which does not.
        accumulate: in how many parts a batch goes through the student.
        seed: of MixToken.

    Example:
        >>> learner = Learner(model, recipe_for("sepvit_lite"))
        >>> learner.compile(recipe.optimizer(learner.trainable_variables, steps_per_epoch=9, epochs=5, batch_size=64))
    """

    def __init__(
        self,
        student: keras.Model,
        recipe: "Recipe",
        *,
        teacher: keras.Model | None = None,
        accumulate: int = 1,
        seed: int = 0,
    ):
        super().__init__(name=f"{student.name}_learner", dtype="float32")
        self.student = student
        self.accumulate = accumulate
        self.accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
        #: Epochs that are over, kept with the weights so that both are of the same moment.
        self.epoch = self.add_weight(name="epoch", shape=(), dtype="int32", initializer="zeros", trainable=False)
        tokens = token_view(student, seed) if recipe.token_loss is not None and teacher is None else None
        self.mix_token = None if tokens is None else tokens.mix  # tracked for the state of its draws
        self._views = _Views(recipe, logits_of(student), tokens, None if teacher is None else logits_of(teacher))
        self.built = True

    def call(self, inputs, training=False):
        views = self._views
        if training and views.tokens is not None:
            return views.tokens(inputs)
        return views.logits(inputs, training=training)

    def losses_of(self, x: Any, y: Any, outputs: Any, *, training: bool) -> Any:
        """A number for every image.

        Args:
            x: images.
            y: labels, (b, classes), or token labels (b, classes, 2 + tokens).
            outputs: of `call`.
            training: whether smoothing, tokens and the teacher count.
        """
        recipe, views = self._views.recipe, self._views
        if not training:
            return losses.LOSSES[recipe.loss](y, outputs)
        y = losses.smooth(y, recipe.label_smoothing)
        if views.tokens is not None and recipe.token_loss is not None:
            return losses.token_labelling(y, outputs, dense_weight=recipe.token_loss)
        own = losses.LOSSES[recipe.loss](y, outputs)
        if views.teacher is None:
            return own
        known = ops.stop_gradient(views.teacher(x, training=False))
        weight = recipe.teacher_weight
        return (1 - weight) * own + weight * losses.distillation(known, outputs, recipe.temperature)

    def train_step(self, data):
        x, y = data
        strategy = self.distribute_strategy
        share = 1.0 / (self.accumulate * strategy.num_replicas_in_sync)
        gradients: list[Any] = []
        for x_part, y_part in zip(tf.split(x, self.accumulate), tf.split(y, self.accumulate), strict=True):
            with tf.control_dependencies(gradients):  # one part after the other, or all would be in memory at once
                x_part = tf.identity(x_part)
            parts = self._gradients(x_part, y_part, share)
            gradients = [a + b for a, b in zip(gradients, parts, strict=True)] if gradients else parts
        if strategy.num_replicas_in_sync > 1:
            gradients = tf.distribute.get_replica_context().all_reduce("SUM", gradients)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return self.get_metrics_result()

    def _gradients(self, x, y, share):
        with tf.GradientTape() as tape:
            outputs = self(x, training=True)
            each = self.losses_of(x, y, outputs, training=True)
            loss = ops.mean(each)
            total = self.optimizer.scale_loss((loss + sum(self.losses)) * share)
        self._loss_tracker.update_state(loss, sample_weight=ops.shape(x)[0])
        truth = y if len(y.shape) == 2 else y[:, :, 0]
        self.accuracy.update_state(truth, outputs["logits"] if isinstance(outputs, dict) else outputs)
        variables = [variable.value for variable in self.trainable_variables]
        return tape.gradient(total, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def test_step(self, data):
        x, y, weight = data
        outputs = self(x, training=False)
        self._loss_tracker.update_state(self.losses_of(x, y, outputs, training=False), sample_weight=weight)
        self.accuracy.update_state(y, outputs, sample_weight=weight)
        return self.get_metrics_result()

    def make_train_function(self, force=False):
        if self._distribute_strategy is None:
            super().make_train_function(force)
        elif self.train_function is None or force:
            self.train_function = self._on_every_replica(self.train_step)

    def make_test_function(self, force=False):
        if self._distribute_strategy is None:
            super().make_test_function(force)
        elif self.test_function is None or force:
            self.test_function = self._on_every_replica(self.test_step)

    def _on_every_replica(self, step):
        """Keras' own averages the logs over workers, which fails for numbers; these are the first local replica's."""
        strategy = self.distribute_strategy

        @tf.function(reduce_retracing=True, autograph=False)
        def run(data):
            logs = strategy.run(step, args=(data,))
            return {name: strategy.experimental_local_results(value)[0] for name, value in logs.items()}

        return lambda iterator: run(next(iterator))

    def save_own_variables(self, store):
        """Keras saves no states of random numbers: who goes on from a checkpoint would draw others."""
        store["epoch"] = self.epoch.numpy()
        store["draws"] = np.array([generator.state.numpy() for generator in draws_of(self)]).reshape(-1, 2)

    def load_own_variables(self, store):
        self.epoch.assign(store["epoch"][()])
        for generator, state in zip(draws_of(self), store["draws"], strict=True):
            generator.state.assign(state)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Keras' averages a batch over workers to see its shape, which fails; all is built already."""


def draws_of(model: keras.Model) -> list[keras.random.SeedGenerator]:
    """Where a model's layers get their random numbers from, in the order of the layers.

    Args:
        model: any model.
    """
    values = (value for layer in model._flatten_layers() for value in vars(layer).values())
    return [value for value in values if isinstance(value, keras.random.SeedGenerator)]


class _Views:
    """What shares the student's layers, and the teacher: out of Keras' sight, or it would save and count them twice."""

    def __init__(self, recipe: "Recipe", logits: keras.Model, tokens: TokenView | None, teacher: keras.Model | None):
        self.recipe = recipe
        self.logits = logits
        self.tokens = tokens
        self.teacher = teacher
