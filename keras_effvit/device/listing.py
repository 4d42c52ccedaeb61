"""What `adb devices` lists, and which of it is meant."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from keras_effvit.device.errors import NoDevice, Offline, SeveralDevices, from_state

_STATES = (
    "device|offline|unauthorized|authorizing|connecting|bootloader|fastboot|recovery|rescue|sideload|host|detached|"
    "unknown|no device|no permissions"
)
_LISTED = re.compile(rf"(?P<serial>\S.*?)\s+(?P<state>(?:{_STATES})\b.*?)(?P<facts>(?:\s+[\w-]+:\S+)*)\s*")


@dataclass(frozen=True)
class Listed:
    """A line of `adb devices`.

    Args:
        serial: to name it by.
        state: "device" when it is ready.
        model: as it calls itself, if it is ready.
    """

    serial: str
    state: str
    model: str = ""


def parse_devices(text: str) -> tuple[Listed, ...]:
    r"""The lines of `adb devices -l`.

    Args:
        text: what it printed. Lines that list no device, such as a word on the server's start, are passed over.

    Example:
        >>> parse_devices("List of devices attached\n0A1B  device model:Pixel_8 transport_id:1\n")
        (Listed(serial='0A1B', state='device', model='Pixel 8'),)
    """
    found = []
    for line in text.split("\n"):
        match = _LISTED.fullmatch(line.strip())
        if match and not line.startswith(("* ", "List of devices")):
            model = re.search(r"\smodel:(\S+)", match["facts"])
            found.append(Listed(match["serial"], match["state"], model[1].replace("_", " ") if model else ""))
    return tuple(found)


def chosen(listed: tuple[Listed, ...], serial: str | None) -> str:
    """The one device that is meant.

    Args:
        listed: what is attached.
        serial: of the one that is asked for, if one is.

    Returns:
        Its serial number.

    Raises:
        DeviceError: if it is not there or cannot become ready by itself.
    """
    if serial:
        named = [each for each in listed if each.serial == serial]
        if not named:
            raise NoDevice(f"Expected device {serial} to be attached. Received: {names(listed)}.")
    else:
        named = [each for each in listed if each.state == "device"] or list(listed)
        if not named:
            raise NoDevice("Expected a phone to be attached. Received: none.")
        if len(named) > 1:
            raise SeveralDevices(f"Expected one phone, or the serial number of one. Received: {names(named)}.")
    # A state such as "offline" may pass while it connects.
    if (error := from_state(named[0].serial, named[0].state)) and not isinstance(error, Offline):
        raise error
    return named[0].serial


def names(listed: Iterable[Listed]) -> str:
    """Devices in words, for an error's message.

    Args:
        listed: the devices.
    """
    names = [f"{each.serial} ({each.model or each.state})" for each in listed]
    return ", ".join(names) or "none"
