"""From one device to many: a strategy for the devices there are, and what its workers agree on."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from keras_effvit.training.errors import TrainingError

#: How long a worker waits for the others to come, in seconds.
PATIENCE_S = 300
#: What TensorFlow raises when a worker does not answer any more.
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)


@dataclass(frozen=True)
class Place:
    """Which of how many workers this process is; the first is the chief, who writes the files."""

    worker: int = 0
    workers: int = 1

    @property
    def chief(self) -> bool:
        """Whether this process writes."""
        return self.worker == 0


def strategy() -> tf.distribute.Strategy | None:
    """The strategy for where this process runs, to be called before anything else is done with TensorFlow.

    * Of several workers, which the environment variable `TF_CONFIG` names: `MultiWorkerMirroredStrategy`.
    * With several GPUs: `MirroredStrategy`.
    * Otherwise none.

    Raises:
        TrainingError: if the other workers do not come, or TensorFlow was in use before.

    Example:
        >>> strategy = keras_effvit.training.strategy()
        >>> recipe.fit(model, train, val, strategy=strategy)
    """
    if "worker" in json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster", {}):
        return _cluster()
    return tf.distribute.MirroredStrategy() if len(tf.config.list_physical_devices("GPU")) > 1 else None


def _cluster() -> tf.distribute.Strategy:
    from tensorflow.python.distribute.collective_all_reduce_strategy import CollectiveAllReduceExtended

    # TensorFlow waits for ever, and offers no argument.
    CollectiveAllReduceExtended._check_health_initial_timeout = PATIENCE_S
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        if "Timeout waiting" in str(error):
            workers = json.loads(os.environ["TF_CONFIG"])["cluster"]["worker"]
            raise TrainingError(f"Expected {len(workers)} workers at {workers}. Received: not all of them") from error
        if "at program startup" in str(error):
            raise TrainingError("Expected `strategy()` before anything else is done with TensorFlow") from error
        raise


def place_in(strategy: tf.distribute.Strategy | None) -> Place:
    """Which worker this process is.

    Args:
        strategy: of `strategy`.
    """
    resolver = None if strategy is None else strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return Place()
    return Place(resolver.task_id, len(resolver.cluster_spec().as_dict()["worker"]))


def replicas_of(strategy: tf.distribute.Strategy | None) -> int:
    """How many devices learn together, on all workers.

    Args:
        strategy: of `strategy`.
    """
    return 1 if strategy is None else strategy.num_replicas_in_sync


def share(strategy: tf.distribute.Strategy | None, variables: Iterable[keras.Variable]) -> None:
    """Gives the chief's values to all workers; all have to call it.

    Args:
        strategy: of `strategy`.
        variables: in the same order everywhere.
    """
    if place_in(strategy).workers == 1:
        return
    variables = list(variables)
    values = _of_chief(strategy, [tf.convert_to_tensor(variable.numpy()) for variable in variables])
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def agreed(strategy: tf.distribute.Strategy | None, number: int) -> int:
    """The chief's number, on all workers; all have to call it, and none goes on before all have.

    Args:
        strategy: of `strategy`.
        number: this worker's.
    """
    if place_in(strategy).workers == 1:
        return number
    return int(_of_chief(strategy, [tf.constant(number, tf.int64)])[0])


def _of_chief(strategy: Any, values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    def summed():
        context = tf.distribute.get_replica_context()
        first = tf.equal(context.replica_id_in_sync_group, 0)
        return context.all_reduce("SUM", [tf.where(first, value, tf.zeros_like(value)) for value in values])

    with losing_workers(strategy):
        return [strategy.experimental_local_results(value)[0] for value in strategy.run(summed)]


@contextmanager
def losing_workers(strategy: tf.distribute.Strategy | None) -> Iterator[None]:
    """Says it plainly when another worker is lost.

    Args:
        strategy: of `strategy`.
    """
    try:
        yield
    except LOST as error:
        if place_in(strategy).workers == 1:
            raise
        place = place_in(strategy)
        raise TrainingError(
            f"Worker {place.worker} of {place.workers} ends because another one is lost. "
            "What was written is kept: start all of them again and training goes on after the last whole epoch"
        ) from error


def per_replica(
    strategy: tf.distribute.Strategy | None, batches: tf.data.Dataset, batch_size: int
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """This worker's batches, cut for its devices.

    Args:
        strategy: of `strategy`.
        batches: of this worker.
        batch_size: of a device.
    """
    if strategy is None:
        return batches
    if place_in(strategy).workers < strategy.num_replicas_in_sync:
        batches = batches.rebatch(batch_size)
    return strategy.distribute_datasets_from_function(lambda _: batches)
