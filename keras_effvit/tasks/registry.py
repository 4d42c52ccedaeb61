"""The catalogue of dense models: the rows of the papers' tables, and how to create one by name."""

import fnmatch
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from keras_effvit.weights.official import download, published_task


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """One row of a paper's table.

    Attributes:
        id: the registry's name.
        build: the constructor.
        options: what makes it this row: the backbone, as a rule.
        image: height and width that the MACs are for.
        params_m: parameters in millions, as printed.
        gmacs: multiply-accumulates in billions, as printed.
    """

    id: str
    build: Callable[..., keras.Model]
    options: Mapping[str, Any] = field(default_factory=dict)
    image: tuple[int, int] = (512, 512)
    params_m: float | None = None
    gmacs: float | None = None


_rows: dict[str, TaskRow] = {}


def register(*rows: TaskRow) -> None:
    """Enters rows into the catalogue.

    Args:
        *rows: of a module of dense models.
    """
    _rows.update((row.id, row) for row in rows)


def list_tasks(pattern: str = "*") -> list[str]:
    """Names of the dense models that match a shell pattern.

    Args:
        pattern: such as `"*_semantic_fpn"`.

    Example:
        >>> list_tasks("sepvit*semantic_fpn")
        ['sepvit_tiny_semantic_fpn', 'sepvit_small_semantic_fpn', 'sepvit_base_semantic_fpn']
    """
    return [name for name in _rows if re.match(fnmatch.translate(pattern), name)]


def task_row(name: str) -> TaskRow:
    """What is known of a dense model.

    Args:
        name: one of `list_tasks()`.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in _rows:
        raise ValueError(f"Unknown dense model. Expected one of {list_tasks()}. Received: {name!r}")
    return _rows[name]


def create_task(
    name: str, /, *, weights: str | Path | None = None, accept_license: bool = False, **options: Any
) -> keras.Model:
    """Creates a dense model by its name in the catalogue.

    Args:
        name: one of `list_tasks()`.
        weights: `"official"` for the authors' own, which are downloaded once, or the path of a file of weights.
        accept_license: that you keep to the licence of official weights that are not free for every use.
        **options: what its constructor takes; by default it is as its paper has it.

    Raises:
        ValueError: for an unknown name or option, or weights that are not there or do not fit.
        ConnectionError: if official weights could not be downloaded.

    Example:
        >>> create_task("lvt_segformer", classes=4, input_shape=(256, 320, 3)).output_shape
        (None, 256, 320, 4)
    """
    row = task_row(name)
    if weights == "official":
        weights = download(published_task(name), accept_license=accept_license)
    return row.build(**{"name": name, "weights": weights, **row.options, **options})
