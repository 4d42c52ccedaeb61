"""A run that is to be: what it was given, whether that fits together, and its data."""

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from keras_effvit.lite.graph import scales_pixels
from keras_effvit.models.registry import evaluation_of, list_models
from keras_effvit.preprocessing import Evaluation
from keras_effvit.training.batches import evaluation_batches, steps_per_epoch, training_batches
from keras_effvit.training.images import Images
from keras_effvit.training.runs import data_facts, plain
from keras_effvit.training.scale import Place, per_replica, place_in, replicas_of

if TYPE_CHECKING:
    from keras_effvit.training.recipe import Recipe

#: What the crop leaves of the short side, where a model's authors say nothing.
CROP = 224 / 256


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is decided beside the recipe; `Recipe.fit` explains it."""

    epochs: int
    batch_size: int
    seed: int = 0
    accumulate: int = 1
    resume: bool = True
    verbose: int | str = "auto"

    def __post_init__(self):
        for name in ("epochs", "batch_size", "accumulate"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be a positive integer. Received: {name}={getattr(self, name)!r}")


@dataclass(frozen=True)
class Job:
    """All that `Recipe.fit` was given."""

    recipe: "Recipe"
    model: keras.Model
    train: Images
    val: Images | None
    settings: Settings
    folder: Path | None = None
    teacher: keras.Model | None = None
    strategy: Any = None

    def __post_init__(self):
        shape, classes = _input_shape(self.model), self.model.output_shape
        if len(shape) != 4 or None in shape[1:] or shape[1] != shape[2] or shape[3] != 3:
            raise ValueError(
                f"Expected a model of square images of a known size. Received: {self.model.name} of {shape[1:]}"
            )
        if tuple(classes) != (None, len(self.train.classes)):
            raise ValueError(
                f"Expected a model with {len(self.train.classes)} classes, those of the images. "
                f"Received: {self.model.name} with outputs {classes}"
            )
        if self.val is not None and self.val.classes != self.train.classes:
            raise ValueError(
                f"Expected validation images of the classes {_few(self.train.classes)}. "
                f"Received: {_few(self.val.classes)}"
            )
        if self.teacher is not None and (_input_shape(self.teacher)[1:], self.teacher.output_shape) != (
            shape[1:],
            classes,
        ):
            raise ValueError(
                f"Expected a teacher from {shape[1:]} to {classes[1:]}, like the model. "
                f"Received: one from {_input_shape(self.teacher)[1:]} to {self.teacher.output_shape[1:]}"
            )
        parts = replicas_of(self.strategy) * self.settings.accumulate
        if self.settings.batch_size % parts:
            raise ValueError(
                f"`batch_size` must be a multiple of {parts}, devices times `accumulate`. "
                f"Received: batch_size={self.settings.batch_size}"
            )
        _ = self.steps

    @cached_property
    def place(self) -> Place:
        """Which worker this process is."""
        return place_in(self.strategy)

    @property
    def steps(self) -> int:
        """Updates in an epoch."""
        return steps_per_epoch(self.train, self.settings.batch_size)

    @property
    def size(self) -> int:
        """Side of the model's images."""
        return _input_shape(self.model)[1] or 0

    @property
    def evaluation(self) -> Evaluation:
        """How validation images are prepared."""
        if self.model.name in list_models():
            return evaluation_of(self.model.name, self.size)
        return Evaluation(self.size, round(self.size / CROP))

    @property
    def plan(self) -> dict[str, Any]:
        """What decides the result."""
        settings = asdict(self.settings)
        types = {layer.compute_dtype for layer in self.model._flatten_layers() if layer.weights}
        facts = {
            "model": self.model.name,
            "input": list(_input_shape(self.model)[1:]),
            "weights": self.model.count_params(),
            "precision": sorted(types - {None}),
            "teacher": None if self.teacher is None else self.teacher.name,
            "recipe": asdict(self.recipe),
            "settings": {name: settings[name] for name in ("epochs", "batch_size", "seed", "accumulate")},
            "train": data_facts(self.train),
            "val": None if self.val is None else data_facts(self.val),
        }
        return plain(facts)

    @property
    def _scale(self) -> bool:
        return not scales_pixels(self.model)

    def training_data(self, first_epoch: int) -> Any:
        """Batches for this worker's devices, without end.

        Args:
            first_epoch: where to begin.
        """
        batches = training_batches(
            self.train,
            size=self.size,
            batch_size=self.settings.batch_size,
            augment=self.recipe.augment,
            seed=self.settings.seed,
            first_epoch=first_epoch,
            scale=self._scale,
            shard=(self.place.worker, self.place.workers),
        )
        return per_replica(self.strategy, batches, self.settings.batch_size // replicas_of(self.strategy))

    def validation_data(self) -> tf.data.Dataset:
        """Images, labels and weights, which are 1: all of them."""
        return self._weighted((0, 1))

    def shared_validation_data(self) -> tuple[Any, int | None]:
        """This worker's part for its devices, and in how many steps all have seen everything.

        Every device must get as many batches as the others, so there are some of weight 0.
        """
        assert self.val is not None
        if self.strategy is None:
            return self.validation_data(), None
        place = self.place
        local = replicas_of(self.strategy) // place.workers
        steps = -(-len(self.val) // (place.workers * self._evaluated * local))
        nothing = tf.zeros((1, self.size, self.size, 3)), tf.zeros((1, len(self.val.classes))), tf.zeros(1)
        batches = self._weighted((place.worker, place.workers))
        padded = batches.concatenate(tf.data.Dataset.from_tensors(nothing).repeat()).take(steps * local).repeat()
        return self.strategy.distribute_datasets_from_function(lambda _: padded), steps

    def _weighted(self, shard: tuple[int, int]) -> tf.data.Dataset:
        assert self.val is not None
        batches = evaluation_batches(
            self.val, evaluation=self.evaluation, batch_size=self._evaluated, scale=self._scale, shard=shard
        )
        return batches.map(lambda x, y: (x, y, tf.ones(tf.shape(y)[0])))

    @property
    def _evaluated(self) -> int:
        """Images that a device measures at once."""
        return self.settings.batch_size // replicas_of(self.strategy)

    def statistics_data(self) -> tf.data.Dataset:
        """Whole batches of training images, prepared as for evaluation."""
        wanted = min(self.recipe.statistics_images, len(self.train))
        part = min(self.part, wanted)
        return self.prepared(self.some(wanted), part).take(wanted // part)

    def prepared(self, numbers: np.ndarray, batch_size: int = 8) -> tf.data.Dataset:
        """Some training images, prepared as for evaluation.

        Args:
            numbers: of the images.
            batch_size: images at a time.
        """
        return evaluation_batches(
            self.train.subset(numbers), evaluation=self.evaluation, batch_size=batch_size, scale=self._scale
        )

    def some(self, count: int) -> np.ndarray:
        """Numbers of training images, drawn by the seed.

        Args:
            count: how many, if there are so many.
        """
        return np.random.default_rng(self.settings.seed).permutation(len(self.train))[:count]

    @property
    def part(self) -> int:
        """Images that go through a device at once."""
        return self.settings.batch_size // (replicas_of(self.strategy) * self.settings.accumulate)


def _input_shape(model: keras.Model) -> tuple[int | None, ...]:
    if len(getattr(model, "inputs", None) or ()) != 1:
        raise ValueError(f"Expected a functional model with one input. Received: {model.name}")
    return tuple(model.inputs[0].shape)


def _few(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''} ({len(names)})"
