"""What an app needs to know of a file, inside the file: labels, preprocessing, where it comes from, how it was made.

It is one buffer of JSON under a name of its own; runtimes pass over metadata they do not know.
"""

import json
from pathlib import Path
from typing import Any

from keras_effvit.lite.child import LiteError
from keras_effvit.lite.flatfile import pack, unpack
from keras_effvit.lite.inspection import inspect

NAME = "keras_effvit"


def attach_metadata(content: bytes, facts: dict[str, Any]) -> bytes:
    """The file with the facts inside; those that were there before are replaced.

    Args:
        content: a file.
        facts: plain data.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = unpack(content)
    model.metadata = model.metadata or []
    entry = next((item for item in model.metadata if item.name in (NAME, NAME.encode())), None)
    if entry is None:
        entry = schema.MetadataT()
        entry.name = NAME.encode()
        entry.buffer = len(model.buffers)
        model.buffers.append(schema.BufferT())
        model.metadata.append(entry)
    model.buffers[entry.buffer].data = json.dumps(facts, sort_keys=True).encode()
    return pack(model)


def wants_scaled(facts: dict[str, Any]) -> bool:
    """Whether images must be scaled before they go into a file; one that does not say is taken to want it.

    Args:
        facts: of `read_metadata`.
    """
    return facts.get("preprocessing", {"mean": True})["mean"] is not None


def read_metadata(model: bytes | str | Path) -> dict[str, Any]:
    """The facts inside a file of ours.

    Args:
        model: a file's content or path.

    Returns:
        The facts; empty for a file that is not of ours.

    Raises:
        LiteError: if it is no file the runtime can run, or the facts are damaged.

    Example:
        >>> read_metadata("model.tflite")["precision"]
        'int8'
    """
    content = model if isinstance(model, bytes) else Path(model).read_bytes()
    found = inspect(content)  # verified by the runtime, in a process of its own, before it is read here
    if NAME not in found.metadata:
        return {}
    from ai_edge_litert import schema_py_generated as schema

    buffer = schema.Model.GetRootAs(content, 0).Buffers(found.metadata[NAME])
    try:
        return json.loads(buffer.DataAsNumpy().tobytes())
    except (ValueError, AttributeError) as error:
        raise LiteError(f"Expected facts as JSON. Received: a damaged buffer: {error}") from error
