"""A class token that gathers what a map knows (CaiT, VOLO), and the two heads that read the tokens (LVT).

Legend: `b` batch, `n` tokens of a map, `1 + n` with the class token in front, `c = heads * d` channels.
LVT takes both from VOLO (Yuan et al. 2021), and that the second from token labelling (Jiang et al. 2021).
"""

import keras
from keras import ops

from keras_effvit.layers.heads import check_heads, multi_head_attention
from keras_effvit.layers.initializers import narrow_normal
from keras_effvit.layers.mlp import Mlp, linear
from keras_effvit.layers.norm import LayerNorm
from keras_effvit.layers.recording import attending
from keras_effvit.layers.registration import Composite, serializable
from keras_effvit.layers.windows import flatten_map

#: What the most certain of the other tokens adds to the class token's logits.
AUXILIARY_WEIGHT = 0.5


@serializable
class ClassToken(keras.layers.Layer):
    """Flattens a map to tokens in row-major order and puts a learned token before them.

    Example:
        >>> ClassToken()(keras.ops.ones((1, 7, 7, 256))).shape
        (1, 50, 256)
    """

    def build(self, input_shape):
        self.token = self.add_weight(name="token", shape=(1, 1, input_shape[-1]), initializer=narrow_normal())

    @attending  # of no attention, but it knows the map that the tokens were
    def call(self, inputs):
        tokens = flatten_map(inputs)
        return ops.concatenate([ops.zeros_like(tokens[:, :1]) + self.token, tokens], axis=1)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        tokens = None if height is None or width is None else 1 + height * width
        return batch, tokens, channels


@serializable
class ClassAttention(Composite):
    """What the first token learns from all tokens, itself among them: attention with a single query.

    Args:
        num_heads: number of heads; must divide the channels.

    Example:
        >>> ClassAttention(8)(keras.ops.ones((1, 50, 256))).shape
        (1, 1, 256)
    """

    def __init__(self, num_heads: int, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, input_shape):
        channels = input_shape[-1]
        check_heads(channels, self.num_heads)
        self.q = linear(channels, "q", use_bias=False)
        self.q.build(input_shape)
        self.kv = linear(2 * channels, "kv", use_bias=False)
        self.kv.build(input_shape)
        self.proj = linear(channels, "proj")
        self.proj.build(input_shape)

    @attending
    def call(self, inputs):
        k, v = ops.split(self.kv(inputs), 2, axis=-1)
        return self.proj(multi_head_attention(self.q(inputs[:, :1]), k, v, self.num_heads, kind="class"))

    def compute_output_shape(self, input_shape):
        return input_shape[0], 1, input_shape[-1]

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}


@serializable
class ClassAttentionBlock(Composite):
    """Class attention and an MLP for the class token; the other tokens pass unchanged.

    Args:
        num_heads: number of heads; must divide the channels.
        expansion: hidden channels of the MLP over its input's.

    Example:
        >>> ClassAttentionBlock(8)(keras.ops.ones((1, 50, 256))).shape
        (1, 50, 256)
    """

    def __init__(self, num_heads: int, expansion: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.expansion = expansion

    def build(self, input_shape):
        first = (input_shape[0], 1, input_shape[-1])
        self.norm1 = LayerNorm(name="norm1")
        self.norm1.build(input_shape)
        self.attn = ClassAttention(self.num_heads, name="attn")
        self.attn.build(input_shape)
        self.norm2 = LayerNorm(name="norm2")
        self.norm2.build(first)
        self.mlp = Mlp(self.expansion, name="mlp")
        self.mlp.build(first)

    def call(self, inputs):
        x = inputs[:, :1] + self.attn(self.norm1(inputs))
        x = x + self.mlp(self.norm2(x))
        return ops.concatenate([x, inputs[:, 1:]], axis=1)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads, "expansion": self.expansion}


@serializable
class TokenHeads(Composite):
    """Class logits from the class token and auxiliary logits from every other token.

    Args:
        classes: number of classes.
        fused: return one tensor, the score at inference: the class logits plus half of every class's largest auxiliary
            logit. Otherwise both, as training with token labels wants them.

    Example:
        >>> logits, aux_logits = TokenHeads(1000, fused=False)(keras.ops.ones((1, 50, 256)))
        >>> logits.shape, aux_logits.shape
        ((1, 1000), (1, 49, 1000))
    """

    def __init__(self, classes: int, *, fused: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.classes = classes
        self.fused = fused

    def build(self, input_shape):
        self.head = linear(self.classes, "head")
        self.head.build(input_shape)
        self.aux_head = linear(self.classes, "aux_head")
        self.aux_head.build(input_shape)

    def call(self, inputs):
        logits = ops.reshape(self.head(inputs[:, :1]), (-1, self.classes))
        aux_logits = self.aux_head(inputs[:, 1:])
        if not self.fused:
            return logits, aux_logits
        return logits + AUXILIARY_WEIGHT * ops.max(aux_logits, axis=1)

    def compute_output_shape(self, input_shape):
        batch, tokens, _ = input_shape
        logits = (batch, self.classes)
        return logits if self.fused else (logits, (batch, None if tokens is None else tokens - 1, self.classes))

    def get_config(self):
        return {**super().get_config(), "classes": self.classes, "fused": self.fused}
