"""What disturbs a measurement is found, and what was changed on a phone is changed back, whatever happens."""

import contextlib
import subprocess
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_effvit.device import errors
from keras_effvit.device.hygiene import cool_down, findings, settled
from keras_effvit.device.probe import Battery, Cluster
from keras_effvit.device.properties import Properties, properties, skin_celsius
from tests.device.conftest import raises

CLUSTERS = (Cluster((0, 1), 300, 1000), Cluster((2, 3), 1024, 3000))
#: Nothing disturbs this one.
GOOD = {
    "abis": ("arm64-v8a",),
    "booted": True,
    "clusters": CLUSTERS,
    "online": (0, 1, 2, 3),
    "thermal_status": 0,
    "battery": Battery(80.0, 27.0, False),
    "low_power": False,
    "awake": True,
    "free_kb": 5_000_000,
    "available_kb": 2_000_000,
}


@pytest.mark.parametrize(
    ("change", "level", "word"),
    [
        ({"battery": Battery(29.0)}, "warn", "29 %"),
        ({"battery": Battery(9.0)}, "refuse", "9 %"),
        ({"battery": Battery(80.0, 41.0)}, "warn", "41 degrees"),
        ({"battery": Battery(80.0, 27.0, True)}, "note", "charged"),
        ({"low_power": True}, "refuse", "saves power"),
        ({"awake": False}, "warn", "screen"),
        ({"thermal_status": 1}, "warn", "light"),
        ({"thermal_status": 3}, "refuse", "severe"),
        ({"thermal_status": None}, "note", "does not tell"),
        ({"clusters": (), "online": ()}, "warn", "big ones"),
        ({"online": (0, 1)}, "warn", "2, 3 are switched off"),
        ({"clusters": (Cluster((0, 1, 2, 3), 1024, 1, "powersave"),)}, "warn", "powersave"),
        ({"booted": False}, "refuse", "starting"),
        ({"emulated": True}, "warn", "emulator"),
        ({"abis": ("x86_64", "x86")}, "warn", "x86_64, x86"),
        ({"free_kb": 12_345}, "warn", "12 MB"),
        ({"available_kb": 123_456}, "warn", "123 MB"),
    ],
)
def test_what_disturbs_is_found(change, level, word):
    assert findings(Properties(**GOOD)) == ()
    [found] = findings(Properties(**{**GOOD, **change}))
    assert found.level == level
    assert word in found.text
    assert found.fix.endswith(".")
    assert str(found) == f"{found.text} {found.fix}"


def test_the_worst_comes_first(emulated):
    emulated.device.shell(
        "settings put global low_power 1; input keyevent KEYCODE_SLEEP; dumpsys battery set level 7"
    ).check()
    levels = [found.level for found in findings(properties(emulated.device))]
    assert levels == ["refuse", "refuse", "warn", "note"]


@pytest.fixture
def asleep(both):
    """A phone that sleeps, and was never told to stay awake."""
    both.device.shell("input keyevent KEYCODE_SLEEP; settings delete global stay_on_while_plugged_in").check()
    return both


def test_settings_are_changed_and_changed_back(both):
    before = both.phone.settings()
    with settled(both.device, fixed_performance=True) as settings:
        during = both.phone.settings()
    assert during == {**before, "stay_on_while_plugged_in": "15", "fixed_performance": "true"}
    assert settings.changed == ["the screen stays on", "the performance is fixed"]
    assert settings.warnings == []
    assert both.phone.settings() == before


def test_a_sleeping_phone_wakes_and_sleeps_again(asleep):
    before = asleep.phone.settings()
    assert before["wakefulness"] == "Asleep"
    assert "stay_on_while_plugged_in" not in before
    with settled(asleep.device):
        assert asleep.phone.settings()["wakefulness"] == "Awake"
    assert asleep.phone.settings() == before


@pytest.mark.parametrize("value", ["0", "3", "15"])
def test_any_setting_comes_back(emulated, value):
    emulated.device.shell(f"settings put global stay_on_while_plugged_in {value}").check()
    with settled(emulated.device):
        assert emulated.phone.settings()["stay_on_while_plugged_in"] == "15"
    assert emulated.phone.settings()["stay_on_while_plugged_in"] == value


def test_nothing_is_touched_that_need_not_be(emulated):
    emulated.device.shell("settings put global stay_on_while_plugged_in 15").check()
    before = emulated.phone.calls()
    with settled(emulated.device) as settings:
        pass
    with settled(emulated.device, awake=False):
        pass
    assert settings.changed == []
    assert not [
        call for call in emulated.phone.calls()[len(before) :] if call.startswith(("settings put", "input", "cmd"))
    ]


