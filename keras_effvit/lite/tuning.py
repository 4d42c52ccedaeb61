"""A recipe for a model by measurement: changes are tried, timed beside the recipe, and kept if they win."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_effvit.atomic import write_json
from keras_effvit.lite.calibration import Calibration, Method, calibrate
from keras_effvit.lite.changes import SPELLINGS, Change, Spelling, changed, changes_for, plan
from keras_effvit.lite.child import LiteError
from keras_effvit.lite.comparison import file_outputs
from keras_effvit.lite.comparison import measure as parity_of
from keras_effvit.lite.conversion import PARITY_IMAGES, check_structure, images_for
from keras_effvit.lite.exporting import export_float, in_float32
from keras_effvit.lite.graph import layer_names
from keras_effvit.lite.inspection import Inspection, inspect
from keras_effvit.lite.quantization import quantize
from keras_effvit.lite.quantize_aware import recipe_of
from keras_effvit.lite.recipe import Recipe, load_recipe
from keras_effvit.lite.timing import Measure, Times, check_times, host_times, ratio

#: A file this close to the float file has lost nothing that a few decibels less would show.
PERFECT_DB = 60.0
BASE = "base"
FASTER = "faster"


@dataclass(frozen=True)
class Candidate:
    """A recipe that was tried.

    Attributes:
        name: what it changes; `"base"` changes nothing.
        recipe: the recipe.
        milliseconds: the median time of its file.
        ratio: the median, over the rounds, of its time over the base's in the same round.
        snr_db: signal to noise of its file against the float file.
        partitions: XNNPACK partitions.
        outside: operators outside of them.
        kept: whether the winner has this change.
        verdict: why it was kept, or not.
    """

    name: str
    recipe: Recipe
    milliseconds: float | None = None
    ratio: float | None = None
    snr_db: float | None = None
    partitions: int | None = None
    outside: int | None = None
    kept: bool = False
    verdict: str = ""


@dataclass(frozen=True)
class Tuned:
    """The recipe that measured fastest.

    Attributes:
        recipe: the winner; the base itself if nothing beat it.
        ratio: its time over the base's, measured once more after it was chosen; 1 of the base.
        candidates: all that were tried, the base first.
    """

    recipe: Recipe
    ratio: float
    candidates: tuple[Candidate, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain data; `None` for what is infinite."""
        candidates = [asdict(candidate) for candidate in self.candidates]
        for fields in candidates:
            if fields["snr_db"] is not None and not np.isfinite(fields["snr_db"]):
                fields["snr_db"] = None
        return {"recipe": self.recipe.to_json(), "ratio": self.ratio, "candidates": candidates}

    def save(self, path: str | Path) -> Path:
        """Writes the recipe, whole or not at all; `convert` takes the path as a precision.

        Args:
            path: of the JSON file.

        Returns:
            The path.
        """
        path = Path(path)
        write_json(path, self.recipe.to_json())
        return path


def tune(
    model: keras.Model,
    precision: str | Path | Recipe = "int8",
    *,
    calibration: Any = None,
    method: Method = "min_max",
    image_shape: tuple[int, int, int] | None = None,
    islands: Sequence[str] = (),
    measure: Measure = host_times,
    rounds: int = 40,
    least_gain: float = 0.01,
    most_loss_db: float = 1.0,
    verbose: bool = True,
) -> Tuned:
    """Finds the changes of a recipe that make a model's file faster, by measuring.

    Every change is tried alone: the other spelling of hard-swish; hard-swish, additions, matmuls and movers in int8;
    the first parts and the layers with the largest maps in float. The winners are put together one by one as long as
    that is faster still, and the result is measured against the base again, which it may lose. What leaves the single
    XNNPACK partition or costs too much precision never wins. A recipe in float has only hard-swish to spell; where
    there is nothing to try, the base is the answer and nothing is measured.

    Args:
        model: as in `convert`, but not of `quantize_aware`.
        precision: the base: a precision or a recipe whose files are to run as one partition.
        calibration: images as in `convert`.
        method: as in `convert`.
        image_shape: as in `convert`.
        islands: as in `convert`; whatever is tried, they stay in float.
        measure: takes files by name and a number of rounds, and gives the seconds of every round by name; by default
            on this machine, on one thread. What it measures on is what the recipe is good for.
        rounds: of every measurement.
        least_gain: share of the time that a change must save to count for more than noise.
        most_loss_db: how much noisier than the base's a file may be.
        verbose: whether to show how many files are done.

    Raises:
        LiteError: for other arguments, or a model that cannot be converted.

    Example:
        >>> tuned = tune(EfficientViTBase(classifier_activation=None), calibration=images)
        >>> tuned.save("mine.json")
        >>> convert(EfficientViTBase(classifier_activation=None), "mine.json", calibration=images)
    """
    base = load_recipe(precision).with_islands(islands)
    _check(base, model, rounds, least_gain, most_loss_db)
    workshop = _Workshop(in_float32(model), base, method, image_shape, verbose)
    images, _ = images_for(calibration, base, workshop.model, workshop.look(base.hard_swish).found)
    workshop.prepare(images)
    tuned = _Contest(workshop, measure, rounds, least_gain, most_loss_db).run()
    workshop.bar.update(workshop.made, finalize=True)
    return tuned


