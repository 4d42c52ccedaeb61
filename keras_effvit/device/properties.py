"""What a phone is, and the state it is in."""

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import Any

from keras_effvit.device import probe
from keras_effvit.device.phone import Phone
from keras_effvit.device.probe import Battery, Cluster, Temperature
from keras_effvit.report.records import Device


@dataclass(frozen=True)
class Properties:
    """A phone, as far as it tells: what it does not is empty, or `None`.

    Args:
        manufacturer: such as "Google".
        model: such as "Pixel 8".
        soc: the chip, such as "Tensor G3"; phones before Android 12 do not tell.
        platform: the chip's family, such as "zuma".
        android: its version.
        sdk: the version as a number.
        build: the fingerprint of its software.
        kernel: its version and architecture.
        abis: what programs it runs, the best first.
        page_size: of its memory.
        emulated: whether it is an emulator.
        booted: whether it has started in full.
        serial_sha: a hash of its serial number, which tells phones apart and names none.
        clusters: its processors.
        online: the numbers of those that are awake.
        thermal_status: 0 when nothing is throttled, up to 6.
        temperatures: its sensors.
        battery: its battery.
        low_power: whether it saves power, which slows it down.
        awake: whether its screen is on.
        airplane: whether its radios are off.
        free_kb: where programs are copied to.
        memory_kb: in all.
        available_kb: of that.
        load: the mean number of running tasks in the last minute.
    """

    manufacturer: str = ""
    model: str = ""
    soc: str = ""
    platform: str = ""
    android: str = ""
    sdk: int | None = None
    build: str = ""
    kernel: str = ""
    abis: tuple[str, ...] = ()
    page_size: int | None = None
    emulated: bool = False
    booted: bool | None = None
    serial_sha: str = ""
    clusters: tuple[Cluster, ...] = ()
    online: tuple[int, ...] = ()
    thermal_status: int | None = None
    temperatures: tuple[Temperature, ...] = ()
    battery: Battery = field(default_factory=Battery)
    low_power: bool | None = None
    awake: bool | None = None
    airplane: bool | None = None
    free_kb: int | None = None
    memory_kb: int | None = None
    available_kb: int | None = None
    load: float | None = None

    @property
    def name(self) -> str:
        """For people, such as "Google Pixel 8"."""
        maker = self.manufacturer[:1].upper() + self.manufacturer[1:]
        own = self.model.lower().startswith(maker.lower())
        return (self.model if own else f"{maker} {self.model}").strip() or "unknown phone"

    @property
    def skin_celsius(self) -> float | None:
        """The warmest sensor of the surface, or the battery's where there is none."""
        skin = [each.celsius for each in self.temperatures if each.skin]
        return max(skin) if skin else self.battery.celsius

    def facts(self) -> dict[str, Any]:
        """All that is known, as what `json` writes."""
        facts = dataclasses.asdict(self) | {"skin_celsius": self.skin_celsius}
        return {name: value for name, value in facts.items() if value not in (None, "", ())}

    def device(self) -> Device:
        """As the record of where something was measured."""
        return Device("phone", self.name, self.facts())


def properties(phone: Phone, *, timeout: float = 60.0) -> Properties:
    """Asks a phone what it is and how it is, in one go.

    Args:
        phone: the phone.
        timeout: in seconds.

    Returns:
        What it told.

    Raises:
        DeviceError: if it cannot be reached.

    Example:
        >>> properties(Adb().phone()).name
        'Google Pixel 8'
    """
    return parse_probe(phone.shell(probe.script(), timeout=timeout).stdout)


def skin_celsius(phone: Phone, *, timeout: float = 20.0) -> float | None:
    """How warm a phone is now.

    Args:
        phone: the phone.
        timeout: in seconds.

    Returns:
        `Properties.skin_celsius`.

    Raises:
        DeviceError: if it cannot be reached.
    """
    return parse_probe(phone.shell(probe.script(probe.HEAT), timeout=timeout).stdout).skin_celsius


def parse_probe(text: str) -> Properties:
    r"""The answer to `probe.script`.

    Args:
        text: anything: a part that is missing or damaged is not known.

    Example:
        >>> parse_probe("@@kernel\n5.15.148 aarch64\n@@end\n").kernel
        '5.15.148 aarch64'
    """
    part = probe.sections(text)

    def said(name: str) -> str:
        return part.get(name, "")

    prop = probe.properties(said("props"))
    memory = probe.kilobytes(said("memory"))
    serial = prop.get("ro.serialno") or prop.get("ro.boot.serialno")
    wake = said("power").partition("mWakefulness=")[2].split()
    return Properties(
        manufacturer=prop.get("ro.product.manufacturer", ""),
        model=prop.get("ro.product.model", ""),
        soc=prop.get("ro.soc.model", ""),
        platform=prop.get("ro.board.platform", ""),
        android=prop.get("ro.build.version.release", ""),
        sdk=probe.whole(prop.get("ro.build.version.sdk")),
        build=prop.get("ro.build.fingerprint", ""),
        kernel=said("kernel").strip(),
        abis=tuple(abi for abi in prop.get("ro.product.cpu.abilist", "").split(",") if abi),
        page_size=probe.whole(said("page")),
        emulated="1" in (prop.get("ro.kernel.qemu"), prop.get("ro.boot.qemu")),
        booted=prop.get("sys.boot_completed") == "1" if prop else None,
        serial_sha=hashlib.sha256(serial.encode("utf-8", "replace")).hexdigest()[:16] if serial else "",
        clusters=probe.clusters(said("cpus"), said("cores")),
        online=probe.online(said("online")),
        thermal_status=probe.thermal_status(said("thermal")),
        temperatures=probe.temperatures(said("thermal"), said("zones")),
        battery=probe.battery(said("battery")),
        low_power=probe.switched(said("settings"), "low_power"),
        awake=wake[0] == "Awake" if wake else None,
        airplane=probe.switched(said("settings"), "airplane_mode_on"),
        free_kb=probe.free_kilobytes(said("disk")),
        memory_kb=memory.get("MemTotal"),
        available_kb=memory.get("MemAvailable"),
        load=probe.number((said("load").split() or [""])[0]),
    )
