"""Commands on a phone: exact words, exact output, a proven end, and nothing that runs on."""

import subprocess
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_effvit.device import errors
from keras_effvit.device.shell import Shell, command
from tests.device.conftest import nothing_left, raises, reach
from tests.phones import fixtures
from tests.phones.emulator import Emulator

UGLY = [
    "a b",
    "it's",
    'say "hi"',
    "$(touch pwned)",
    "`touch pwned`",
    "$HOME",
    "new\nline",
    "-rf",
    "ä;b|c&d",
    "*",
    "\\n",
    "~",
]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=5))
def test_words_reach_a_shell_as_they_are(words):
    done = subprocess.run(["sh", "-c", "printf '%s\\0' " + command(*words)], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == words


def test_words_reach_a_phone_as_they_are(both):
    folder = "/data/local/tmp/ugly"
    both.device.shell(f"mkdir {folder} && cd {folder} && {command('touch', '--', *UGLY)}").check()
    assert sorted(both.phone.files(folder)) == sorted(f"{folder}/{name}" for name in UGLY)


@pytest.mark.parametrize(
    ("script", "stdout", "stderr", "code"),
    [
        ("true", "", "", 0),
        ("exit 7", "", "", 7),
        ("exit 255", "", "", 255),
        ("echo out; echo err >&2; false", "out\n", "err\n", 1),
        ("echo -n half a line", "half a line", "", 0),
        ("echo; echo a; echo; echo", "\na\n\n\n", "", 0),
        ("cat", "", "", 0),
        ("exec basename /a/b", "b\n", "", 0),
        ("echo a\n\n# a comment\necho b # another", "a\nb\n", "", 0),
    ],
)
def test_output_and_code_are_exactly_the_commands(both, script, stdout, stderr, code):
    assert both.device.shell(script) == Shell(stdout, stderr, code)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("kill -KILL $$", errors.Killed),
        ("kill -SYS $$", errors.Seccomp),
        ("no-such-program", errors.FileMissing),
        ("/data/local/tmp/none", errors.FileMissing),
        ("echo '#!/bin/sh' > /data/local/tmp/x; /data/local/tmp/x", errors.NotExecutable),
        ("echo 'no reason' >&2; exit 1", errors.RunFailed),
    ],
)
def test_a_failure_has_a_type(both, script, kind):
    failed = both.device.shell(script)
    with raises(kind, "Expected the test to pass. Received: "):
        failed.check("the test to pass")


def test_nothing_runs_from_the_card(arm_phone, adb_server):
    device = reach(adb_server, arm_phone).device
    with raises(errors.NotExecutable, "/data/local/tmp"):
        device.shell("cp /system/bin/toybox /sdcard/ls && chmod 755 /sdcard/ls; /sdcard/ls").check()


def test_a_pid_that_a_command_writes_down_is_its_own(both):
    with both.device.stream("echo $$; exec sleep 31", timeout=20) as lines:
        number = int(next(lines))
        said = both.device.shell(f"cat /proc/{number}/cmdline").stdout.split("\0")
    assert "sleep" in said
    assert nothing_left(both)


def test_lines_come_as_they_are_written(both):
    """The phone says no more before its first line is read."""
    script = "cd /data/local/tmp; rm -f heard; echo one; while ! test -e heard; do sleep 0.1; done; "
    with both.device.stream(f"{script} echo; echo two; echo err >&2; exit 4", timeout=60) as lines:
        words = [next(iter(lines))]
        assert both.device.shell("cd /data/local/tmp; touch heard", timeout=60).returncode == 0
        words += lines
    assert words == ["one", "", "two"]
    assert (lines.stdout, lines.stderr, lines.returncode) == ("one\n\ntwo\n", "err\n", 4)


@pytest.mark.parametrize(
    "script", ["echo one; exec sleep 31", "echo one; sleep 31; echo two", "echo one; cd / && sleep 31"]
)
@pytest.mark.parametrize("idle", [None, 1.0])
def test_time_is_up(both, script, idle):
    began = time.monotonic()
    with raises(errors.TimedOut, "silence for 1 s" if idle else "no end within 1.5 s") as caught:
        for _ in both.device.stream(script, timeout=30 if idle else 1.5, idle=idle):
            pass
    assert caught.value.partial == "one\n"
    assert time.monotonic() - began < 25
    assert nothing_left(both)


def test_who_stops_listening_stops_the_command(both):
    with both.device.stream("echo one; echo two; exec sleep 31", timeout=30) as lines:
        assert next(lines) == "one"
    assert nothing_left(both)


def test_the_cable_is_pulled_while_a_command_runs(both):
    lines = []
    with raises(errors.Disconnected, "cable") as caught:
        for line in both.device.stream("echo one; echo two; echo -n thr; sleep 31; echo ee", timeout=30):
            lines.append(line)
            if line == "two":
                threading.Timer(0.5, both.phone.unplug).start()
    assert lines == ["one", "two"]
    assert caught.value.partial == "one\ntwo\nthr"
    assert nothing_left(both)
    both.phone.plug()
    both.device.wait(timeout=30)
    assert both.device.shell("echo back").stdout == "back\n"


def test_the_last_line_is_cut_off(both):
    """The output has come in full and its proof has not: it is not believed."""
    both.phone.drop_after(up=4000)
    with raises(errors.Disconnected) as caught:
        both.device.shell("echo " + "x" * 4000)
    assert set(caught.value.partial) <= {"x", "\n"}


def test_a_phone_that_says_nothing(both):
    both.phone.mute()
    with raises(errors.TimedOut):
        both.device.shell("echo hello", timeout=1.5)
    both.phone.unmute()
    both.device.wait(timeout=20)


def test_the_phones_shell_is_killed(both):
    def kill():
        number = next(n for n, words in both.phone.processes().items() if "31" in words and "sh" not in words)
        both.phone.kill(number)

    threading.Timer(1.5, kill).start()
    assert both.device.shell("exec sleep 31", timeout=20).returncode == 137


def test_a_background_process_does_not_hold_the_answer(both):
    began = time.monotonic()
    assert both.device.shell("sleep 31 & echo started", timeout=25) == Shell("started\n", "", 0)
    assert time.monotonic() - began < 25


def test_a_phone_that_mixes_its_outputs_and_forgets_codes(adb_server):
    """Android before 7 has one output, no exit codes, and a terminal's ends of lines."""
    with fixtures.attached(adb_server, Emulator(old=True)) as old:
        done = reach(adb_server, old).device.shell("echo out; echo err >&2; exit 7")
    assert done == Shell("out\nerr\n", "", 7)
