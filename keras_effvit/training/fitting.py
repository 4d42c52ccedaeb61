"""`Recipe.fit`: puts learner, data and callbacks together, goes on where a process stopped, writes what came of it."""

import datetime
import shutil
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_effvit.atomic import replacing
from keras_effvit.training.callbacks import Checkpoint, KeepBest, Recorder, StopOnNaN, writing
from keras_effvit.training.errors import TrainingError
from keras_effvit.training.job import Job
from keras_effvit.training.learner import Learner, draws_of
from keras_effvit.training.runs import Run, read_run, versions
from keras_effvit.training.scale import agreed, losing_workers, replicas_of, share
from keras_effvit.training.statistics import reestimate

RUN, BEST, LAST, CLASSES, CHECKPOINT = "run.json", "best.keras", "last.keras", "classes.txt", "checkpoint"


def fit(job: Job) -> keras.callbacks.History:
    """What `Recipe.fit` does.

    Args:
        job: what it was given.
    """
    run = _begin(job)
    if agreed(job.strategy, int(run.finished is not None)):
        return _load_finished(job, run)
    with nullcontext() if job.strategy is None else job.strategy.scope():
        learner = make_learner(job)
    recorder = Recorder(run, _path(job, RUN), learner.optimizer)
    checkpoint = None if job.folder is None else Checkpoint(job.folder / CHECKPOINT, learner, chief=job.place.chief)
    first = agreed(job.strategy, 0 if checkpoint is None or not job.place.chief else checkpoint.restore())
    share(job.strategy, [*learner.variables, *learner.optimizer.variables])
    validation, validation_steps = (None, None) if job.val is None else job.shared_validation_data()
    with losing_workers(job.strategy):
        learner.fit(
            job.training_data(first),
            validation_data=validation,
            validation_steps=validation_steps,
            initial_epoch=first,
            epochs=job.settings.epochs,
            steps_per_epoch=job.steps,
            callbacks=_callbacks(job, learner, recorder, checkpoint),
            shuffle=False,
            verbose=job.settings.verbose if job.place.chief else 0,
        )
        _bring_home(job, learner)
        if job.place.chief:
            _finish(job, recorder)
        share(job.strategy, job.model.variables)  # and nobody leaves before the chief has written
    return _history(recorder.run)


def make_learner(job: Job) -> Learner:
    """The learner of a job, compiled and built, under the strategy that is in scope.

    Args:
        job: of the run.
    """
    student, teacher = (_under(job.strategy, model) for model in (job.model, job.teacher))
    seed = job.settings.seed
    _seed_draws(student, seed)
    learner = Learner(student, job.recipe, teacher=teacher, accumulate=job.settings.accumulate, seed=seed)
    optimizer: Any = job.recipe.optimizer(
        learner.trainable_variables,
        steps_per_epoch=job.steps,
        epochs=job.settings.epochs,
        batch_size=job.settings.batch_size,
    )
    if any(layer.compute_dtype == "float16" for layer in student._flatten_layers()):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    # Keras' own choice of XLA is for one device.
    learner.compile(optimizer, jit_compile="auto" if job.strategy is None else False)
    learner.optimizer.build(learner.trainable_variables)
    return learner


def _under(strategy: Any, model: keras.Model | None) -> Any:
    """The model itself, or one with the same weights on all devices, whose norms see the whole batch."""
    if strategy is None or model is None:
        return model
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    for layer in copy._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
    return copy


def _seed_draws(model: keras.Model, seed: int) -> None:
    """Lets the layers that draw random numbers begin where the seed says."""
    generators = draws_of(model)
    seeds = np.random.default_rng(seed).integers(2**31 - 1, size=len(generators))
    for generator, own in zip(generators, seeds, strict=True):
        generator.state.assign([int(own), 0])


def _callbacks(job: Job, learner: Learner, recorder: Recorder, checkpoint: Checkpoint | None) -> list[Any]:
    callbacks: list[Any] = [StopOnNaN()]
    path = _path(job, BEST)
    if path is not None and job.val is not None:

        def save() -> None:
            _bring_home(job, learner)
            _save(job.model, path)

        callbacks.append(KeepBest(recorder, save))
    if job.recipe.ema is not None:
        callbacks.append(keras.callbacks.SwapEMAWeights())
    return [*callbacks, recorder, *([checkpoint] if checkpoint is not None else [])]


