"""The optimizer: AdamW, what it leaves undecayed, and its learning rate over a run."""

from collections.abc import Iterable

import keras


def cosine(
    peak: float, steps: int, *, final: float = 0.0, warmup_steps: int = 0, start: float = 0.0
) -> keras.optimizers.schedules.LearningRateSchedule:
    """A learning rate that rises in a line from `start` to `peak`, then falls along half a cosine to `final`.

    The cosine begins where the warm-up ends. (timm's begins at step 0, so that its rate drops a little at the end of
    the warm-up: to 99.7 % of the peak after 5 of 300 epochs.)

    Args:
        peak: the highest rate.
        steps: of the whole run.
        final: the rate after the last step.
        warmup_steps: how many steps it rises.
        start: the rate of the first step.

    Raises:
        ValueError: if the warm-up leaves no step.

    Example:
        >>> rate = cosine(1e-3, 100, warmup_steps=10)
        >>> [float(rate(step)) for step in (0, 10, 55, 100)]
        [0.0, 0.001, 0.0005, 0.0]
    """
    if not 0 <= warmup_steps < steps:
        raise ValueError(f"`warmup_steps` must be at least 0 and below {steps}. Received: warmup_steps={warmup_steps}")
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=start if warmup_steps else peak,
        decay_steps=steps - warmup_steps,
        alpha=final / peak if peak else 0.0,
        warmup_target=peak if warmup_steps else None,
        warmup_steps=warmup_steps,
    )


def undecayed(variables: Iterable[keras.Variable], names: Iterable[str] = ()) -> list[keras.Variable]:
    """The weights that weight decay leaves alone: all with one axis, such as biases and norms, and those named.

    Args:
        variables: a model's weights.
        names: of weights with more axes, such as `"token"`.
    """
    kept = set(names)
    return [variable for variable in variables if len(variable.shape) <= 1 or variable.name in kept]


@keras.saving.register_keras_serializable("keras_effvit")
class AdamW(keras.optimizers.AdamW):
    """Keras' AdamW for gradients that are the same on every replica already.

    Keras clips gradients before it adds them up over replicas, each to the whole threshold. Our training step adds them
    up first, so that the norm is that of the whole batch, and this optimizer does not do it again.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return list(grads_and_vars)
