"""The runner on an emulated ARM core, with the libraries that a phone gets, and on this machine."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from keras_effvit.device.assets import assets
from keras_effvit.device.engine import Plan
from keras_effvit.device.events import Answers, arguments
from keras_effvit.device.host import BINARIES, HostRunner
from tests.phones import arm


def on_arm(content: bytes, inputs: Sequence[bytes], cpu: str = arm.CPU) -> list[bytes]:
    """What a file answers on an emulated core.

    Args:
        content: the file.
        inputs: the contents of its inputs, in its order.
        cpu: as the emulator calls it.

    Raises:
        DeviceError: if it does not run.
        cache.UnavailableError: where there is no emulator.
    """
    libraries = assets()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(content)
        for position, values in enumerate(inputs):
            (folder / f"input_{position}.bin").write_bytes(values)
        command = [BINARIES / "runner-aarch64", f"--lib={libraries / 'libLiteRt.so'}"]
        command += [f"--graph={folder}/model.tflite", f"--input_dir={folder}", f"--output_dir={folder}"]
        done = arm.run_arm([*command, *arguments(Plan(), timed=False)], cpu, libraries=[libraries])
        answers = Answers.of(done.stdout.splitlines())
        answers.check(done.returncode, done.stderr)
        return [(folder / f"output_{position}.bin").read_bytes() for position in range(len(answers.outputs))]


def here(content: bytes, inputs: Sequence[bytes]) -> list[bytes]:
    """What it answers on this machine.

    Args:
        content: the file.
        inputs: the contents of its inputs, in its order.

    Raises:
        DeviceError: where the runner does not fit the machine.
    """
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(content)
        file.flush()
        engine = HostRunner()
        engine.prepare({"model": Path(file.name)})
        return engine.outputs("model", inputs)