def _check(base: Recipe, model: keras.Model, rounds: int, least_gain: float, most_loss_db: float) -> None:
    if recipe_of(model) is not None:
        raise LiteError(f"Expected a model that can become anything. Received: {model.name}, trained for one recipe")
    if not base.one_partition or base.in_integers:
        raise LiteError(f"Expected a recipe whose files are to run as one partition. Received: {base.name}")
    if rounds < 1:
        raise LiteError(f"`rounds` must be at least 1. Received: rounds={rounds}")
    if not 0 <= least_gain < 1:
        raise LiteError(f"`least_gain` must be in [0, 1). Received: least_gain={least_gain}")
    if not most_loss_db >= 0:
        raise LiteError(f"`most_loss_db` must be at least 0. Received: most_loss_db={most_loss_db}")


@dataclass(frozen=True)
class _Source:
    """A float file in one spelling."""

    content: bytes
    found: Inspection
    ranges: Calibration | None = None


@dataclass
class _Attempt:
    """A recipe with some changes, and the file it makes; no file where that was refused."""

    changes: tuple[Change, ...]
    candidate: Candidate
    content: bytes = b""


class _Workshop:
    """Makes files of one model by many recipes: one export and one calibration for every spelling."""

    def __init__(
        self, model: keras.Model, base: Recipe, method: Method, image_shape: tuple[int, ...] | None, verbose: bool
    ):
        self.model, self.base, self.image_shape = model, base, image_shape
        self.method: Method = method
        self.layers = layer_names(model)
        self.bar, self.made = keras.utils.Progbar(None, verbose=int(verbose), unit_name="file"), 0
        self.sources: dict[Spelling, _Source] = {}

    def look(self, spelling: Spelling) -> _Source:
        """The float file in a spelling."""
        if spelling not in self.sources:
            content = export_float(self.model, image_shape=self.image_shape, hard_swish=spelling)
            self.sources[spelling] = _Source(content, inspect(content, layers=self.layers))
            check_structure(self.sources[spelling].found, self.model)
            self.step()
        return self.sources[spelling]

    def prepare(self, images: np.ndarray) -> None:
        """Everything that files are made from and held against."""
        if self.look("fused").found.counts()["HARD_SWISH"]:
            for spelling in SPELLINGS:
                self.look(spelling)
        else:
            self.sources = {self.base.hard_swish: self.look(self.base.hard_swish)}
        if self.base.needs_calibration:
            for spelling, source in self.sources.items():
                ranges = calibrate(source.content, source.found, images, self.method)
                self.sources[spelling] = replace(source, ranges=ranges)
        self.images = images[:PARITY_IMAGES]
        self.expected = file_outputs(self.look(self.base.hard_swish).content, self.images)

    def changes(self) -> list[Change]:
        """What can be tried."""
        return changes_for({spelling: source.found for spelling, source in self.sources.items()}, self.base)

    def plan(self, changes: Sequence[Change]) -> Any:
        """What the changes come to; equal where the files are."""
        recipe = changed(self.base, changes)
        return recipe.hard_swish, plan(self.look(recipe.hard_swish).found, recipe)

    def attempt(self, changes: tuple[Change, ...]) -> _Attempt:
        """The file with some changes."""
        recipe = changed(self.base, changes)
        candidate = Candidate(" + ".join(change.name for change in changes) or BASE, recipe)
        source = self.look(recipe.hard_swish)
        self.step()
        try:
            content = quantize(source.content, source.found, recipe, source.ranges)
            # Run it there first: a kernel that does not like its operands takes the process down.
            found = inspect(content, invoke=True)
            noise = parity_of(self.expected, file_outputs(content, self.images)).snr_db
        except LiteError as error:
            if not changes:
                raise
            return _Attempt(changes, replace(candidate, verdict=f"refused: {error}"))
        seen = replace(candidate, snr_db=noise, partitions=found.partitions, outside=len(found.outside))
        return _Attempt(changes, seen, content)

    def step(self) -> None:
        self.made += 1
        self.bar.update(self.made)


