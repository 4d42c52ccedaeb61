"""Multi-head softmax attention as plain functions.

Legend: `b` batch (or batch * windows), `n m` queries and keys, `heads`, `d` channels of a head.
"""

from keras import ops

from keras_effvit.layers.lowerings import chosen
from keras_effvit.layers.recording import record


def check_heads(channels: int, heads: int) -> None:
    """Raises ValueError unless the channels split evenly over the heads."""
    if channels % heads:
        raise ValueError(f"`num_heads` must divide the channels. Received: num_heads={heads}, channels={channels}")


def split_heads(x, heads: int):
    """(b, n, heads * d) -> (b, heads, n, d)."""
    tokens, channels = ops.shape(x)[1:]
    return ops.transpose(ops.reshape(x, (-1, tokens, heads, channels // heads)), (0, 2, 1, 3))


def merge_heads(x):
    """(b, heads, n, d) -> (b, n, heads * d)."""
    _, heads, tokens, width = ops.shape(x)
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, tokens, heads * width))


def attention_weights(q, k, bias=None):
    """`softmax(q k^T / sqrt(d) + bias)` of (b, heads, n, d) and (b, heads, m, d) -> (b, heads, n, m)."""
    scores = ops.matmul(q * q.shape[-1] ** -0.5, ops.transpose(k, (0, 1, 3, 2)))
    if scores.shape[-1] == 1:
        return ops.ones_like(scores)  # what softmax says of a single key, without Keras' warning about it
    return ops.softmax(scores if bias is None else scores + bias, axis=-1)


def attend(q, k, v, bias=None, *, kind: str = "softmax"):
    """Softmax attention of split heads -> (b, heads, n, d), recorded as of a kind."""
    weights = attention_weights(q, k, bias)
    record(kind, weights)
    if weights.shape[-1] == 1 and chosen("one_key") == "product":
        return weights * v
    return ops.matmul(weights, v)


def multi_head_attention(q, k, v, heads: int, bias=None, *, kind: str = "softmax"):
    """Softmax attention of `heads` heads of (b, n, c) over (b, m, c) -> (b, n, c), recorded as of a kind."""
    return merge_heads(attend(*(split_heads(x, heads) for x in (q, k, v)), bias=bias, kind=kind))
