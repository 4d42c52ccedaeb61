"""What every phone of the suite can do, in a box or emulated."""

from abc import ABC, abstractmethod
from typing import Any, Self


class Phone(ABC):
    """A phone at the other end of a cable; `with` switches it on, and off again whatever happens.

    Its user is Android's shell: what a test may see and do besides comes from behind adb's back.
    """

    #: "box" or "emulator".
    kind: str
    #: As adb lists it, once it is attached.
    serial: str
    #: Whether ARM programs run on it.
    runs_arm: bool

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(self, *error: object) -> None: ...

    @abstractmethod
    def ctl(self, action: str, *arguments: Any) -> Any:
        """Has one of the actions of `Controls` or `Link` done on the phone's side."""

    def drop(self) -> None:
        """Cuts the connection; adb may come back at once."""
        self.ctl("drop")

    def drop_after(self, *, up: int | None = None, down: int | None = None) -> None:
        """Cuts the connection when so many more bytes went up from the phone, or down to it."""
        for direction, count in (("up", up), ("down", down)):
            if count is not None:
                self.ctl("drop_after", direction, count)

    def unplug(self) -> None:
        """Pulls the cable, until `plug`."""
        self.ctl("unplug")

    def plug(self) -> None:
        """Puts the cable back."""
        self.ctl("plug")

    def offline(self) -> None:
        """The phone does not answer adb's greeting any more, until `online`."""
        self.ctl("offline")

    def online(self) -> None:
        """The phone answers again; connect anew."""
        self.ctl("online")

    def mute(self) -> None:
        """Nothing goes over the cable and nothing is closed, until `unmute`."""
        self.ctl("mute")

    def unmute(self) -> None:
        """What was held goes on."""
        self.ctl("unmute")

    def files(self, folder: str = "/data") -> dict[str, int]:
        """Sizes of all files below a folder, by path."""
        return self.ctl("files", folder)

    def read(self, path: str) -> str:
        """The text of a file of the phone."""
        return self.ctl("read", path)

    def write(self, path: str, text: str) -> None:
        """Changes a file of the phone, such as a sensor's in /sys."""
        self.ctl("write", path, text)

    def processes(self) -> dict[int, list[str]]:
        """The words of all that the shell's user started, by number. In the box the emulator's name comes first."""
        return {int(number): words for number, words in self.ctl("processes").items()}

    def kill(self, number: int) -> None:
        """Kills a process, by its number in `processes`."""
        self.ctl("kill", number)

    def fill(self, leave: int = 0) -> None:
        """Leaves so many bytes free in /data, until `empty`."""
        self.ctl("fill", leave)

    def empty(self) -> None:
        """Takes back what `fill` did."""
        self.ctl("empty")

    def settings(self) -> dict[str, str]:
        """What can be set and must be restored: global settings, power mode, thermal status, whether it is awake."""
        found = {name: self.read(f"/dev/phone/settings/global/{name}").strip() for name in self._names()}
        found["fixed_performance"] = self.read("/dev/phone/fixed_performance").strip()
        for line in self.read("/dev/phone/dumpsys/power").splitlines():
            if line.startswith("  mWakefulness="):
                found["wakefulness"] = line.partition("=")[2]
        return found

    def calls(self) -> list[str]:
        """Every call of a service such as "settings put global low_power 0", in order."""
        return self.read("/dev/phone/log").splitlines()

    def _names(self) -> list[str]:
        folder = "/dev/phone/settings/global/"
        return sorted(path.removeprefix(folder) for path in self.files(folder))
