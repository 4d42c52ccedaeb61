"""Which processors of a phone are the big ones."""

import functools
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from keras_effvit.device import probe
from keras_effvit.device.probe import Cluster
from keras_effvit.device.properties import Properties

_TABLE = Path(__file__).with_name("devices.toml")


@dataclass(frozen=True)
class Chip:
    """A row of `devices.toml`.

    Args:
        name: for people.
        models: how `Properties.soc` begins.
        platforms: what `Properties.platform` is.
        clusters: the processors' numbers and what they are, from the lowest number.
        big: those that are not there to save power.
    """

    name: str
    models: tuple[str, ...]
    platforms: tuple[str, ...]
    clusters: tuple[tuple[tuple[int, ...], str], ...]
    big: tuple[int, ...]


def chips() -> tuple[Chip, ...]:
    """The chips that are known here."""
    return tuple(
        Chip(
            row["name"],
            tuple(row["models"]),
            tuple(row["platforms"]),
            tuple((probe.online(each["cpus"]), each["core"]) for each in row["clusters"]),
            probe.online(row["big"]),
        )
        for row in _table()["chips"]
    )


def chip(properties: Properties) -> Chip | None:
    """The chip of a phone, if it is known here.

    Args:
        properties: of the phone.

    Example:
        >>> chip(Properties(soc="SM8550")).name
        'Qualcomm Snapdragon 8 Gen 2'
    """
    soc = properties.soc.lower()
    for known in chips():
        if soc.startswith(tuple(model.lower() for model in known.models)):
            return known
    # Some of the chip's own makers leave the model out; older phones cannot tell it.
    platform = properties.platform.lower()
    return next((known for known in chips() if platform in known.platforms), None)


def core_name(part: str) -> str:
    """What a core is called.

    Args:
        part: of a `Cluster`.

    Example:
        >>> core_name("41:d0b")
        'Cortex-A76'
    """
    return _table()["cores"].get(part, part)


def big_cores(properties: Properties) -> tuple[int, ...]:
    """The processors that are not there to save power; none if the phone does not tell and is not known.

    They are those with half the capacity of the best or more; or, if the phone keeps its capacities to itself, those of
    the table of chips; or all but the slowest cluster.

    Args:
        properties: of the phone.

    Example:
        >>> big_cores(Properties(soc="SM8550"))
        (3, 4, 5, 6, 7)
    """
    clusters = properties.clusters
    if _told(each.capacity for each in clusters):
        best = max(each.capacity or 0 for each in clusters)
        return _cpus(each for each in clusters if 2 * (each.capacity or 0) >= best)
    if known := chip(properties):
        present = {cpu for each in clusters for cpu in each.cpus} or set(known.big)
        if present >= set(known.big):  # else it is another chip than it says, or a part of one
            return known.big
    if _told(each.max_khz for each in clusters):
        speeds = {each.max_khz or 0 for each in clusters}
        return _cpus(each for each in clusters if len(speeds) == 1 or (each.max_khz or 0) > min(speeds))
    return ()


def best_cores(properties: Properties) -> tuple[int, ...]:
    """The fastest processors, for one thread that is not to wander.

    Args:
        properties: of the phone.

    Example:
        >>> best_cores(Properties(soc="SM8550"))
        (7,)
    """
    big = big_cores(properties)
    clusters = [replace(each, cpus=tuple(cpu for cpu in each.cpus if cpu in big)) for each in properties.clusters]
    clusters = [each for each in clusters if each.cpus]
    if _told(each.capacity for each in clusters):
        best = max((each.capacity or 0, each.max_khz or 0) for each in clusters)
        return _cpus(each for each in clusters if (each.capacity or 0, each.max_khz or 0) == best)
    if (known := chip(properties)) and known.big == big:
        return known.clusters[-1][0]
    if _told(each.max_khz for each in clusters):
        best = max(each.max_khz or 0 for each in clusters)
        return _cpus(each for each in clusters if each.max_khz == best)
    return big


def mask(cpus: Iterable[int]) -> str:
    """Processors as `taskset` takes them: hexadecimal digits without "0x".

    Args:
        cpus: their numbers.

    Example:
        >>> mask((4, 5, 6, 7))
        'f0'
    """
    return f"{sum(1 << cpu for cpu in set(cpus)):x}"


def _told(values: Iterable[int | None]) -> bool:
    known = list(values)
    return bool(known) and all(value is not None for value in known)


def _cpus(clusters: Iterable[Cluster]) -> tuple[int, ...]:
    return tuple(sorted(cpu for each in clusters for cpu in each.cpus))


@functools.cache
def _table() -> dict:
    return tomllib.loads(_TABLE.read_text("utf-8"))