class _Contest:
    """Who is fastest, among those that may win."""

    def __init__(self, workshop: _Workshop, measure: Measure, rounds: int, least_gain: float, most_loss_db: float):
        self.workshop, self.measure, self.rounds = workshop, measure, rounds
        self.most_ratio, self.most_loss_db = 1 - least_gain, most_loss_db
        self.base, self.tried = workshop.attempt(()), []

    def run(self) -> Tuned:
        """All rounds of it."""
        alone, later = self._changes()
        self.tried: list[_Attempt] = [self.workshop.attempt((change,)) for change in alone]
        if self.tried:
            times = self._times(self.base, *self.tried)
            for one in (self.base, *self.tried):
                self._enter(one, self.base, times)
        best = self._combined(later)
        gain = self._confirmed(best)
        if gain is None:
            best = self.base
        # The winner's own changes, alone and as they came together; the base only where nothing won.
        kept = frozenset(best.changes)
        candidates = [
            replace(one.candidate, kept=kept >= set(one.changes) and bool(kept) == bool(one.changes))
            for one in (self.base, *self.tried)
        ]
        return Tuned(best.candidate.recipe, gain or 1.0, tuple(candidates))

    def _changes(self) -> tuple[list[Change], list[Change]]:
        """What to try alone; and what comes to nothing alone, but may beside another change."""
        base = self.workshop.plan(())
        alone: dict[Any, Change] = {}
        later = []
        for change in self.workshop.changes():
            comes_to = self.workshop.plan((change,))
            if comes_to == base:
                later.append(change)
            else:
                alone.setdefault(comes_to, change)
        return list(alone.values()), later

    def _combined(self, later: Iterable[Change]) -> _Attempt:
        """The fastest, and whatever makes it faster still; the base if none is faster than that."""
        winners = [one for one in self.tried if one.candidate.verdict == FASTER]
        if not winners:
            return self.base
        best, *others = sorted(winners, key=lambda one: one.candidate.ratio or 0.0)
        for change in (*(one.changes[0] for one in others), *later):
            changes = (*best.changes, change)
            if self.workshop.plan(changes) == self.workshop.plan(best.changes):
                continue
            one = self.workshop.attempt(changes)
            self.tried.append(one)
            self._enter(one, best, self._times(self.base, best, one))
            if one.candidate.verdict == FASTER:
                best = one
        return best

    def _confirmed(self, best: _Attempt) -> float | None:
        """The winner's ratio in rounds of its own: the luckiest of many looks faster than it is."""
        if not best.changes:
            return None
        name = best.candidate.name
        again = ratio(self._times(self.base, best), name, BASE)
        if again <= self.most_ratio:
            return again
        best.candidate = replace(best.candidate, verdict=f"not confirmed: {again:.3f} when measured again")
        return None

    def _times(self, *attempts: _Attempt) -> Times:
        files = {one.candidate.name: one.content for one in attempts if one.content}
        return check_times(self.measure(files, self.rounds), files, self.rounds)

    def _enter(self, one: _Attempt, rival: _Attempt, times: Times) -> None:
        """Notes the times of a file, and what they say beside a rival's."""
        candidate = one.candidate
        if not one.content:
            return
        verdict = self._fault(candidate)
        if not verdict and one is not self.base:
            faster = ratio(times, candidate.name, rival.candidate.name) <= self.most_ratio
            verdict = FASTER if faster else f"no faster than {rival.candidate.name}"
        one.candidate = replace(
            candidate,
            milliseconds=1000 * statistics.median(times[candidate.name]),
            ratio=ratio(times, candidate.name, BASE),
            verdict=verdict,
        )

    def _fault(self, candidate: Candidate) -> str:
        """Why a file cannot win, however fast it is."""
        base = self.base.candidate
        if (candidate.partitions or 0) > (base.partitions or 0) or (candidate.outside or 0) > (base.outside or 0):
            return f"leaves the partition: {candidate.partitions}, {candidate.outside} operators outside"
        loss = min(base.snr_db or 0.0, PERFECT_DB) - (candidate.snr_db or 0.0)
        if loss > self.most_loss_db:
            return f"too noisy: {loss:.1f} dB more"
        return ""
