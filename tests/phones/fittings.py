"""What is in a phone besides programs: the same properties, settings and sensors for the box and for the emulator."""

import os
from collections.abc import Mapping
from pathlib import Path

#: Programs and reports of Android's services, as far as a benchmark asks for them.
SYSTEM = Path(__file__).parent / "system"
#: Zones of /sys/class/thermal, in thousandths of a degree.
ZONES = {"BIG": 41000, "LITTLE": 38000, "VIRTUAL-SKIN": 37400}
#: Of a cluster: the highest frequency in kHz and the capacity, of 1024.
LITTLE, BIG = (1704000, 250), (2914000, 1024)
SETTINGS = {"airplane_mode_on": "0", "low_power": "0", "stay_on_while_plugged_in": "0", "wifi_on": "1"}


def state(properties: Mapping[str, str]) -> dict[str, str]:
    """The files in which the fake services keep what they know.

    Args:
        properties: what is different from `system/properties`.

    Returns:
        Text by path.
    """
    lines = (SYSTEM / "properties").read_text().splitlines()
    known = {**dict(line.split("=", 1) for line in lines), **properties}
    files = {"properties": "".join(f"{key}={value}\n" for key, value in known.items()), "log": ""}
    files |= {f"dumpsys/{each.name}": each.read_text() for each in (SYSTEM / "dumpsys").iterdir()}
    files |= {f"settings/global/{name}": f"{value}\n" for name, value in SETTINGS.items()}
    files |= {"fixed_performance": "false\n", "settings/system/.keep": "", "settings/secure/.keep": ""}
    return files


def sensors() -> dict[str, str]:
    """Files of /sys: this machine's cores in two clusters, so that a mask made from them can be put into effect."""
    numbers = sorted(os.sched_getaffinity(0))
    half = len(numbers) // 2
    files = {f"devices/system/cpu/{name}": _ranges(numbers) for name in ("possible", "present", "online")}
    for cluster, (fastest, capacity) in ((numbers[:half], LITTLE), (numbers[half:], BIG)):
        frequencies = {
            "cpuinfo_max_freq": fastest,
            "cpuinfo_min_freq": 500000,
            "scaling_max_freq": fastest,
            "scaling_cur_freq": 1000000,
            "scaling_governor": "sched_pixel",
            "related_cpus": " ".join(map(str, cluster)),
        }
        folders = [f"cpu{number}/cpufreq" for number in cluster] + [f"cpufreq/policy{each}" for each in cluster[:1]]
        for folder in folders:
            files |= {f"devices/system/cpu/{folder}/{name}": f"{value}\n" for name, value in frequencies.items()}
        files |= {f"devices/system/cpu/cpu{number}/cpu_capacity": f"{capacity}\n" for number in cluster}
    for index, (name, value) in enumerate(ZONES.items()):
        files |= {f"class/thermal/thermal_zone{index}/type": f"{name}\n"}
        files |= {f"class/thermal/thermal_zone{index}/temp": f"{value}\n"}
    return files


def install(files: Mapping[str, str], folder: Path) -> None:
    """Writes files by their paths in a folder."""
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def _ranges(numbers: list[int]) -> str:
    unbroken = len(numbers) > 1 and len(numbers) == numbers[-1] - numbers[0] + 1
    text = f"{numbers[0]}-{numbers[-1]}" if unbroken else ",".join(map(str, numbers))
    return f"{text}\n"
