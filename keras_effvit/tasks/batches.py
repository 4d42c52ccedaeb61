"""Batches of scenes for Keras' `fit`; what is in one depends on the seed, the epoch and its place alone."""

from typing import Any, Literal

import keras
import numpy as np

from keras_effvit.preprocessing import preprocess_input
from keras_effvit.tasks.changes import Change, changed, fitted
from keras_effvit.tasks.detection_losses import CROWD, NOTHING
from keras_effvit.tasks.samples import Scene, Scenes

#: What a model learns: a class of every pixel, boxes, boxes with masks, or boxes with masks and a class of every pixel.
Kind = Literal["pixels", "boxes", "masks", "everything"]


class SceneBatches(keras.utils.PyDataset):
    """Pairs of images and targets, shuffled and varied, or in order and only fitted.

    Targets are classes (batch, height, width), int32; or a dict of `"boxes"` (batch, most, 4), float32, and `"labels"`
    (batch, most), int32, filled up with `NOTHING`, a crowd's being `CROWD`; for "masks" also `"masks"` (batch, most,
    height, width), bool; for "everything" also `"semantic"`, the classes of pixels.

    Args:
        scenes: of any size.
        size: height and width of the images.
        batch_size: scenes in a batch.
        kind: what the targets are.
        change: how to vary; without it nothing is varied or shuffled, and the last batch may be smaller.
        seed: of order and changes.
        scale: whether to scale pixels as the models expect, or leave them from 0 to 255.
        most: things that a batch has room for; of more, the largest.
        **options: of `keras.utils.PyDataset`: `workers`, `max_queue_size`.

    Raises:
        ValueError: if there are too few scenes, or they lack what is to be learnt.

    Example:
        >>> x, y = SceneBatches(drawn_scenes(8), (64, 64), 4, change=Change(flip=0.5))[0]
        >>> x.shape, y.shape
        ((4, 64, 64, 3), (4, 64, 64))
    """

    def __init__(
        self,
        scenes: Scenes,
        size: tuple[int, int],
        batch_size: int,
        *,
        kind: Kind = "pixels",
        change: Change | None = None,
        seed: int = 0,
        scale: bool = True,
        most: int = 32,
        **options: Any,
    ):
        super().__init__(**options)
        least = batch_size if change is not None else 1
        if batch_size < 1 or len(scenes) < least:
            raise ValueError(
                f"Expected at least {max(least, 1)} scenes, and batches of 1 or more. "
                f"Received: {len(scenes)} scenes, batch_size={batch_size}"
            )
        pixels, things = bool(scenes.semantic_classes), bool(scenes.classes)
        if not {"pixels": pixels, "boxes": things, "masks": things, "everything": things and pixels}[kind]:
            raise ValueError(f"Expected scenes with labels of {kind}. Received: scenes without")
        self.scenes, self.size, self.batch_size = scenes, size, batch_size
        self.kind: Kind = kind
        self.change, self.seed, self.scale, self.most = change, seed, scale, most
        self.epoch = 0
        self.on_epoch_begin()

    def __len__(self) -> int:
        if self.change is None:
            return -(-len(self.scenes) // self.batch_size)
        return len(self.scenes) // self.batch_size

    def on_epoch_begin(self) -> None:
        """Draws the order of the epoch."""
        order = np.arange(len(self.scenes))
        if self.change is not None:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(order)
        self._order = order

    def on_epoch_end(self) -> None:
        """Goes on to the next epoch."""
        self.epoch += 1
        self.on_epoch_begin()

    def __getitem__(self, index: int) -> tuple[np.ndarray, Any]:
        places = range(index * self.batch_size, min((index + 1) * self.batch_size, len(self.scenes)))
        scenes = [self._scene(place) for place in places]
        images = np.stack([scene.image for scene in scenes]).astype(np.float32)
        return preprocess_input(images) if self.scale else images, targets_of(scenes, self.kind, self.most)

    def _scene(self, place: int) -> Scene:
        scene = self.scenes[int(self._order[place])]
        if self.change is None:
            return fitted(scene, self.size)
        return changed(scene, self.size, self.change, np.random.default_rng([self.seed, self.epoch, place]))


def targets_of(scenes: list[Scene], kind: Kind, most: int) -> Any:
    """What a batch of scenes of one size is to teach; `SceneBatches` says what it looks like.

    Args:
        scenes: of the batch.
        kind: what a model learns.
        most: things that there is room for.

    Raises:
        ValueError: if the scenes lack it.
    """
    if kind == "pixels":
        return _semantic_maps(scenes)
    boxes = np.zeros((len(scenes), most, 4), np.float32)
    labels = np.full((len(scenes), most), NOTHING, np.int32)
    chosen = [_largest(scene, most) for scene in scenes]
    for number, (scene, which) in enumerate(zip(scenes, chosen, strict=True)):
        boxes[number, : len(which)] = scene.boxes[which]
        labels[number, : len(which)] = np.where(scene.crowd[which], CROWD, scene.labels[which])
    targets = {"boxes": boxes, "labels": labels}
    if kind in ("masks", "everything"):
        masks = np.zeros((len(scenes), most, *scenes[0].image.shape[:2]), bool)
        for number, (scene, which) in enumerate(zip(scenes, chosen, strict=True)):
            masks[number, : len(which)] = _known(scene.masks, "masks")[which]
        targets["masks"] = masks
    if kind == "everything":
        targets["semantic"] = _semantic_maps(scenes)
    return targets


def _semantic_maps(scenes: list[Scene]) -> np.ndarray:
    return np.stack([_known(scene.semantic, "a semantic map") for scene in scenes])


def _largest(scene: Scene, most: int) -> np.ndarray:
    """Numbers of the largest things, in their order."""
    areas = np.prod(scene.boxes[:, 2:] - scene.boxes[:, :2], axis=1)
    return np.sort(np.argsort(-areas, kind="stable")[:most])


def _known(part: np.ndarray | None, name: str) -> np.ndarray:
    if part is None:
        raise ValueError(f"Expected scenes with {name}. Received: one without")
    return part
