"""Scenes from a folder of images and one of masks, whose pixels are classes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_effvit.tasks.problems import AnnotationError, Ledger, read_image
from keras_effvit.tasks.samples import IGNORE, Scene, Scenes

#: What may be in the two folders, in small letters.
IMAGES, MASKS = (".jpg", ".jpeg", ".png", ".bmp", ".webp"), (".png", ".bmp")


def mask_folder(
    images: str | Path,
    masks: str | Path,
    classes: Sequence[str],
    *,
    ignore: int = IGNORE,
    first: int = 0,
    check: bool = True,
) -> Scenes:
    """The scenes of two folders: a mask belongs to the image of the same name but for the ending.

    A mask has one channel, grey or with a palette, whose numbers are classes. Images without a mask, masks without an
    image, of another size, of another kind or with a number that is no class are left out, and named in `problems`.

    Args:
        images: the folder of images, in any depth of folders; hidden ones are not looked at.
        masks: the folder of masks, with the same folders in it.
        classes: names in the order of the masks' numbers.
        ignore: the masks' number for what nobody labelled.
        first: the number of the first class. With 1, as of ADE20K, the numbers below are what nobody labelled.
        check: whether to decode everything once. What cannot be used is left out; without the check it is an error when
            it is read.

    Raises:
        AnnotationError: if nothing is left.

    Example:
        >>> scenes = mask_folder("images", "masks", ["road", "grass", "sky"])
        >>> len(scenes), scenes.problems
        (412, (Problem(where='masks: a/7', reason='Expected an image. Received: none'),))
    """
    names = tuple(classes)
    if not names or len(set(names)) < len(names) or len(names) + first > IGNORE:
        raise AnnotationError(f"Expected classes of different names, fewer than {IGNORE}. Received: {names}")
    ledger = Ledger(str(masks))
    pictures, labelled = _files(Path(images), IMAGES, ledger), _files(Path(masks), MASKS, ledger)

    def scene(name: str) -> Scene:
        return _scene(pictures[name], labelled[name], len(names), ignore, first)

    kept = []
    for name in sorted({*pictures, *labelled}):
        if name not in pictures or name not in labelled:
            ledger.skip(name, f"Expected {'a mask' if name in pictures else 'an image'}. Received: none")
            continue
        try:
            if check:
                scene(name)
            kept.append(name)
        except ValueError as error:
            ledger.skip(name, error)
    problems = ledger.close()
    if not kept:
        reason = f"the first because: {problems[0].reason}" if problems else "both are empty"
        raise AnnotationError(f"Expected images in {images} with masks in {masks}. Received: none, {reason}")
    return Scenes((), names, lambda number: scene(kept[number]), np.arange(len(kept)), problems)


def _files(folder: Path, endings: Sequence[str], ledger: Ledger) -> dict[str, Path]:
    """Files by their place in the folder, without the ending."""
    if not folder.is_dir():
        raise AnnotationError(f"Expected a folder. Received: {folder}")
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.suffix.lower() not in endings or any(part.startswith(".") for part in place.parts):
            continue
        name = place.with_suffix("").as_posix()
        if name in files:
            ledger.skip(place.as_posix(), f"Expected one file of this name. Received: {files[name].name} as well")
        else:
            files[name] = path
    return files


def _scene(picture: Path, labelled: Path, classes: int, ignore: int, first: int) -> Scene:
    pixels, numbers = read_image(picture), read_image(labelled, mode=None)
    if numbers.ndim != 2 or numbers.dtype.kind not in "uib":
        raise ValueError(f"Expected a mask of one channel, grey or with a palette. Received: {numbers.shape}")
    if numbers.shape != pixels.shape[:2]:
        raise ValueError(
            f"Expected a mask of the image's {pixels.shape[0]} x {pixels.shape[1]}. "
            f"Received: {numbers.shape[0]} x {numbers.shape[1]}"
        )
    numbers = numbers.astype(np.int32)
    semantic = np.where((numbers == ignore) | (numbers < first), IGNORE, numbers - first).astype(np.int32)
    if unknown := sorted(set(np.unique(semantic).tolist()) - {*range(classes), IGNORE}):
        raise ValueError(
            f"Expected numbers from {first} to {first + classes - 1}, or {ignore}. "
            f"Received: {[number + first for number in unknown[:5]]}"
        )
    return Scene(pixels, semantic=semantic)
