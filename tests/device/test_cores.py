"""The big cores: as phones tell, as the table knows, as Linux takes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_effvit.device.cores import best_cores, big_cores, chip, chips, core_name, mask
from keras_effvit.device.probe import Cluster
from keras_effvit.device.properties import Properties, properties

#: Capacities, clocks, and the big and the best cores by hand.
PHONES = {
    "1 + 3 + 4": ([(4, 325, 2016000), (3, 828, 2803200), (1, 1024, 3187200)], (4, 5, 6, 7), (7,)),
    "2 + 2 + 4": ([(4, 250, 1803000), (2, 620, 2253000), (2, 1024, 2802000)], (4, 5, 6, 7), (6, 7)),
    "no little ones": ([(6, 870, 3532800), (2, 1024, 4320000)], tuple(range(8)), (6, 7)),
    "4 + 4, no capacities": ([(4, None, 1690000), (4, None, 2314000)], (4, 5, 6, 7), (4, 5, 6, 7)),
    "1 + 3 + 4, no capacities": ([(4, None, 1804800), (3, None, 2419200), (1, None, 2841600)], (4, 5, 6, 7), (7,)),
    "all alike": ([(8, None, 1500000)], tuple(range(8)), tuple(range(8))),
    "all alike, with capacities": ([(4, 1024, 1500000)], (0, 1, 2, 3), (0, 1, 2, 3)),
    "silent": ([(8, None, None)], (), ()),
    "half silent": ([(4, 300, None), (4, None, None)], (), ()),
}


def phone(clusters, **facts):
    found, first = [], 0
    for count, capacity, khz in clusters:
        found.append(Cluster(tuple(range(first, first + count)), capacity, khz))
        first += count
    return Properties(clusters=tuple(found), **facts)


@pytest.mark.parametrize("name", PHONES)
def test_phones_that_tell(name):
    clusters, big, best = PHONES[name]
    assert big_cores(phone(clusters)) == big
    assert best_cores(phone(clusters)) == best


@pytest.mark.parametrize("row", chips(), ids=lambda row: row.name)
def test_the_table_is_whole(row):
    cpus = [cpu for numbers, _ in row.clusters for cpu in numbers]
    assert cpus == list(range(len(cpus)))
    assert row.big == tuple(cpus[-len(row.big) :])
    assert all(numbers[0] in row.big or not set(numbers) & set(row.big) for numbers, _ in row.clusters)
    assert all(
        core in {core_name(f"41:{part:03x}") for part in range(0xD00, 0xE00)} | {"Oryon"} for _, core in row.clusters
    )
    for model in row.models:
        assert chip(Properties(soc=f"{model.lower()}-AC")) == row
    for platform in row.platforms:
        assert chip(Properties(platform=platform)) == row


def test_no_two_rows_claim_a_phone():
    names = [name for row in chips() for name in {each.lower() for each in row.models + row.platforms}]
    assert len(names) == len(set(names))
    assert len(chips()) >= 14


def test_the_table_helps_where_a_phone_is_silent():
    silent = [(9, None, None)]
    assert big_cores(phone(silent, soc="Tensor G3")) == (4, 5, 6, 7, 8)
    assert best_cores(phone(silent, soc="Tensor G3")) == (8,)
    assert big_cores(phone(silent, platform="zuma")) == (4, 5, 6, 7, 8)
    # Its clocks alone would take six of eight for little.
    elite = phone([(6, None, 3532800), (2, None, 4320000)], soc="SM8750")
    assert big_cores(elite) == tuple(range(8))
    assert best_cores(elite) == (6, 7)


def test_what_a_phone_tells_goes_before_the_table():
    assert big_cores(phone([(4, 1024, None), (5, 300, None)], soc="Tensor G3")) == (0, 1, 2, 3)
    # Two processors cannot be this chip: an emulator says what it likes.
    assert big_cores(phone([(1, None, 1000), (1, None, 2000)], soc="Tensor G3")) == (1,)


def test_unknown_chips():
    assert chip(Properties()) is None
    assert chip(Properties(soc="SM0000", platform="nonsense")) is None
    assert big_cores(Properties(soc="SM0000")) == ()


@given(
    st.lists(
        st.tuples(st.integers(1, 6), st.none() | st.integers(1, 1024), st.none() | st.integers(1, 5_000_000)),
        max_size=5,
    ),
    st.sampled_from(["", "Tensor G3", "SM8550-AB", "nonsense"]),
)
def test_the_best_are_among_the_big_and_these_exist(clusters, soc):
    found = phone(clusters, soc=soc)
    big, best = big_cores(found), best_cores(found)
    assert set(best) <= set(big)
    assert bool(best) == bool(big)
    if clusters:
        assert set(big) <= {cpu for each in found.clusters for cpu in each.cpus}


@given(st.sets(st.integers(0, 63)))
def test_masks_hold_exactly_these(cpus):
    assert {bit for bit in range(64) if int(mask(cpus), 16) >> bit & 1} == cpus


def test_a_phone_takes_the_mask(both):
    big = big_cores(properties(both.device))
    assert big
    said = both.device.shell(f"taskset {mask(big)} grep Cpus_allowed: /proc/self/status").check().stdout
    assert int(said.split()[-1].replace(",", ""), 16) == int(mask(big), 16)
