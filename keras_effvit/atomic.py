"""Writing files so that a name never stands for half of one."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path to write to, and renames it when that went well.

    Whatever happens, a crash or a power cut included, `path` is the old file or the new one.

    Args:
        path: where the file is to be. Its suffix is also that of the temporary one.

    Example:
        >>> with replacing("model.keras") as temporary:
        ...     model.save(temporary)
    """
    path = Path(path)
    suffix = "".join(path.suffixes[-2:])
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        temporary = Path(folder) / f"new{suffix}"
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)


def write_json(path: str | Path, facts: Any) -> None:
    """Writes facts for people and programs to read, all of them or none.

    Args:
        path: of the file.
        facts: what JSON knows.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n")
