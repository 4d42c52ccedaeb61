"""For griffe: what our docstrings call `Example:` is what it calls `Examples:`, code with its output."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Renames the section, so that prompts are code and not quotations."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called by griffe for everything that it finds."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
