"""What the engines on a phone leave there for the next session: files named by what is in them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from keras_effvit.device.errors import FileMissing

#: Where programs may run; everything in it is ours.
FOLDER = "/data/local/tmp/keras_effvit"
#: Seconds that the phone gets beyond a turn's own deadline.
GRACE = 30.0


def sha256(path: Path) -> str:
    """Of a file here, as `sha256sum` on the phone tells it.

    Args:
        path: of the file.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums(said: str) -> dict[str, str]:
    """What `sha256sum` printed, by file; what was not there is missing.

    Args:
        said: its output.
    """
    pairs = [line.split(maxsplit=1) for line in said.splitlines()]
    return {pair[1].strip(): pair[0] for pair in pairs if len(pair) == 2 and len(pair[0]) == 64}


def check_files(files: Mapping[str, Path]) -> None:
    """Refuses what is not there to be copied.

    Args:
        files: by name.

    Raises:
        FileMissing: if one is no file.
    """
    for path in files.values():
        if not Path(path).is_file():
            raise FileMissing(f"Expected a .tflite file. Received: {path}, which is none.", "Check the path.")
