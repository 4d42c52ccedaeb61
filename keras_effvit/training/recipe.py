"""Training recipes: a row of figures for every paper, and what can be done with one."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import keras

from keras_effvit.lite.graph import Graph
from keras_effvit.training.augment import Augment
from keras_effvit.training.images import Images
from keras_effvit.training.schedule import AdamW, cosine, undecayed

#: Images as they are, but for the crop to a square.
UNCHANGED = Augment()
#: The papers' runs are counted in epochs of this many images.
IMAGENET = 1_281_167


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained; `dataclasses.replace` changes a figure.

    Attributes:
        name: of the recipe.
        epochs: of a whole run.
        batch_size: the batch that the three rates are for; with another one they grow and shrink like it.
        learning_rate: the highest, which half a cosine takes down to `final_rate`.
        final_rate: after the last step.
        warmup_rate: of the first step.
        warmup_epochs: how long the rate rises in a line; the same share of a run of other length.
        weight_decay: of AdamW, times the rate.
        undecayed: names of weights without it, beside all that have one axis, such as biases and norms.
        clip: largest norm of all gradients together, or `None`.
        ema: momentum of the weights' moving average, which is what gets evaluated and kept, or `None`. In a run of
            other length it averages over the same share of the steps.
        loss: `"softmax"` cross-entropy, or `"sigmoid"`: every class a question of its own.
        label_smoothing: share of a label that all classes get alike.
        token_loss: weight of the loss of LVT's tokens, which turns MixToken on; `None` learns from the class token
            alone, as models without classified tokens and students of a teacher do in any case.
        drop_path: stochastic depth to create the model with, or `None` for what its paper prints; `fit` takes a model
            as it is.
        augment: what happens to images.
        statistics_images: on how many images the statistics of batch normalisation are estimated anew at the end.
        teacher_weight: what the distance to a teacher counts, of 1; the labels are the rest.
        temperature: of that distance, the Kullback-Leibler divergence; `None` for the squared difference of the logits.

    Raises:
        ValueError: if a figure is out of its range.

    Example:
        >>> recipe = replace(recipe_for("sepvit_lite"), weight_decay=0.1)
        >>> history = recipe.fit(SepViTLite(classes=10), train, val, epochs=10, folder="run")
    """

    name: str
    epochs: int = 300
    batch_size: int = 1024
    learning_rate: float
    final_rate: float
    warmup_rate: float
    warmup_epochs: float
    weight_decay: float
    undecayed: tuple[str, ...] = ()
    clip: float | None = None
    ema: float | None = None
    loss: Literal["softmax", "sigmoid"] = "softmax"
    label_smoothing: float = 0.1
    token_loss: float | None = None
    drop_path: float | None = None
    augment: Augment = UNCHANGED
    statistics_images: int = 0
    teacher_weight: float = 0.5
    temperature: float | None = 1.0

    def __post_init__(self):
        for name in ("epochs", "batch_size"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be a positive integer. Received: {name}={getattr(self, name)!r}")
        for name in ("final_rate", "warmup_rate", "warmup_epochs", "weight_decay", "statistics_images"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"`{name}` must not be negative. Received: {name}={getattr(self, name)}")
        for name in ("learning_rate", "clip", "token_loss", "temperature"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive. Received: {name}={getattr(self, name)}")
        for name in ("ema", "label_smoothing", "teacher_weight", "drop_path"):
            if not 0 <= (getattr(self, name) or 0) <= 1:
                raise ValueError(f"`{name}` must be between 0 and 1. Received: {name}={getattr(self, name)}")
        if self.loss not in ("softmax", "sigmoid"):
            raise ValueError(f'`loss` must be "softmax" or "sigmoid". Received: loss={self.loss!r}')

    def fine_tune(self) -> "Recipe":
        """The row for few epochs from trained weights.

        The rate is 2e-4 for a batch of 64, a fifth or less of the papers' highest, and what makes 300 epochs possible
        would only hide the few images there are: no RandAugment, erasing, mixing or token labels, larger crops. Decay,
        clipping, smoothing, loss and the moving average stay.
        """
        return replace(
            self,
            name=f"{self.name}-fine-tune",
            epochs=30,
            batch_size=64,
            learning_rate=2e-4,
            final_rate=1e-6,
            warmup_rate=1e-6,
            warmup_epochs=3,
            token_loss=None,
            augment=self.augment.gentle(),
        )

    def quantized(self) -> "Recipe":
        """The row for few epochs of training for integers.

        Rounded weights follow only in small steps: with 1e-4 for a batch of 64 a model comes closer to what it was in
        float, with ten times as much it is lost. The distance to the teacher's logits counts the recipe's own
        `teacher_weight`, half: alone it asks for more than rounded activations can give, and the labels say which of
        the differences matter.
        """
        return replace(
            self.fine_tune(),
            name=f"{self.name}-quantized",
            epochs=4,
            learning_rate=1e-4,
            final_rate=0.0,
            warmup_rate=0.0,
            warmup_epochs=0,
            weight_decay=0.0,
            ema=None,
            loss="softmax",
            label_smoothing=0.0,
            statistics_images=0,
            temperature=None,
        )

    def optimizer(
        self, variables: Iterable[keras.Variable], *, steps_per_epoch: int, epochs: int, batch_size: int
    ) -> AdamW:
        """The recipe's AdamW for a run.

        Args:
            variables: that are to be trained.
            steps_per_epoch: updates in an epoch.
            epochs: of the run.
            batch_size: images of an update, those of all workers and of all accumulated parts together.
        """
        steps, scale = steps_per_epoch * epochs, batch_size / self.batch_size
        warmup_steps = min(round(self.warmup_epochs * epochs / self.epochs * steps_per_epoch), steps - 1)
        optimizer = AdamW(
            cosine(
                self.learning_rate * scale,
                steps,
                final=self.final_rate * scale,
                warmup_steps=warmup_steps,
                start=self.warmup_rate * scale,
            ),
            weight_decay=self.weight_decay,
            global_clipnorm=self.clip,
            use_ema=self.ema is not None,
            ema_momentum=self.momentum(steps) if self.ema is not None else 0.99,
        )
        optimizer.exclude_from_weight_decay(var_list=undecayed(variables, self.undecayed))
        return optimizer

    def momentum(self, steps: int) -> float:
        """The moving average's in a run, whose weights it averages over the same share of steps as in the paper's.

        Args:
            steps: of the run.
        """
        if self.ema is None:
            raise ValueError(f"Expected a recipe with a moving average. Received: {self.name} with ema=None")
        paper = self.epochs * IMAGENET / self.batch_size
        return max(0.0, 1.0 - (1.0 - self.ema) * paper / steps)

    def fit(
        self,
        model: keras.Model,
        train: Images,
        val: Images | None = None,
        *,
        epochs: int | None = None,
        batch_size: int = 64,
        folder: str | Path | None = None,
        seed: int = 0,
        teacher: keras.Model | None = None,
        accumulate: int = 1,
        strategy: Any = None,
        resume: bool = True,
        verbose: int | str = "auto",
    ) -> keras.callbacks.History:
        """Trains a model by this recipe; its weights are then the last, or their moving average.

        With a folder, an epoch that is over stays: the same call goes on after it, whatever ended the process, and
        comes to the same weights. (On a GPU, only under `tf.config.experimental.enable_op_determinism`.) It writes

        * `run.json` after every epoch: recipe, data, versions, metrics, times;
        * `best.keras`, the model after the epoch that was best on `val`, and `last.keras` at the end;
        * `classes.txt`, and while it lasts `checkpoint/`, all that is needed to go on.

        Args:
            model: a classifier with one input, a fixed size and a class for each of the images'; logits or a softmax.
            train: images to learn from.
            val: images to measure on after every epoch.
            epochs: of the whole run; the recipe's if not given.
            batch_size: images of an update, on all workers and devices together.
            folder: where to write; nothing is written if not given.
            seed: decides order, augmentation, stochastic depth and MixToken.
            teacher: a model with the same input and classes, whose logits or probabilities to learn from too.
            accumulate: in how many parts an update's images go through the model, if they do not fit at once.
            strategy: of `keras_effvit.training.strategy`, for several devices or workers.
            resume: whether to go on with an earlier run in `folder`, if there is one; it is overwritten if not.
            verbose: of Keras' `fit`.

        Returns:
            Keras' history, of the epochs of earlier processes too.

        Raises:
            TrainingError: a ValueError, if the loss is no number, something cannot be written, a worker is lost, or
                `folder` holds another run. What was written before is still there.
            ValueError: if arguments do not fit.
        """
        from keras_effvit.training.fitting import fit
        from keras_effvit.training.job import Job, Settings

        settings = Settings(
            epochs=self.epochs if epochs is None else epochs,
            batch_size=batch_size,
            seed=seed,
            accumulate=accumulate,
            resume=resume,
            verbose=verbose,
        )
        return fit(Job(self, model, train, val, settings, None if folder is None else Path(folder), teacher, strategy))

    def finetune_quantized(
        self,
        model: keras.Model,
        train: Images,
        val: Images | None = None,
        *,
        epochs: int = 4,
        precision: str = "int8",
        batch_size: int = 64,
        learning_rate: float | None = None,
        folder: str | Path | None = None,
        seed: int = 0,
        strategy: Any = None,
        resume: bool = True,
        verbose: int | str = "auto",
    ) -> Graph:
        """Trains a copy of a model for integers: it learns the labels, and to answer as the model does in float.

        Weights and activations are rounded as `lite.convert` will, the statistics of batch normalisation stay as they
        are, and `convert` needs no images for the result. The figures are those of `quantized`; where the labels are
        not to be trusted, give the recipe a `teacher_weight` of 1.

        Args:
            model: a trained classifier, which stays as it is.
            train: images to learn from, and to see the ranges of activations on.
            val: images to measure on.
            epochs: of the run.
            precision: whose rounding, `"int8"` or `"int8_full"`.
            batch_size: images of an update.
            learning_rate: the highest, for this batch size; 1e-4 for 64 images, and like the batch, if not given.
            folder: where to write, as of `fit`.
            seed: as of `fit`.
            strategy: as of `fit`.
            resume: as of `fit`.
            verbose: as of `fit`.

        Returns:
            A graph that rounds.

        Raises:
            LiteError: if the precision rounds nothing.
            TrainingError: as of `fit`.

        Example:
            >>> graph = recipe.finetune_quantized(model, train, val)
            >>> keras_effvit.lite.convert(graph).save("model.tflite")
        """
        from keras_effvit.training.finetuning import finetune_quantized
        from keras_effvit.training.job import Job, Settings

        recipe = self.quantized()
        if learning_rate is not None:
            recipe = replace(recipe, learning_rate=learning_rate, batch_size=batch_size)
        settings = Settings(epochs=epochs, batch_size=batch_size, seed=seed, resume=resume, verbose=verbose)
        folder = None if folder is None else Path(folder)
        return finetune_quantized(Job(recipe, model, train, val, settings, folder, None, strategy), precision)
