"""What phones tell of themselves: one in a box, others as they were seen in the wild, and nonsense."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_effvit.device import probe
from keras_effvit.device.probe import Battery, Cluster, Temperature
from keras_effvit.device.properties import Properties, parse_probe, properties, skin_celsius
from keras_effvit.report.records import Device, Run

#: Android 8: no thermal service, no capacities, no model of the chip, a long name of a disk, blanks and damage.
OLD = """noise before
@@props
[ro.product.manufacturer]: [samsung]
[ro.product.model]: [SM-G950F]
[ro.board.platform]: [exynos5]
[ro.product.cpu.abilist]: [arm64-v8a,armeabi-v7a,armeabi]
[ro.build.version.sdk]: [twenty-six]
[persist.broken]: [two
lines]
[sys.boot_completed]: []
@@kernel
4.4.111 aarch64
@@page
@@cpus
0||1690000|interactive
1||1690000|interactive
4||2314000|interactive
5||2314000|interactive
nonsense|||
10||1690000|interactive
@@cores
@@online
0-1,4-5
@@zones
BIG|45000
LITTLE|38
battery|271
skin-therm|0
quiet_skin|36400
off|-273000
odd|
|30000
@@thermal
Can't find service: thermalservice
@@battery
Current Battery Service state:
  AC powered: true
  USB powered: false
  level: 17
  scale: 20
  status: 5
  temperature: 2710
@@power
  mWakefulness=Dozing
@@settings
airplane_mode_on=1
low_power=null
@@disk
Filesystem                                             1K-blocks     Used Available Use% Mounted on
/dev/block/platform/11120000.ufs/by-name/USERDATA
                                                       56000000 50000000   5912345  90% /data