def _begin(job: Job) -> Run:
    """The run that the folder holds, or a new one."""
    fresh = Run(
        plan=job.plan,
        versions=versions(),
        started=_now(),
        skipped=tuple(map(asdict, job.train.skipped)),
        devices={"workers": job.place.workers, "replicas": replicas_of(job.strategy)},
    )
    path = _path(job, RUN)
    if path is None:
        return fresh
    _sweep(path.parent)
    if job.settings.resume and path.exists():
        run = read_run(path)
        _check_same(path, run.plan, fresh.plan)
        return run
    with writing(path):
        shutil.rmtree(path.parent / CHECKPOINT, ignore_errors=True)
        for name in (RUN, BEST, LAST):
            (path.parent / name).unlink(missing_ok=True)
        with replacing(path.parent / CLASSES) as temporary:
            temporary.write_text("".join(f"{name}\n" for name in job.train.classes))
        fresh.save(path)
    return fresh


def _sweep(folder: Path) -> None:
    """Deletes what a process was writing when it was killed."""
    for name in (RUN, BEST, LAST, CLASSES, f"{CHECKPOINT}/latest.weights.h5"):
        path = folder / name
        for leftover in path.parent.glob(f".{path.name}.*"):
            shutil.rmtree(leftover, ignore_errors=True)


def _check_same(path: Path, there: Any, here: Any) -> None:
    for key in dict.fromkeys([*there, *here]):
        old, new = there.get(key), here.get(key)
        if old != new:
            if isinstance(old, dict) and isinstance(new, dict):
                names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
                key, old, new = f"{key}'s {names[0]}", old.get(names[0]), new.get(names[0])
            raise TrainingError(
                f"Expected the run that {path} tells of, to go on with: {key} {old}. Received: {new}. "
                "Give another folder, or begin anew with `resume=False`"
            )


def _load_finished(job: Job, run: Run) -> keras.callbacks.History:
    """What there is to do for a run that is over: nothing but to load its weights."""
    path = _path(job, LAST)
    if path is not None:
        try:
            job.model.set_weights(keras.models.load_model(path, compile=False).get_weights())
        except (OSError, ValueError) as error:
            raise TrainingError(f"Expected the model of a run that is over. Received: {path}: {error}") from error
    share(job.strategy, job.model.variables)
    return _history(run)


def _bring_home(job: Job, learner: Learner) -> None:
    if learner.student is not job.model:
        job.model.set_weights(learner.student.get_weights())


def _finish(job: Job, recorder: Recorder) -> None:
    """Estimates statistics, measures, and writes; the checkpoint goes when all of it is done."""
    rows = recorder.run.epochs
    final = {name: value for name, value in rows[-1].metrics.items() if name.startswith("val_")} if rows else {}
    if job.recipe.statistics_images and reestimate(job.model, job.statistics_data()) and job.val is not None:
        final = {f"val_{name}": value for name, value in measure(job).items()}
    path = _path(job, LAST)
    if path is not None:
        _save(job.model, path)
    recorder.run = replace(recorder.run, final=final, finished=_now())
    recorder.save()
    if job.folder is not None:
        shutil.rmtree(job.folder / CHECKPOINT, ignore_errors=True)


def measure(job: Job) -> dict[str, float]:
    """Loss and accuracy of a job's model on its validation images.

    Args:
        job: of the run.
    """
    learner = Learner(job.model, job.recipe)
    learner.compile(jit_compile=False)
    return {
        name: float(value)
        for name, value in learner.evaluate(job.validation_data(), verbose=0, return_dict=True).items()
    }


def _save(model: keras.Model, path: Path) -> None:
    with writing(path), replacing(path) as temporary:
        model.save(temporary)


def _path(job: Job, name: str) -> Path | None:
    """Where the chief writes; nobody else does."""
    return job.folder / name if job.folder is not None and job.place.chief else None


def _history(run: Run) -> keras.callbacks.History:
    history: Any = keras.callbacks.History()
    history.history, history.epoch = run.history(), list(range(len(run.epochs)))
    return history


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
