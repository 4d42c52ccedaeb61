"""What loading a checkpoint did, to look at and to read."""

from dataclasses import dataclass

#: What is said about entries that were not simply loaded.
_EXPLANATIONS = {
    "missing": "not in the file, left as they were",
    "unexpected": "in the file, without a place in the model",
    "resized": "resized to the model's window grid",
    "skipped": "of another number of classes, or to be skipped: the model's own were kept",
    "reshaped": "of another rank",
    "ignored": "without weights of this model",
}


@dataclass(frozen=True, kw_only=True)
class WeightReport:
    """What became of every entry.

    Attributes:
        matched: checkpoint entries that are now in the model.
        missing: entries the model needs and the checkpoint does not hold; these weights are unchanged.
        unexpected: entries the checkpoint holds and the model has no place for.
        resized: matched entries that were resized: SepViT's window tokens, when the grids differ.
        skipped: entries of the classifier that were left out.
        reshaped: matched entries whose rank differs (1x1 convolutions that are linear layers here).
        ignored: counters, index tables, and what a model without head or a dense one leaves out.
        wrapper: the keys under which the entries were found, from the outside in: `("model",)`.
        prefix: what stood before every name: `"module."`.
        names: whose names they are, such as `"lightvit"` or `"Keras"`.
        settings: what was set on the model's layers because the weights ask for it.
        source: the file, if there is one.
        licence: of the authors' weights, where the names are theirs; a file of your own training is yours.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    resized: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    reshaped: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    wrapper: tuple[str, ...] = ()
    prefix: str = ""
    names: str = ""
    settings: tuple[str, ...] = ()
    source: str | None = None
    licence: str | None = None

    def __str__(self) -> str:
        where = [
            f"from {self.source}" if self.source else "",
            f"under {'/'.join(self.wrapper)!r}" if self.wrapper else "",
            f"with prefix {self.prefix!r}" if self.prefix else "",
        ]
        lines = [" ".join(filter(None, [f"{len(self.matched)} entries loaded", *where]))]
        for kind, explanation in _EXPLANATIONS.items():
            names = getattr(self, kind)
            if names:
                lines.append(f"{len(names)} {kind} ({explanation}): {some(names)}")
        lines += [f"set: {setting}" for setting in self.settings]
        if self.licence:
            lines.append(f"licence of the authors' weights: {self.licence}")
        return "\n".join(lines)


def some(names: tuple[str, ...], most: int = 5) -> str:
    """The first of many names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
