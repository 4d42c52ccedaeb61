"""Views of a classifier that share its layers: its logits, and the tokens that LVT classifies too."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_effvit.layers.class_attention import ClassToken, TokenHeads
from keras_effvit.layers.conv import OverlapPatchEmbedding
from keras_effvit.layers.mix_token import MixToken, UnmixTokens
from keras_effvit.models.lvt import BOX_SCALE

#: The logarithm of a softmax that came out as 0.
SMALLEST = 1e-7


def logits_of(model: keras.Model) -> keras.Model:
    """A model that ends in the logits, whatever the model ends in.

    Args:
        model: a functional classifier that ends in logits or a softmax.

    Raises:
        ValueError: if it is nothing of that kind.
    """
    try:
        output = model.output
        operation, node, _ = output._keras_history
    except AttributeError as error:
        raise ValueError(
            f"Expected a functional model with one output. Received: {model.name}, a {type(model).__name__}"
        ) from error
    if len(output.shape) != 2:
        raise ValueError(f"Expected a model that classifies, (batch, classes). Received: {model.name}, {output.shape}")
    kind, activation = type(operation).__name__, getattr(operation, "activation", None)
    if kind == "Softmax" or (kind == "Activation" and activation is keras.activations.softmax):
        return keras.Model(model.inputs[0], operation._inbound_nodes[node].input_tensors[0], name=model.name)
    if activation is keras.activations.softmax:
        # A softmax's logarithm is the logits but for a constant in every row, which a softmax forgets again.
        return keras.Model(model.inputs[0], ops.log(ops.maximum(output, SMALLEST)), name=model.name)
    if activation is None or activation is keras.activations.linear:
        return model
    raise ValueError(
        f"Expected a model that ends in logits or a softmax. Received: {model.name}, which ends in "
        f"{activation.__name__}"
    )


@dataclass(frozen=True, eq=False)
class TokenView:
    """LVT as it trains with token labels: a box of every image is exchanged, and every token is classified.

    Attributes:
        before: from the image to the map whose boxes MixToken exchanges.
        after: from there to the tokens and to the last map.
        heads: that classify tokens.
        mix: exchanges boxes.
        unmix: gives the tokens back.
    """

    before: keras.Model
    after: keras.Model
    heads: TokenHeads
    mix: MixToken
    unmix: UnmixTokens

    def __call__(self, x: Any) -> dict[str, Any]:
        """The outputs of a model with `training_outputs=True`, for images (b, height, width, 3)."""
        mixed, box = self.mix(self.before(x, training=True), training=True)
        tokens, grid = self.after(mixed, training=True)
        logits = ops.reshape(self.heads.head(tokens[:, :1]), (-1, self.heads.classes))
        aux_logits = self.unmix(self.heads.aux_head(tokens[:, 1:]), box, grid, training=True)
        return {"logits": logits, "aux_logits": aux_logits, "box": box}


def token_view(model: keras.Model, seed: int) -> TokenView | None:
    """The view of a model that classifies its tokens, of which there is only LVT; `None` of any other.

    Args:
        model: a functional model.
        seed: of MixToken.
    """
    kinds = {type(layer): layer for layer in reversed(model.layers)}  # of each, the first
    if not {OverlapPatchEmbedding, ClassToken, TokenHeads} <= set(kinds):
        return None
    embedding, class_token, heads = (kinds[kind] for kind in (OverlapPatchEmbedding, ClassToken, TokenHeads))
    return TokenView(
        keras.Model(model.inputs[0], embedding.output),
        keras.Model(embedding.output, [heads.input, class_token.input]),
        heads,
        MixToken(BOX_SCALE, seed=seed),
        UnmixTokens(),
    )