@pytest.mark.parametrize("kind", [errors.RunFailed, KeyboardInterrupt, ValueError])
def test_settings_come_back_after_a_failure(emulated, kind):
    emulated.device.shell("input keyevent KEYCODE_SLEEP; settings delete global stay_on_while_plugged_in").check()
    before = emulated.phone.settings()
    with pytest.raises(kind) as caught, settled(emulated.device, fixed_performance=True):
        raise kind("Something went wrong.")
    assert emulated.phone.settings() == before
    assert not getattr(caught.value, "__notes__", [])


def test_settings_come_back_with_the_phone(asleep):
    """A cable that is pulled, and put back before patience ends."""
    before = asleep.phone.settings()
    with raises(errors.Disconnected), settled(asleep.device, fixed_performance=True, patience=30.0):
        threading.Timer(0.5, asleep.phone.unplug).start()
        threading.Timer(2.5, asleep.phone.plug).start()
        asleep.device.shell("echo one; sleep 31", timeout=30)
    assert asleep.phone.settings() == before


def test_what_cannot_be_restored_is_said_and_how_to_do_it(asleep):
    before = asleep.phone.settings()
    expected = raises(errors.NotRestored, "3 settings", asleep.phone.serial)
    with expected as caught, settled(asleep.device, fixed_performance=True, patience=0.3):
        asleep.phone.unplug()
    asleep.phone.plug()
    asleep.device.wait(timeout=30)
    assert asleep.phone.settings() != before
    by_hand = caught.value.fix.partition("run: ")[2].replace("adb -s", f"'{asleep.server.path}' -s")
    subprocess.run(["sh", "-c", by_hand], env=asleep.server.env, check=True, timeout=60, stdin=subprocess.DEVNULL)
    assert asleep.phone.settings() == before


def test_an_error_within_carries_what_could_not_be_restored(emulated):
    with raises(errors.Disconnected) as caught, settled(emulated.device, patience=0.3):
        threading.Timer(0.5, emulated.phone.unplug).start()
        emulated.device.shell("echo one; sleep 31", timeout=30)
    [note] = caught.value.__notes__
    assert "settings put global stay_on_while_plugged_in 0" in note


def test_a_phone_that_refuses_is_measured_nevertheless(emulated):
    refusal = "#!/bin/sh\necho 'java.lang.SecurityException: not you' >&2; exit 255\n"
    emulated.phone.write("/system/bin/cmd", refusal)
    before = emulated.phone.settings()
    with settled(emulated.device, fixed_performance=True) as settings:
        assert settings.changed == ["the screen stays on"]
        assert ["SecurityException: not you" in each for each in settings.warnings] == [True]
    assert emulated.phone.settings() == before


def test_a_cable_pulled_while_settings_are_changed(both):
    before = both.phone.settings()
    with contextlib.suppress(errors.DeviceError), settled(both.device, fixed_performance=True, patience=30.0):
        both.phone.drop_after(up=10)
        both.device.shell("true")
    assert both.phone.settings() == before


class Kettle:
    """A phone that cools by half a degree in a second, and time that passes when it is waited for."""

    def __init__(self, celsius, coolest=20.0):
        self.celsius, self.coolest, self.now = celsius, coolest, 0.0

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds
        self.celsius = max(self.coolest, self.celsius - 0.5 * seconds)

    def wait(self, start, **options):
        return cool_down(lambda: self.celsius, start, sleep=self.sleep, clock=lambda: self.now, **options)


def test_a_warm_phone_is_waited_for():
    cooled = Kettle(40.0).wait(35.0)
    assert cooled.reached
    assert (cooled.seconds, cooled.celsius) == (8.0, 36.0)
    assert Kettle(35.9).wait(35.0).seconds == 0


def test_not_for_ever():
    cooled = Kettle(60.0, coolest=50.0).wait(35.0, longest=31.0)
    assert not cooled.reached
    assert (cooled.seconds, cooled.celsius) == (31.0, 50.0)


@given(st.none() | st.floats(0, 60), st.none() | st.floats(0, 90), st.floats(0, 5), st.floats(0, 100))
def test_waiting_ends(start, celsius, within, longest):
    kettle = Kettle(celsius or 0.0)
    cooled = cool_down(
        lambda: None if celsius is None else kettle.celsius,
        start,
        within=within,
        longest=longest,
        sleep=kettle.sleep,
        clock=lambda: kettle.now,
    )
    assert cooled.seconds <= longest
    assert cooled.reached or (start is not None and cooled.celsius is not None and cooled.celsius > start + within)


def test_a_phone_cools_down(emulated):
    path = "/dev/phone/dumpsys/thermalservice"
    cold = emulated.phone.read(path)
    emulated.phone.write(path, cold.replace("37.4", "43.5"))
    threading.Timer(1.0, emulated.phone.write, (path, cold)).start()
    cooled = cool_down(lambda: skin_celsius(emulated.device), 37.0, every=0.2, longest=20.0)
    assert cooled.reached
    assert cooled.celsius == 37.4
    assert cooled.seconds > 0.5
