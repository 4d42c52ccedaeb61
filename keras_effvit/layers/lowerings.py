"""Lowerings: different operators for the same function, chosen when a graph is traced, never a different model.

What is quick in Keras is not always what a phone's runtime takes whole; export picks its spellings here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: What can be spelled in several ways, and how; the first is what Keras runs.
CHOICES = {
    # LiteRT's one HARD_SWISH, quickest in float32 but outside XNNPACK in int8; or ADD(RELU6) and MUL, inside in both.
    "hard_swish": ("fused", "reassociated"),
    # A batched matmul, which TensorFlow differentiates a hundred times quicker on a CPU; or one grouped CONV_2D, which
    # XNNPACK runs up to three times quicker and takes in int8.
    "grouped": ("matmul", "convolution"),
    # In training for integers, divisors are held above zero by an operator; or not, where a file's writer does it.
    "divisors": ("floored", "bare"),
    # Keras' own; or, for constants only, a factor made by operations that all processors round alike.
    "batch_norm": ("keras", "exact"),
    # Attention to one key, whose weights are all one: a matmul, as of any number of keys, which XNNPACK does not take
    # with constant weights; or the product that it comes to.
    "one_key": ("matmul", "product"),
}

_chosen: ContextVar[dict[str, str] | None] = ContextVar("lowering", default=None)


def chosen(function: str) -> str:
    """The spelling in force for one of `CHOICES`."""
    return (_chosen.get() or {}).get(function, CHOICES[function][0])


@contextmanager
def lowering(**spellings: str) -> Iterator[None]:
    """Chooses how functions are spelled in every graph traced inside the block.

    Args:
        **spellings: for any of `CHOICES` one of its spellings; the others stay as they are.

    Raises:
        ValueError: for an unknown function or spelling.

    Example:
        >>> with lowering(hard_swish="reassociated", grouped="convolution"):
        ...     graph = tf.function(model).get_concrete_function(tf.TensorSpec((1, 224, 224, 3)))
    """
    for function, spelling in spellings.items():
        if spelling not in CHOICES.get(function, ()):
            raise ValueError(f"`lowering` takes any of {CHOICES}. Received: {function}={spelling!r}")
    token = _chosen.set({**(_chosen.get() or {}), **spellings})
    try:
        yield
    finally:
        _chosen.reset(token)
