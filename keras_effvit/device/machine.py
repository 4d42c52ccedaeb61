"""What machine this is, and whether it is quiet enough to measure on."""

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from keras_effvit.device.hygiene import Finding
from keras_effvit.report.records import Device

#: Of the processor's abilities, those that XNNPACK chooses its kernels by.
_X86 = ("avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_int8")
_ARM = ("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve")
#: How many processors others may keep busy, and what share of time other virtual machines may take, without a warning.
MOST_BUSY, MOST_STOLEN = 0.3, 0.02


def host_device() -> Device:
    """This machine, for the record.

    Example:
        >>> host_device().name
        'AMD EPYC 7B13'
    """
    cpuinfo = _read("/proc/cpuinfo")
    facts: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_kb": _memory_kb(),
        "abilities": abilities(cpuinfo),
        "virtual": "hypervisor" in _words(cpuinfo, "flags"),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "litert": litert_version(),
    }
    return Device("host", cpu_name(cpuinfo), facts)


def litert_version() -> str | None:
    """Of the installed package ai-edge-litert; `None` if there is none."""
    try:
        return metadata.version("ai-edge-litert")
    except metadata.PackageNotFoundError:
        return None


def cpu_name(cpuinfo: str) -> str:
    """The processor's name for people.

    Args:
        cpuinfo: the content of Linux's /proc/cpuinfo; empty elsewhere.
    """
    if found := re.search(r"^model name\s*: *(\S.*?)\s*$", cpuinfo, re.MULTILINE):
        return re.sub(r"\s+", " ", found.group(1))
    if sys.platform == "darwin":
        with suppress(OSError, subprocess.SubprocessError):
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()
    # ARM's /proc/cpuinfo has numbers for names.
    part = re.search(r"^CPU part\s*: *(\S+)", cpuinfo, re.MULTILINE)
    return f"{platform.machine()} {part.group(1)}" if part else platform.processor() or platform.machine() or "unknown"


def abilities(cpuinfo: str) -> list[str]:
    """Of the processor, those that matter for XNNPACK's speed.

    Args:
        cpuinfo: the content of Linux's /proc/cpuinfo; empty elsewhere.
    """
    words = _words(cpuinfo, "flags") | _words(cpuinfo, "Features")
    return [ability for ability in (*_X86, *_ARM) if ability in words]


def occupation(seconds: float = 0.5) -> tuple[float, float]:
    """How many processors others keep busy right now, and the share of time that other virtual machines take from us.

    The load average would also count what ended a minute ago, such as the last benchmark.

    Args:
        seconds: to look for.
    """
    before = _read("/proc/stat")
    time.sleep(seconds)
    if found := occupied(before, _read("/proc/stat")):
        return found
    return (os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0), 0.0


def occupied(before: str, after: str) -> tuple[float, float] | None:
    """The same from two readings.

    Args:
        before: the content of Linux's /proc/stat.
        after: the same, later.

    Returns:
        Busy processors and stolen share; `None` if the readings do not tell.
    """
    first, second = _ticks(before), _ticks(after)
    if first is None or second is None:
        return None
    passed = {name: second[name] - first[name] for name in first}
    whole = sum(passed.values())
    if whole <= 0 or min(passed.values()) < 0:
        return None
    idle = passed["idle"] + passed["iowait"] + passed["steal"]
    cores = len(re.findall(r"^cpu\d+ ", after, re.MULTILINE)) or 1
    return cores * (1 - idle / whole), passed["steal"] / whole


def host_findings(device: Device, *, seconds: float = 0.5) -> tuple[Finding, ...]:
    """What may disturb a measurement on this machine.

    Args:
        device: from `host_device`.
        seconds: to look at what else runs.

    Example:
        >>> [finding.text for finding in host_findings(host_device())]
        ['Other programs keep 0.8 of 2 processors busy.']
    """
    return concerns(*occupation(seconds), device.facts)


def concerns(busy: float, stolen: float, facts: Mapping[str, Any]) -> tuple[Finding, ...]:
    """The same from measured shares.

    Args:
        busy: processors, from `occupation`.
        stolen: share of time, from `occupation`.
        facts: of `host_device`.
    """
    found = []
    if busy > MOST_BUSY:
        text = f"Other programs keep {busy:.1f} of {facts['cores']} processors busy."
        found.append(Finding("warn", text, "End them, or wait until they are done."))
    if stolen > MOST_STOLEN:
        text = f"Other virtual machines took {stolen:.0%} of the time."
        found.append(Finding("warn", text, "Measure on a machine of your own."))
    # Intel's own driver calls its normal way of working so.
    if facts.get("governor") == "powersave" and not Path("/sys/devices/system/cpu/intel_pstate").exists():
        found.append(Finding("warn", "The processor's governor is powersave.", "Choose the governor performance."))
    return tuple(found)


def _ticks(stat: str) -> dict[str, int] | None:
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    found = re.search(r"^cpu((?: +\d+){8,})", stat, re.MULTILINE)
    return dict(zip(names, map(int, found.group(1).split()), strict=False)) if found else None


def _memory_kb() -> int | None:
    found = re.search(r"^MemTotal: +(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    return int(found.group(1)) if found else None


def _words(cpuinfo: str, key: str) -> set[str]:
    found = re.search(rf"^{key}\s*:(.*)$", cpuinfo, re.MULTILINE)
    return set(found.group(1).split()) if found else set()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
