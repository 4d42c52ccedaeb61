"""The runner in C on a phone: deployed once, then a process of its own for every turn.

The phone gets a folder with the runner, a C library and LiteRT (see `assets`), and files named by their hashes. What a
session writes beside that, such as its process number, is in a folder below `runs/` that `close` removes.
"""

import secrets
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from keras_effvit.device.answering import AnsweringEngine
from keras_effvit.device.assets import assets, phone_litert_version
from keras_effvit.device.deposit import FOLDER, GRACE, check_files, sha256, sums
from keras_effvit.device.downloads import Progress
from keras_effvit.device.engine import Plan
from keras_effvit.device.errors import DeviceError, NoSpace, WrongAbi
from keras_effvit.device.events import Answers
from keras_effvit.device.host import BINARIES
from keras_effvit.device.phone import Phone
from keras_effvit.device.shell import command

_LOADER, _RUNNER = "ld-linux-aarch64.so.1", "runner"
#: The end of what LiteRT wrote to standard error, in bytes.
_TAIL = 4000


class PhoneRunner(AnsweringEngine):
    """The runner on a phone.

    Args:
        phone: the phone.
        folder: there, where programs may run; everything in it is ours.
        libraries: a local folder with what `assets` gives; downloaded when `None`.
        progress: is told of downloads.

    Example:
        >>> engine = PhoneRunner(Adb().phone())
        >>> engine.prepare({"model": Path("model.tflite")})
        >>> engine.measure("model", Plan(threads=4), 0).median_ms
        >>> engine.close()
    """

    name = "runner"

    def __init__(
        self, phone: Phone, folder: str = FOLDER, *, libraries: Path | None = None, progress: Progress | None = None
    ):
        self.phone = phone
        self.folder = folder.rstrip("/")
        #: What the latest `prepare` had to copy, by its name on the phone.
        self.pushed: tuple[str, ...] = ()
        self._libraries, self._progress = libraries, progress
        self._names: dict[str, str] = {}
        self._run_folder = f"runs/{secrets.token_hex(6)}"

    @property
    def settings(self) -> dict[str, str]:
        """What the record should say besides: which LiteRT the phone runs."""
        return {"litert": phone_litert_version()}

    def prepare(self, files: Mapping[str, Path]) -> None:
        """Brings the runner and the files to the phone, as far as they are not there yet.

        Args:
            files: by the names that the other methods take.

        Raises:
            AssetsMissing: if the libraries cannot be downloaded.
            WrongAbi: if the phone has no 64-bit ARM processor.
            DeviceError: if a file is missing, or the phone has no space for it.
        """
        check_files(files)
        self._check_processor()
        libraries = self._libraries or assets(progress=self._progress)
        wanted = {path.name: path for path in sorted(libraries.iterdir())} | {_RUNNER: BINARIES / "runner-aarch64"}
        programs = set(wanted)
        for name, path in files.items():
            # No name of a user's reaches the phone, and the same content goes there once.
            self._names[name] = f"{sha256(Path(path))}.tflite"
            wanted[self._names[name]] = Path(path)
        self.pushed = ()
        there = self._hashes(wanted)
        for name, path in wanted.items():
            if there.get(name) != (name.removesuffix(".tflite") if name not in programs else sha256(path)):
                self._push(path, name, name in programs)
                self.pushed += (name,)

    def outputs(self, file: str, inputs: Sequence[bytes]) -> list[bytes]:
        """What a file calculates.

        Args:
            file: its name.
            inputs: the raw content of the input tensors, in the file's order.

        Raises:
            DeviceError: if the inputs do not fit, or the file does not run.
        """
        there = f"{self.folder}/{self._run_folder}"
        words = [f"--input_dir={self._run_folder}", f"--output_dir={self._run_folder}"]
        with tempfile.TemporaryDirectory(prefix="keras_effvit_") as local:
            for position, content in enumerate(inputs):
                path = Path(local) / f"input_{position}.bin"
                path.write_bytes(content)
                self.phone.push(path, f"{there}/{path.name}")
            try:
                answers = self.answers(file, words, len(inputs))
                names = [f"output_{position}.bin" for position in range(len(answers.outputs))]
                for name in names:
                    self.phone.pull(f"{there}/{name}", Path(local) / name)
            finally:
                self._tidy("*.bin")
            return [(Path(local) / name).read_bytes() for name in names]

    def close(self) -> None:
        """Kills the process of a turn that was cut short, and removes this session's files.

        The runner and the files stay for the next session. `remove` removes them too.

        Raises:
            DeviceError: if the phone does not answer.
        """
        # Numbers of processes come again: only one that runs our program is ours.
        kill = f'p=$(cat {self._run_folder}/pid) && grep -qF ./{_RUNNER} "/proc/$p/cmdline" && kill -9 "$p"'
        self._shell(f"cd {command(self.folder)} && {{ {kill}; rm -rf {self._run_folder}; rmdir runs; }} 2>/dev/null")

    def remove(self) -> None:
        """Removes everything from the phone.

        Raises:
            DeviceError: if the phone does not answer.
        """
        self.close()
        self._shell(command("rm", "-rf", self.folder))

    def run(self, file: str, words: Sequence[str], plan: Plan, number: int = 0) -> Answers:
        """Runs the program to its proven end.

        Args:
            file: its name.
            words: the program's options.
            plan: how long it may take.
            number: of the round, for an error's `partial_round`.

        Raises:
            DeviceError: if it does not end well.
        """
        program = [f"./{_LOADER}", "--library-path", ".", f"./{_RUNNER}", f"--graph={self._names[file]}", *words]
        # exec, so that the shell's number becomes the program's: what the phone ends with the shell, and `close` finds.
        script = (
            f"cd {command(self.folder)} && mkdir -p {self._run_folder} && echo $$ > {self._run_folder}/pid && "
            f"exec {command(*program)} 2> {self._run_folder}/stderr"
        )
        answers = Answers()
        try:
            with self.phone.stream(script, timeout=plan.deadline_seconds + GRACE) as stream:
                for line in stream:
                    answers.add(line)
            said = stream.stderr if stream.returncode == 0 else f"{stream.stderr}\n{self._last_words()}"
            answers.check(stream.returncode, said)
        except DeviceError as error:
            error.partial_round = answers.round(number)
            raise
        return answers

    def _last_words(self) -> str:
        with suppress(DeviceError):  # the runner's own end says more than that the phone is gone by now
            return self._shell(f"cd {command(self.folder)} && tail -c {_TAIL} {self._run_folder}/stderr")
        return ""

    def _check_processor(self) -> None:
        machine = self._shell("uname -m").strip()
        if machine not in ("aarch64", "armv8l"):  # the latter is what a 32-bit system on a 64-bit kernel says
            fix = "Use the engine `benchmark_model` with a program for this processor."
            raise WrongAbi(f"Expected a 64-bit ARM processor (aarch64). Received: {machine!r}.", fix)

    def _hashes(self, names: Mapping[str, Path]) -> dict[str, str]:
        """SHA-256 of what is on the phone, by name; what is not there is missing."""
        # Sessions that could not tidy up, a day ago.
        old = "find runs -mindepth 1 -maxdepth 1 -mtime +0 -exec rm -rf {} + 2>/dev/null"
        hashes = f"{command('sha256sum', *names)} 2>/dev/null; chmod 755 {_LOADER} {_RUNNER} 2>/dev/null"
        said = self._shell(f"cd {command(self.folder)} 2>/dev/null && {{ {old}; {hashes}; }}", timeout=120.0)
        return sums(said)

    def _push(self, path: Path, name: str, executable: bool) -> None:
        try:
            self.phone.push(path, f"{self.folder}/{name}", executable=executable)
        except NoSpace:
            # Files of earlier sessions are only there to save time.
            keep = " ".join(f"! -name {each}" for each in self._names.values())
            self._shell(f"cd {command(self.folder)} && find . -maxdepth 1 -name '*.tflite' {keep} -exec rm -f {{}} +")
            self.phone.push(path, f"{self.folder}/{name}", executable=executable)

    def _tidy(self, pattern: str) -> None:
        self._shell(f"cd {command(self.folder)} && rm -f {self._run_folder}/{pattern}")

    def _shell(self, script: str, timeout: float = 60.0) -> str:
        """What a command printed, whether it went well or not."""
        return self.phone.shell(script, timeout=timeout).stdout
