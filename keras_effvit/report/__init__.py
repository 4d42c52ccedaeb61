"""Measurements as records, tables, pictures and a page."""

from importlib import import_module
from typing import Any

#: Where each name comes from. They are fetched when used: the devices need the records alone, without what draws.
_PLACES = {
    "Comparison": "comparison",
    "compare": "comparison",
    "build": "building",
    "markdown": "table",
    "print_run": "table",
    "Run": "records",
    "Series": "records",
    "Round": "records",
    "Operator": "records",
    "Device": "records",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"keras_effvit.report has no {name!r}")
    return getattr(import_module(f"keras_effvit.report.{_PLACES[name]}"), name)
