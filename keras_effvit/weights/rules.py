"""The name tables: where every weight of a Keras model stands in the authors' checkpoint.

A rule maps a layer's path in our model to the module's name in the checkpoint. `{i}` stands for a number on the left;
on the right it may be shifted, `{i-1}`, because our stages and blocks count from 1. A rule whose left side is the path
of a weight, not of a layer, names the whole checkpoint entry.
"""

import functools
import re
from dataclasses import dataclass

#: A layer's own variables, and what checkpoints call them.
LEAVES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


@dataclass(frozen=True)
class NameTable:
    """One family's names.

    Attributes:
        rules: our path -> checkpoint name, the first match counts.
        prefixes: what may stand before every name (the wrappers of dense code bases and of data parallelism).
        head: pattern of the entries that only a classifier needs, ignored by models built without the head.
        buffers: pattern of entries that hold no weight.
    """

    rules: dict[str, str]
    prefixes: tuple[str, ...] = ("", "module.", "backbone.")
    head: str = r"head\."
    buffers: str = r".*\.num_batches_tracked"

    def checkpoint_name(self, path: str) -> str | None:
        """The checkpoint's name of the weight at `path`, or `None` where no rule applies."""
        layer, _, leaf = path.rpartition("/")
        for ours, theirs in self.rules.items():
            for candidate, suffix in ((path, ""), (layer, f".{LEAVES.get(leaf, leaf)}")):
                match = _pattern(ours).fullmatch(candidate)
                if match:
                    return _fill(theirs, match.groupdict()) + suffix
        return None


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    # Odd parts are the placeholders' names.
    return re.compile("".join(f"(?P<{p}>\\d+)" if i % 2 else re.escape(p) for i, p in enumerate(parts)))


def _fill(template: str, numbers: dict[str, str]) -> str:
    def number(match: re.Match[str]) -> str:
        return str(int(numbers[match[1]]) + int(match[2] or 0))

    return re.sub(r"\{(\w+?)([+-]\d+)?\}", number, template)


SEPVIT = NameTable(
    rules={
        "stage{s}_patch_embed/proj": "patch_embeds.{s-1}.proj",
        "stage{s}_patch_embed/norm": "patch_embeds.{s-1}.norm",
        "stage{s}_position/proj": "pos_block.{s-1}.proj.0",
        "stage{s}_block{b}_attn/token": "blocks.{s-1}.{b-1}.win_tokens",
        "stage{s}_block{b}_attn/norm": "blocks.{s-1}.{b-1}.norm1",
        "stage{s}_block{b}_attn/dsa/qkv": "blocks.{s-1}.{b-1}.attn.DSA_qkv",
        "stage{s}_block{b}_attn/psa/norm": "blocks.{s-1}.{b-1}.attn.win_tokens_norm",
        "stage{s}_block{b}_attn/psa/qk": "blocks.{s-1}.{b-1}.attn.PSA_qk",
        "stage{s}_block{b}_attn/summary": "blocks.{s-1}.{b-1}.attn.win_tokens_conv",
        "stage{s}_block{b}_attn/proj": "blocks.{s-1}.{b-1}.attn.proj",
        "stage{s}_block{b}_norm": "blocks.{s-1}.{b-1}.norm2",
        "stage{s}_block{b}_mlp/fc1": "blocks.{s-1}.{b-1}.mlp.fc1",
        "stage{s}_block{b}_mlp/fc2": "blocks.{s-1}.{b-1}.mlp.fc2",
        "stage{s}_norm": "norm_list.{s-1}",
        "norm": "norm",
        "head": "head",
    },
    head=r"(norm|head)\.",
)

TABLES = {"sepvit": SEPVIT}
