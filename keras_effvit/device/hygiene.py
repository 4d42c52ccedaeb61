"""What must be right on a phone before its latencies mean anything, and what is put right for the time being."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from keras_effvit.device.cores import big_cores
from keras_effvit.device.errors import DeviceError, NotRestored
from keras_effvit.device.phone import Phone
from keras_effvit.device.properties import Properties
from keras_effvit.device.shell import command

#: A phone saves power when its battery is low, and throttles when it is warm.
LOW_PERCENT, LOWEST_PERCENT = 30, 10
WARM_BATTERY, SEVERE = 40.0, 3
#: A model, the runner and its libraries need less.
LITTLE_SPACE_KB, LITTLE_MEMORY_KB = 100_000, 300_000
_STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
_AWAKE = "stay_on_while_plugged_in"
_ANY_POWER = "15"  # AC, USB, wireless and dock
_PROBE = f'echo "{_AWAKE}=$(settings get global {_AWAKE})"; dumpsys power | grep -m1 mWakefulness='
_FIXED = "cmd power set-fixed-performance-mode-enabled"


@dataclass(frozen=True)
class Finding:
    """Something that disturbs a measurement.

    Args:
        level: "refuse" when its figures would mislead, "warn" when they may, "note" when they should carry it along.
        text: what is the case.
        fix: what to do about it.
    """

    level: Literal["note", "warn", "refuse"]
    text: str
    fix: str

    def __str__(self) -> str:
        return f"{self.text} {self.fix}"


def findings(properties: Properties) -> tuple[Finding, ...]:
    """What disturbs a measurement, the worst first.

    Args:
        properties: of the phone.

    Example:
        >>> [finding.level for finding in findings(Properties(low_power=True))]
        ['refuse', 'warn']
    """
    found = [*_power(properties), *_heat(properties), *_processors(properties), *_system(properties)]
    return tuple(sorted(found, key=lambda each: ("refuse", "warn", "note").index(each.level)))


def _power(properties: Properties) -> Iterator[Finding]:
    percent = properties.battery.percent
    if percent is not None and percent < LOW_PERCENT:
        level = "refuse" if percent < LOWEST_PERCENT else "warn"
        yield Finding(level, f"The battery is at {percent:.0f} %.", f"Charge it to {LOW_PERCENT} % at least.")
    if properties.low_power:
        yield Finding("refuse", "The phone saves power, which slows it down.", "Switch its battery saver off.")
    if properties.battery.charging:
        yield Finding("note", "The phone is being charged, which warms it.", "Compare like with like.")
    if properties.awake is False:
        yield Finding("warn", "The screen is off, and a sleeping phone slows down.", "Wake and unlock the phone.")


def _heat(properties: Properties) -> Iterator[Finding]:
    status = properties.thermal_status
    if status is None:
        yield Finding("note", "The phone does not tell whether it throttles.", "Look at the drift of the reference.")
    elif status > 0:
        level = "refuse" if status >= SEVERE else "warn"
        yield Finding(level, f"The phone throttles: {_STATUS[status]}.", "Let it cool down, out of its case.")
    celsius = properties.battery.celsius
    if celsius is not None and celsius > WARM_BATTERY:
        yield Finding("warn", f"The battery is at {celsius:.0f} degrees Celsius.", "Let the phone cool down.")


def _processors(properties: Properties) -> Iterator[Finding]:
    if not big_cores(properties):
        fix = "Give a CPU mask if you know them; else the scheduler chooses, and latencies scatter."
        yield Finding("warn", "The phone does not tell which of its processors are the big ones.", fix)
    asleep = sorted({cpu for each in properties.clusters for cpu in each.cpus} - set(properties.online))
    if asleep and properties.online:
        text = f"Processors {', '.join(map(str, asleep))} are switched off."
        yield Finding("warn", text, "Leave any power-saving mode and let the phone cool down.")
    slow = {each.governor for each in properties.clusters} & {"powersave", "userspace"}
    if slow:
        text = f"The clock is governed by {', '.join(sorted(slow))}."
        yield Finding("warn", text, "Choose the phone's usual governor.")


def _system(properties: Properties) -> Iterator[Finding]:
    if properties.booted is False:
        yield Finding("refuse", "The phone is still starting.", "Wait until it shows its home screen.")
    if properties.emulated:
        yield Finding("warn", "This is an emulator: its latencies tell nothing of a phone.", "Attach a phone.")
    if properties.abis and "arm64-v8a" not in properties.abis:
        text = f"The phone runs {', '.join(properties.abis)} and no 64-bit ARM programs."
        yield Finding("warn", text, "Use `benchmark_model` built for one of these.")
    if properties.free_kb is not None and properties.free_kb < LITTLE_SPACE_KB:
        yield Finding("warn", f"Only {properties.free_kb // 1000} MB are free.", "Delete something on the phone.")
    if properties.available_kb is not None and properties.available_kb < LITTLE_MEMORY_KB:
        text = f"Only {properties.available_kb // 1000} MB of memory are available."
        yield Finding("warn", text, "Close other apps, or restart the phone.")


@dataclass
class Settings:
    """What `settled` changed.

    Args:
        changed: in words.
        warnings: what it could not change, in words.
        undo: commands that restore it, the first to run first.
    """

    changed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    undo: list[str] = field(default_factory=list)


@contextlib.contextmanager
def settled(
    phone: Phone, *, awake: bool = True, fixed_performance: bool = False, patience: float = 30.0
) -> Iterator[Settings]:
    """Has a phone at its best for a while, and then as it was, whatever happens in between.

    Args:
        phone: the phone.
        awake: to switch the screen on and keep it on.
        fixed_performance: to hold the clocks at what the phone can keep up, if its maker provides for that.
        patience: how long to wait for a phone that is gone when all is over, in seconds.

    Yields:
        What was changed.

    Raises:
        NotRestored: if the phone is gone at the end; it says what to do by hand. An error from within goes first, and
            carries that as a note.

    Example:
        >>> with settled(phone) as settings:
        ...     measure()
    """
    settings = Settings()
    try:
        if awake:
            _wake(phone, settings)
        if fixed_performance:
            _fix_performance(phone, settings)
        yield settings
    except BaseException as error:
        if lost := _restore(phone, settings, patience):
            error.add_note(str(lost))
            settings.warnings.append(str(lost))
        raise
    if lost := _restore(phone, settings, patience):
        raise lost


def _wake(phone: Phone, settings: Settings) -> None:
    said = phone.shell(_PROBE, timeout=30.0).stdout
    before = said.partition(f"{_AWAKE}=")[2].split("\n")[0].strip()
    slept = "mWakefulness=" in said and "mWakefulness=Awake" not in said
    if before.isdecimal() and before != _ANY_POWER:
        undo = command("settings", "put", "global", _AWAKE, before)
    else:
        undo = command("settings", "delete", "global", _AWAKE)
    if before != _ANY_POWER:
        words = ("settings", "put", "global", _AWAKE, _ANY_POWER)
        _change(phone, settings, command(*words), undo, "the screen stays on")
    if slept:
        sleep, wake = (command("input", "keyevent", f"KEYCODE_{key}") for key in ("SLEEP", "WAKEUP"))
        _change(phone, settings, wake, sleep, "the screen was switched on")


def _fix_performance(phone: Phone, settings: Settings) -> None:
    _change(phone, settings, f"{_FIXED} true", f"{_FIXED} false", "the performance is fixed")


def _change(phone: Phone, settings: Settings, change: str, undo: str, text: str) -> None:
    # Noted before it is done: a cable that is pulled now leaves it open whether it was.
    settings.undo.insert(0, undo)
    done = phone.shell(change, timeout=30.0)
    if done.returncode:
        settings.undo.remove(undo)
        said = (done.stderr + done.stdout).strip().split("\n")[0]
        settings.warnings.append(f"The phone refused that {text}: {said}")
    else:
        settings.changed.append(text)


def _restore(phone: Phone, settings: Settings, patience: float) -> NotRestored | None:
    open_ones: list[str] = []
    reason: object = ""
    for undo in settings.undo:
        try:
            if not open_ones:
                phone.wait(timeout=patience)
            if (done := phone.shell(undo, timeout=30.0)).returncode == 0:
                continue
            reason = (done.stderr + done.stdout).strip()
        except DeviceError as error:
            reason = error.message
            patience = 0.0  # it had its time
        open_ones.append(undo)
    if not open_ones:
        return None
    by_hand = "; ".join(command("adb", "-s", phone.serial, "shell", each) for each in open_ones)
    return NotRestored(
        f"Expected to restore {len(open_ones)} settings of {phone.serial}. Received: {reason}",
        f"When it is back, run: {by_hand}",
    )


@dataclass(frozen=True)
class Cooling:
    """How a phone cooled down.

    Args:
        seconds: that it took.
        celsius: at the end; `None` if it does not tell.
        reached: whether it is as cool as it was to be, as far as it tells.
    """

    seconds: float
    celsius: float | None
    reached: bool


def cool_down(
    read_celsius: Callable[[], float | None],
    start: float | None,
    *,
    within: float = 1.0,
    longest: float = 60.0,
    every: float = 2.0,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Cooling:
    """Waits until a phone is about as cool as it was at the start.

    Args:
        read_celsius: how warm it is.
        start: how warm it was; with `None` nothing is waited for.
        within: how much warmer it may be.
        longest: to wait, in seconds.
        every: to look, in seconds.
        sleep: waits.
        clock: seconds that pass.

    Returns:
        How it went.

    Example:
        >>> cool_down(lambda: skin_celsius(phone), 31.5)
        Cooling(seconds=14.2, celsius=32.4, reached=True)
    """
    began = clock()
    while True:
        celsius = read_celsius()
        passed = clock() - began
        if start is None or celsius is None or celsius <= start + within:
            return Cooling(passed, celsius, True)
        if passed >= longest:
            return Cooling(passed, celsius, False)
        sleep(min(every, longest - passed))