@@memory
MemTotal:        3761234 kB
MemAvailable:     812345 kB
@@load
9.91 9.80 9.75 3/2205 12345
@@end
"""
#: Sections of an Android 12 with an older interface to its sensors.
HEAT = """@@thermal
Thermal Status: 1
Cached temperatures:
\tTemperature{mValue=21.0, mType=3, mName=SKIN, mStatus=0}
HAL Ready: true
HAL connection:
\tThermalHAL 2.0 connected: yes
Current temperatures from HAL:
\tTemperature{mValue=25.6, mType=0, mName=AP, mStatus=0}
\tTemperature{mValue=27.5, mType=3, mName=SKIN, mStatus=0}
\tTemperature{mValue=NaN, mType=3, mName=SKIN2, mStatus=0}
\tTemperature{mValue=0.0, mType=9, mName=NPU, mStatus=0}
\tTemperature{mValue=31.25, mType=3, mName=QUIET-SKIN, mStatus=0}
Current cooling devices from HAL:
\tCoolingDevice{mValue=0, mType=2, mName=thermal-cpufreq-0}
@@end
"""


def test_a_phone_tells_everything_in_one_go(both):
    before = len(both.phone.calls())
    found = properties(both.device)
    asked = [call.split()[0] for call in both.phone.calls()[before:]]
    assert asked == ["dumpsys", "dumpsys", "dumpsys", "settings", "settings"]
    assert (found.name, found.soc, found.platform) == ("Google Pixel 8", "Tensor G3", "zuma")
    assert (found.android, found.sdk, found.booted, found.emulated) == ("15", 35, True, False)
    assert found.build.startswith("google/shiba/shiba:15/")
    assert found.abis == ("arm64-v8a",)
    assert found.page_size in (4096, 16384)
    assert {each.governor for each in found.clusters} == {"sched_pixel"}
    assert sorted(cpu for each in found.clusters for cpu in each.cpus) == list(found.online)
    assert (1024, 2914000) in {(each.capacity, each.max_khz) for each in found.clusters}
    assert found.thermal_status == 0
    assert found.skin_celsius == 37.4
    assert found.battery == Battery(84.0, 27.1, True, ("USB",))
    assert (found.low_power, found.awake, found.airplane) == (False, True, False)
    assert (found.free_kb or 0) > 0
    assert 0 < (found.available_kb or 0) < (found.memory_kb or 0)
    assert found.load is not None
    if both.phone.runs_arm:
        assert found.kernel.endswith("aarch64")
        assert {each.part for each in found.clusters} == {"41:d0b"}
        assert (found.free_kb or 0) <= 256 * 1024


def test_what_is_written_down_names_no_phone(both):
    found = properties(both.device)
    number = both.device.shell("getprop ro.serialno").stdout.strip()
    assert number
    text = json.dumps(found.facts(), allow_nan=False)
    assert number not in text
    assert len(found.serial_sha) == 16
    run = Run(found.device(), "runner")
    again = Run.from_json(json.loads(json.dumps(run.to_json())))
    assert again.device.name == "Google Pixel 8"
    assert again.device.facts["clusters"][-1]["capacity"] == 1024


def test_changes_are_seen(both):
    both.device.shell(
        "settings put global low_power 1; input keyevent KEYCODE_SLEEP; dumpsys battery set level 7"
    ).check()
    both.device.shell(
        "cmd thermalservice override-status 3; dumpsys battery unplug; settings delete global wifi_on"
    ).check()
    found = properties(both.device)
    assert (found.low_power, found.awake, found.thermal_status) == (True, False, 3)
    assert (found.battery.percent, found.battery.powered) == (7.0, ())
    text = both.phone.read("/dev/phone/dumpsys/thermalservice")
    both.phone.write("/dev/phone/dumpsys/thermalservice", text.replace("mValue=37.4", "mValue=44.5"))
    assert skin_celsius(both.device) == 44.5


def test_a_phone_without_thermal_service_has_zones(both):
    both.phone.write("/dev/phone/dumpsys/thermalservice", "")
    found = properties(both.device)
    assert found.thermal_status is None
    assert found.temperatures == (
        Temperature("BIG", 41.0),
        Temperature("LITTLE", 38.0),
        Temperature("VIRTUAL-SKIN", 37.4, True),
    )


def test_an_old_phone():
    found = parse_probe(OLD)
    assert found == Properties(
        manufacturer="samsung",
        model="SM-G950F",
        platform="exynos5",
        kernel="4.4.111 aarch64",
        abis=("arm64-v8a", "armeabi-v7a", "armeabi"),
        booted=False,
        clusters=(
            Cluster((0, 1, 10), None, 1690000, "interactive"),
            Cluster((4, 5), None, 2314000, "interactive"),
        ),
        online=(0, 1, 4, 5),
        temperatures=(
            Temperature("BIG", 45.0),
            Temperature("LITTLE", 38.0),
            Temperature("battery", 27.1),
            Temperature("quiet_skin", 36.4, True),
        ),
        battery=Battery(85.0, None, False, ("AC",)),
        low_power=False,
        awake=False,
        airplane=True,
        free_kb=5912345,
        memory_kb=3761234,
        available_kb=812345,
        load=9.91,
    )
    assert found.name == "Samsung SM-G950F"
    assert found.skin_celsius == 36.4


def test_the_sensors_of_now_count():
    found = parse_probe(HEAT)
    assert found.thermal_status == 1
    assert [each.name for each in found.temperatures] == ["AP", "SKIN", "QUIET-SKIN"]
    assert found.skin_celsius == 31.25


@pytest.mark.parametrize(
    ("maker", "model", "name"),
    [("Google", "Pixel 8", "Google Pixel 8"), ("nothing", "Nothing A063", "Nothing A063"), ("", "", "unknown phone")],
)
def test_names_for_people(maker, model, name):
    assert Properties(manufacturer=maker, model=model).name == name


def test_nothing_is_known_of_nothing():
    assert parse_probe("") == Properties()
    assert Properties().facts() == {"emulated": False, "battery": Properties().facts()["battery"]}
    assert Properties().device() == Device("phone", "unknown phone", Properties().facts())


def test_the_script_asks_for_what_it_is_told():
    assert probe.sections("\n".join(f"@@{part}\n{part}!" for part in probe.HEAT)) == {p: f"{p}!" for p in probe.HEAT}
    assert "getprop" not in probe.script(probe.HEAT)


HEADS = [line for line in (OLD + HEAT).split("\n") if line.startswith("@@")]
PIECES = st.sampled_from((OLD + HEAT).split("\n")) | st.sampled_from(HEADS) | st.text()
NUMBERS = st.from_regex(r"[-+]?[0-9]{1,400}(\.[0-9]+)?|nan|inf|[0-9]{1,5}-[0-9]{1,5}", fullmatch=True)


@given(st.lists(PIECES, max_size=60).map("\n".join))
def test_nothing_can_crash_it(text):
    _holds(parse_probe(text))


@given(st.data())
def test_no_number_can_crash_it(data):
    lines = [str(line) for line in (OLD + HEAT).split("\n")]
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(lines) - 1))
        words: list[str] = lines[at].replace("=", "= ").replace("|", "| ").split(" ")
        words[data.draw(st.integers(0, len(words) - 1))] = data.draw(NUMBERS)
        lines[at] = " ".join(words).replace("= ", "=").replace("| ", "|")
    _holds(parse_probe("\n".join(lines)))


def _holds(found):
    json.dumps(found.facts(), allow_nan=False)
    assert found.skin_celsius is None or -40 < found.skin_celsius < 150
    assert found.thermal_status is None or 0 <= found.thermal_status <= 6
    assert found.battery.percent is None or 0 <= found.battery.percent <= 100
    assert all(each.cpus for each in found.clusters)
    assert found.name
