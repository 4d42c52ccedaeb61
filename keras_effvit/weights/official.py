"""The authors' own weights: where they are, under which licence, and how they come here in one piece."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import keras

from keras_effvit.models.spec import ModelSpec
from keras_effvit.weights.formats import read_checkpoint
from keras_effvit.weights.matching import state_dicts
from keras_effvit.weights.pickle_machine import CheckpointError

#: A mirror of the files below; their names are appended to it.
MIRROR_VARIABLE = "KERAS_EFFVIT_WEIGHTS_URL"
#: A server that sends nothing for as many seconds is given up.
PATIENCE_S = 60.0

_LIGHTVIT = "https://github.com/hunto/LightViT/releases/download/v0.0.1/lightvit_"
_EFFICIENTVIT = "https://huggingface.co/han-cai/efficientvit-cls/resolve/main/efficientvit_"
_EFFICIENTVIT_SEG = "https://huggingface.co/han-cai/efficientvit-seg/resolve/main/"
_LVT = "https://livejohnshopkins-my.sharepoint.com/:u:/g/personal/cyang76_jh_edu/"


@dataclass(frozen=True)
class Published:
    """A file of official weights.

    Attributes:
        url: where the authors keep it.
        licence: what it may be used for.
        file: its name.
        free: whether the licence allows every use.
    """

    url: str
    file: str
    licence: str = "Apache-2.0"
    free: bool = True


def _released(base: str, name: str) -> Published:
    return Published(base + name, (base + name).rpartition("/")[2])


def _of_lvt(link: str, file: str) -> Published:
    licence = "Adobe Source Code License, non-commercial research and evaluation only"
    return Published(f"{_LVT}{link}?download=1", file, licence, free=False)


#: By model, and by the side of the images it was trained on.
PUBLISHED = {
    "lightvit_tiny": {224: _released(_LIGHTVIT, "tiny_78.7.ckpt")},
    "lightvit_small": {224: _released(_LIGHTVIT, "small_80.9.ckpt")},
    "lightvit_base": {224: _released(_LIGHTVIT, "base_82.1.ckpt")},
    "efficientvit_b0": {224: _released(_EFFICIENTVIT, "b0_r224.pt")},
    "efficientvit_b1": {side: _released(_EFFICIENTVIT, f"b1_r{side}.pt") for side in (224, 256, 288)},
    "efficientvit_b2": {side: _released(_EFFICIENTVIT, f"b2_r{side}.pt") for side in (224, 256, 288)},
    "efficientvit_b3": {side: _released(_EFFICIENTVIT, f"b3_r{side}.pt") for side in (224, 256, 288)},
    "lvt": {224: _of_lvt("EfRiWkG1IHdCr1fMHcpv4AcBqnfqkrTVI7XVD-tom6Gwwg", "lvt_imagenet.pth.tar")},
}
#: Of dense models, by their names in the catalogue of `keras_effvit.tasks`.
PUBLISHED_TASKS = {
    **{
        name: _released(_EFFICIENTVIT_SEG, f"{name}.pt")
        for name in (
            *(f"efficientvit_seg_b{size}_cityscapes" for size in range(4)),
            *(f"efficientvit_seg_b{size}_ade20k" for size in range(1, 4)),
        )
    },
    "lvt_segformer": _of_lvt("ERCKoFH80EREtzvmeTklq6MBa-Iw5nX9IM7w5lwFsW6UjA", "segformer_lvt_ade20k.pth"),
    "lvt_panoptic_fpn": _of_lvt("ESd4pNvGu1VGjJ14_XQ1ViABJldEqDmtEH5UAGmBSbm-pA", "panoptic_fpn_lvt_fpn_coco.pth"),
}
#: What to do where nothing was published.
INSTEAD = {
    "sepvit": "its authors published no weights. Train the model, or give `weights` the path of a checkpoint of theirs",
    "efficientvit_base": (
        "neither code nor weights of the paper's first version were published. Train the model, or take the released "
        'family: `EfficientViTB0(weights="official")` to `EfficientViTB3`'
    ),
    "lvt_large": "no weights of this size were published. Train the model, or take `LVT`",
}


def published(spec: ModelSpec, side: int | None) -> Published:
    """The official file for a model.

    Args:
        spec: the model's row.
        side: of the images; the file trained on 224 where none was trained on this.

    Raises:
        ValueError: if there are no official weights, with what to do instead.
    """
    if spec.id not in PUBLISHED:
        reason = INSTEAD.get(spec.id) or INSTEAD.get(spec.id.partition("_")[0], "none were published")
        raise ValueError(f'`weights="official"` of {spec.id}: {reason}.')
    files = PUBLISHED[spec.id]
    return files.get(side or 224, files[224])


def published_task(name: str) -> Published:
    """The official file for a dense model.

    Args:
        name: in the catalogue of `keras_effvit.tasks`.

    Raises:
        ValueError: if there are no official weights, with the models that have some.
    """
    if name not in PUBLISHED_TASKS:
        raise ValueError(
            f'`weights="official"` of {name}: none were published, or nowhere that a program can fetch them from. '
            f"Train the model, give `weights` the path of a checkpoint, or take one of {', '.join(PUBLISHED_TASKS)}."
        )
    return PUBLISHED_TASKS[name]


def download(file: Published, *, accept_license: bool = False) -> Path:
    """The path of an official file in the cache, downloaded when it is not there yet.

    The cache is `models/keras_effvit` below `KERAS_HOME`, or `~/.keras`. A file gets its name there once it is whole
    and could be read. The environment variable `KERAS_EFFVIT_WEIGHTS_URL` names a mirror.

    Args:
        file: what to download.
        accept_license: needed where the licence does not allow every use.

    Raises:
        ValueError: if the licence has to be accepted, or what came is no checkpoint.
        ConnectionError: if the file could not be had, or not all of it.
    """
    if not file.free and not accept_license:
        raise ValueError(
            f"The official weights {file.file} are under another licence than this package: {file.licence}. "
            "Pass `accept_license=True` if you keep to it."
        )
    folder = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models" / "keras_effvit"
    final = folder / file.file
    if not final.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(final)
        partial = _fetch(file, final)
        try:
            if not any(True for _ in state_dicts(read_checkpoint(partial).content)):
                raise CheckpointError(f"Expected weights. Received: {file.file} without any arrays")
        except CheckpointError as error:
            partial.unlink()
            raise CheckpointError(f"What came from {_url(file)} is not usable: {error}. {_by_hand(file)}") from error
        os.replace(partial, final)
    if keras.config.is_interactive_logging_enabled():
        print(f"{file.file}: official weights, licence {file.licence}")
    return final


def _fetch(file: Published, final: Path) -> Path:
    """Downloads to a name of its own."""
    partial, url = f"{final.name}.{os.getpid()}.part", _url(file)
    try:
        with _patience():
            return Path(
                keras.utils.get_file(
                    partial,
                    url,
                    cache_dir=str(final.parents[2]),
                    cache_subdir="models/keras_effvit",
                    force_download=True,
                )
            )
    except Exception as error:  # what Keras raises for any failure
        raise ConnectionError(f"Could not download {file.file}: {error}. {_by_hand(file)}") from error


def _url(file: Published) -> str:
    mirror = os.environ.get(MIRROR_VARIABLE)
    if not mirror:
        return file.url
    if urlsplit(mirror).scheme not in ("http", "https"):
        raise ValueError(f"{MIRROR_VARIABLE} must start with http:// or https://. Received: {mirror!r}")
    return f"{mirror.rstrip('/')}/{file.file}"


def _by_hand(file: Published) -> str:
    return f"You can download {file.url} yourself and pass the path as `weights`."


def _remove_leftovers(final: Path) -> None:
    """Deletes what processes that no longer live had downloaded."""
    for leftover in final.parent.glob(f"{final.name}.*.part"):
        owner = leftover.name.split(".")[-2]
        if not (owner.isdigit() and _lives(int(owner))):
            leftover.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    if os.name != "posix":  # where signal 0 is no question; better a file too many than another's download gone
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def _patience() -> Iterator[None]:
    """Lets connections that say nothing fail; `get_file` has no argument for it."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
