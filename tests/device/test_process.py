"""Programs that do not end, with the programs they start."""

import os
import sys
import time

import pytest

from keras_effvit.device.process import Program

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a shell")


def alive(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{number}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def test_output_comes_as_it_is_written(tmp_path):
    """The program says no more before its first line is read."""
    heard = tmp_path / "heard"
    script = 'echo one; while ! test -e "$0"; do sleep 0.01; done; echo two; echo oops >&2; exit 3'
    with Program(["sh", "-c", script, str(heard)]) as program:
        assert program.read(20.0) == b"one\n"
        heard.touch()
        assert program.read(20.0) == b"two\n"
        assert program.read(20.0) == b""
        assert program.wait(20.0) == 3
        assert program.stderr == "oops\n"


def test_nothing_is_an_answer_too():
    with Program(["sleep", "60"]) as program:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            program.read(0.3)
        with pytest.raises(TimeoutError):
            program.wait(0.1)
        assert 0.3 < time.monotonic() - began < 30


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_leaving_ends_it_and_its_children():
    with Program(["sh", "-c", "sleep 60 & echo $!; echo $$; wait"]) as program:
        said = b""
        while said.count(b"\n") < 2:
            said += program.read(5.0)
        numbers = [int(word) for word in said.split()]
        assert all(alive(number) for number in numbers)
    end = time.monotonic() + 20
    while any(alive(number) for number in numbers) and time.monotonic() < end:
        time.sleep(0.02)
    assert not any(alive(number) for number in numbers)


def test_what_a_program_leaves_running_is_not_waited_for():
    # As adb's client, which starts the server: with its own session, and perhaps with our pipes.
    script = "import subprocess, sys; subprocess.Popen(['sleep', '30'], start_new_session=True); print('done')"
    with Program([sys.executable, "-c", script]) as program:
        began = time.monotonic()
        said = b""
        while chunk := program.read(20.0):
            said += chunk
        assert said == b"done\n"
        assert program.wait(5.0) == 0
        assert time.monotonic() - began < 25


def test_it_has_no_input_and_the_environment_it_is_given():
    with Program(["sh", "-c", "cat; echo $A-$HOME"], {"A": "b", "PATH": os.environ["PATH"]}) as program:
        assert program.read(5.0) == b"b-\n"
