"""One question to a phone that answers everything about it, and how the parts of the answer are read.

Phones differ, and half of this may be missing, forbidden or nonsense on one: what cannot be read is `None`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

#: Only what Android's own shell has. A file is read by the shell itself: hundreds of `cat` would take seconds.
_PARTS = {
    "props": "getprop",
    "kernel": "uname -rm",
    "page": "getconf PAGESIZE",
    "cpus": (
        "for c in /sys/devices/system/cpu/cpu[0-9]*; do "
        "l=${c##*cpu}; for f in cpu_capacity cpufreq/cpuinfo_max_freq cpufreq/scaling_governor; "
        'do v=; [ -r $c/$f ] && read -r v < $c/$f; l="$l|$v"; done; echo "$l"; done'
    ),
    "cores": "grep -E '^(processor|CPU implementer|CPU part)' /proc/cpuinfo",
    "online": "cat /sys/devices/system/cpu/online",
    "zones": (
        "for z in /sys/class/thermal/thermal_zone*; do t=; v=; "
        '[ -r $z/type ] && read -r t < $z/type; [ -r $z/temp ] && read -r v < $z/temp; echo "$t|$v"; done'
    ),
    "thermal": "dumpsys thermalservice",
    "battery": "dumpsys battery",
    "power": "dumpsys power | grep -m1 mWakefulness=",
    "settings": 'for s in airplane_mode_on low_power; do echo "$s=$(settings get global $s)"; done',
    "disk": "df -k /data/local/tmp",
    "memory": "grep -E '^Mem(Total|Available)' /proc/meminfo",
    "load": "cat /proc/loadavg",
}
#: The parts that tell how warm it is; quick enough to be asked again and again.
HEAT = ("zones", "thermal", "battery")
_SKIN, _STATUS_CHARGING = 3, 2  # of Android's Temperature.TYPE_* and BatteryManager.BATTERY_STATUS_*
_COLDEST, _HOTTEST = -40.0, 150.0  # sensors that are broken or switched off report anything


@dataclass(frozen=True)
class Cluster:
    """Processors that are alike.

    Args:
        cpus: their numbers.
        capacity: how much one does at its best, the largest of the phone being 1024; if the phone tells.
        max_khz: its highest clock; if the phone tells.
        governor: that chooses the clock; empty if the phone does not tell.
        part: of the core's design, as implementer and part number, such as "41:d0b".
    """

    cpus: tuple[int, ...]
    capacity: int | None = None
    max_khz: int | None = None
    governor: str = ""
    part: str = ""


@dataclass(frozen=True)
class Temperature:
    """A sensor.

    Args:
        name: as the phone calls it.
        celsius: its value.
        skin: whether it stands for the surface that a hand feels, by which phones throttle.
    """

    name: str
    celsius: float
    skin: bool = False


@dataclass(frozen=True)
class Battery:
    """The battery.

    Args:
        percent: of charge.
        celsius: its temperature.
        charging: whether it is being charged, which warms the phone.
        powered: by what: "AC", "USB", "Wireless", "Dock".
    """

    percent: float | None = None
    celsius: float | None = None
    charging: bool | None = None
    powered: tuple[str, ...] = ()


def script(parts: tuple[str, ...] = tuple(_PARTS)) -> str:
    """What to run on the phone, in one go.

    Args:
        parts: to ask for.
    """
    asked = "\n".join(f"echo @@{name}\n{_PARTS[name]}" for name in parts)
    return f"exec 2>/dev/null\n{asked}\necho @@end"


def sections(text: str) -> dict[str, str]:
    """The answer to `script` by its parts.

    Args:
        text: anything.
    """
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.split("\n"):
        line = line.rstrip("\r")
        if line.startswith("@@") and (line[2:] in _PARTS or line == "@@end"):
            lines = found.setdefault(line[2:], [])
        else:
            lines.append(line)
    return {name: "\n".join(lines) for name, lines in found.items()}


def properties(text: str) -> dict[str, str]:
    """The lines of `getprop`.

    Args:
        text: anything.
    """
    return {match[1]: match[2].strip() for match in re.finditer(r"^\[([^]\n]+)\]: \[([^]\n]*)", text, re.MULTILINE)}


def clusters(cpus: str, cores: str) -> tuple[Cluster, ...]:
    """Processors that are alike, in the order of their numbers.

    Args:
        cpus: a line for each: number, capacity, highest clock and governor.
        cores: of /proc/cpuinfo. It lists only those that are awake.
    """
    parts = _core_parts(cores)
    alike: dict[tuple[int | None, int | None, str, str], list[int]] = {}
    for line in cpus.split("\n"):
        fields = [field.strip() for field in line.split("|")]
        number = whole(fields[0])
        if len(fields) != 4 or number is None:
            continue
        key = (_positive(fields[1]), _positive(fields[2]), fields[3], parts.get(number, ""))
        alike.setdefault(key, []).append(number)
    found = [Cluster(tuple(sorted(set(numbers))), *key) for key, numbers in alike.items()]
    return tuple(sorted(found, key=lambda cluster: cluster.cpus))


def temperatures(thermal: str, zones: str) -> tuple[Temperature, ...]:
    """The sensors, of Android's thermal service, or of the kernel where that has none.

    Args:
        thermal: of `dumpsys thermalservice`.
        zones: a line for each zone of the kernel: name and value.
    """
    current = thermal.split("Current temperatures", 1)[-1].split("Current cooling", 1)[0]
    found = _sensors(current) or _sensors(thermal)
    if not found:
        for line in zones.split("\n"):
            name, _, value = line.partition("|")
            celsius = _degrees(value)
            if celsius is not None and name:
                found.append(Temperature(name.strip(), celsius, "skin" in name.lower()))
    return tuple(found)


def thermal_status(thermal: str) -> int | None:
    """How much the phone throttles: 0 not at all, 1 light, 2 moderate, 3 severe, up to 6 when it shuts down.

    Args:
        thermal: of `dumpsys thermalservice`.
    """
    match = re.search(r"Thermal Status: *(\d+)", thermal)
    status = whole(match[1]) if match else None
    return status if status is not None and status <= 6 else None


def battery(text: str) -> Battery:
    """The battery.

    Args:
        text: of `dumpsys battery`.
    """
    facts = {match[1].strip(): match[2].strip() for match in re.finditer(r"^([\w ]+): *(.*)$", text, re.MULTILINE)}
    level, scale = number(facts.get("level")), number(facts.get("scale")) or 100.0
    percent = None if level is None or not 0 <= level <= scale else 100 * level / scale
    tenths = number(facts.get("temperature"))
    status = whole(facts.get("status"))
    return Battery(
        percent,
        None if tenths is None else _plausible(tenths / 10),
        None if status is None else status == _STATUS_CHARGING,
        tuple(by for by in ("AC", "USB", "Wireless", "Dock") if facts.get(f"{by} powered") == "true"),
    )


def online(text: str) -> tuple[int, ...]:
    """Numbers of processors.

    Args:
        text: such as "0-3,6".
    """
    found: set[int] = set()
    for first, last in re.findall(r"(\d{1,3})(?:-(\d{1,3}))?", text):
        found.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(found))


def switched(text: str, name: str) -> bool | None:
    """Whether a setting is on; one that was never set is off.

    Args:
        text: lines of names and values.
        name: of the setting.
    """
    match = re.search(rf"^{re.escape(name)}=(\w*)$", text, re.MULTILINE)
    if not match or match[1] not in ("0", "1", "null"):
        return None
    return match[1] == "1"


def kilobytes(memory: str) -> Mapping[str, int]:
    """Sizes by their names.

    Args:
        memory: lines of /proc/meminfo.
    """
    found = {name: whole(value) for name, value in re.findall(r"^(\w+): *(\d+) kB", memory, re.MULTILINE)}
    return {name: value for name, value in found.items() if value is not None}


def free_kilobytes(disk: str) -> int | None:
    """What is free where programs are copied to.

    Args:
        disk: of `df -k`. A long name of a disk breaks its line in two.
    """
    match = re.search(r"\s\d+\s+\d+\s+(\d+)\s+\d+%", disk)
    return whole(match[1]) if match else None


def number(text: str | None) -> float | None:
    """A number, if it is one and finite.

    Args:
        text: anything.
    """
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def whole(text: str | None) -> int | None:
    """A whole number of a size that a device can mean, if it is one.

    Args:
        text: anything.
    """
    return int(text) if text and re.fullmatch(r"[0-9]{1,15}", text.strip()) else None


def _core_parts(cores: str) -> dict[int, str]:
    found: dict[int, str] = {}
    cpu, maker = None, ""
    for name, value in re.findall(r"^([\w ]+?)\s*: *(\w+)", cores, re.MULTILINE):
        if name == "processor":
            cpu, maker = whole(value), ""
        elif name == "CPU implementer":
            maker = value.lower().removeprefix("0x")
        elif name == "CPU part" and cpu is not None:
            found[cpu] = f"{maker}:{value.lower().removeprefix('0x')}"
    return found


def _sensors(text: str) -> list[Temperature]:
    pattern = r"Temperature\{mValue=([^,}\n]*), *mType=(-?\d+), *mName=([^,}\n]*)"
    found = []
    for value, kind, name in re.findall(pattern, text):
        celsius = _plausible(number(value))
        if celsius is not None:
            found.append(Temperature(name.strip(), celsius, kind == str(_SKIN)))
    return found


def _degrees(text: str) -> float | None:
    """Kernels count in thousandths, some vendors' in tenths or in whole degrees."""
    value = number(text)
    if value is None:
        return None
    return _plausible(value / 1000 if abs(value) >= 2000 else value / 10 if abs(value) > _HOTTEST else value)


def _plausible(celsius: float | None) -> float | None:
    return celsius if celsius and _COLDEST < celsius < _HOTTEST else None


def _positive(text: str) -> int | None:
    return whole(text) or None
