"""Several workers: addresses into TensorFlow's own variable, and processes on this machine that are watched."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_effvit.training.errors import TrainingError

#: How long workers may take to end by themselves once one of them is lost, in seconds; a polite and a last notice.
GRACE_S, LAST_S = 30.0, 10.0
#: Of the process that watches over this one, which ends with it.
PARENT = "KERAS_EFFVIT_PARENT"
#: Lines that are shown of what a worker said last.
SHOWN = 12


def join(addresses: Sequence[str], index: int) -> None:
    """Makes this process one of several workers, before TensorFlow is used.

    Args:
        addresses: `host:port` of every worker, the same list for all of them.
        index: which of them this process is.

    Raises:
        ValueError: if there is no such worker, or an address is none.
    """
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"Expected workers as host:port. Received: {address!r}")
    if not 0 <= index < len(addresses):
        raise ValueError(f"Expected a worker's index from 0 to {len(addresses) - 1}. Received: {index}")
    os.environ.update(_config(addresses, index))


def _config(addresses: Sequence[str], index: int) -> dict[str, str]:
    cluster = {"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": index}}
    return {"TF_CONFIG": json.dumps(cluster)}


def end_with_parent() -> None:
    """Ends this process when the one that watches over it is gone, so that nobody trains unnoticed."""
    parent = os.environ.get(PARENT)

    def watch() -> None:
        while str(os.getppid()) == parent:
            time.sleep(1)
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, daemon=True).start()


def run_workers(command: Sequence[str], workers: int, logs: Path) -> None:
    """Runs a command as several workers on this machine, until all are done.

    The first one's output is this process'; that of the others goes to `worker-1.log` and so on.

    Args:
        command: the program and its arguments.
        workers: how many.
        logs: a folder for the output.

    Raises:
        TrainingError: if one of them fails. The others are ended then.
    """
    logs.mkdir(parents=True, exist_ok=True)
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(workers)]
    processes: list[subprocess.Popen] = []
    try:
        for index in range(workers):
            environment = {
                **os.environ,
                **_config(addresses, index),
                **_devices(index, workers),
                PARENT: str(os.getpid()),
            }
            processes.append(_start(command, environment, None if index == 0 else _log(logs, index)))
        _watch(processes, logs)
    finally:
        _end(processes)


def _start(command: Sequence[str], environment: Mapping[str, str], log: Path | None) -> subprocess.Popen:
    if log is None:
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    with log.open("w") as file:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )


def _watch(processes: Sequence[subprocess.Popen], logs: Path) -> None:
    while True:
        codes = [process.poll() for process in processes]
        lost = [index for index, code in enumerate(codes) if code]
        if lost or None not in codes:
            break
        time.sleep(0.1)
    if lost:
        # One that was killed explains the others' failures, not the other way round.
        first = min(lost, key=lambda index: (processes[index].returncode > 0, index))
        fate = _fate(processes[first].returncode)
        _wait(processes, GRACE_S)  # the others notice by themselves, and say so
        raise TrainingError(f"Worker {first} of {len(processes)} {fate}.{_last(logs, first)}")


def _fate(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed with status {code}"


def _last(logs: Path, index: int) -> str:
    path = _log(logs, index)
    if index == 0 or not path.exists():
        return ""
    lines = path.read_text(errors="replace").splitlines()[-SHOWN:]
    return "".join(f"\n  {line}" for line in (f"{path} ends with:", *lines))


def _log(logs: Path, index: int) -> Path:
    return logs / f"worker-{index}.log"


def _end(processes: Sequence[subprocess.Popen]) -> None:
    for end in (subprocess.Popen.terminate, subprocess.Popen.kill):
        for process in processes:
            if process.poll() is None:
                end(process)
        _wait(processes, LAST_S)


def _wait(processes: Sequence[subprocess.Popen], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and None in [process.poll() for process in processes]:
        time.sleep(0.05)


def _free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on, as of now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _devices(index: int, workers: int) -> dict[str, str]:
    """A GPU of its own for every worker, or its part of the processors."""
    import tensorflow as tf

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = len(tf.config.list_physical_devices("GPU"))
    if count == 0:
        threads = str(max(1, (os.cpu_count() or 1) // workers))
        return {"TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": threads}
    if count < workers:
        raise TrainingError(f"Expected a GPU for each of {workers} workers. Received: {count}")
    names = visible.split(",") if visible else [str(number) for number in range(count)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(names[index * count // workers : (index + 1) * count // workers])}
