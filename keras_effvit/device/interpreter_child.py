"""Runs a .tflite file on LiteRT's Python interpreter, and takes and says what the runner in C does.

It is started as a plain script, where the runner does not fit the machine: see `host.HostInterpreter`.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_CHUNK_SECONDS = 0.5


class _RunError(Exception):
    def __init__(self, code: int, stage: str, reason: object):
        super().__init__(code, stage, str(reason))


def main() -> int:
    """Reads the command line, runs, and says how it went.

    Returns:
        The exit code: 3 if the file or an input is wrong, 4 if a run failed.
    """
    options = _options()
    if options.deadline_secs and hasattr(signal, "alarm"):
        signal.alarm(options.deadline_secs)
    try:
        _keep_to(options.cpu_mask)
        _measure(options)
    except _RunError as failed:
        code, stage, message = failed.args
        _say("error", stage=stage, status=0, message=message)
        return code
    _say("done")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("graph", "cpu_mask", "input_dir", "output_dir"):
        parser.add_argument(f"--{name}", required=name == "graph")
    for name, default in (("num_threads", 1), ("warmup_runs", 5), ("num_runs", 50), ("deadline_secs", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("warmup_min_secs", 0.5), ("min_secs", 1.0), ("max_secs", 60.0)):
        parser.add_argument(f"--{name}", type=float, default=default)
    return parser.parse_args()


def _say(event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


def _keep_to(mask: str | None) -> None:
    if mask is None:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise _RunError(3, "cpu_mask", f"{sys.platform} lets no program choose its processors")
    bits = int(mask, 16)
    try:
        os.sched_setaffinity(0, {cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1})
    except (OSError, ValueError) as error:
        raise _RunError(3, "cpu_mask", error) from error


def _measure(options: argparse.Namespace) -> None:
    interpreter = _open(options)
    _fill(interpreter, options.input_dir)

    def run() -> float:
        start = time.perf_counter()
        try:
            interpreter.invoke()
        except Exception as error:
            raise _RunError(4, "run", error) from error
        return (time.perf_counter() - start) * 1e3

    if options.num_runs:
        _warm_up(options, run)
        _time(options, run)
    if options.output_dir:
        run()
        for position, detail in enumerate(interpreter.get_output_details()):
            path = Path(options.output_dir) / f"output_{position}.bin"
            path.write_bytes(interpreter.get_tensor(detail["index"]).tobytes())


def _open(options: argparse.Namespace) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    start = time.perf_counter()
    try:
        interpreter = Interpreter(options.graph, num_threads=options.num_threads)
    except Exception as error:
        raise _RunError(3, "file", error) from error
    loaded = time.perf_counter()
    try:
        interpreter.allocate_tensors()
    except Exception as error:
        raise _RunError(3, "compile", error) from error
    times = {"load_ms": (loaded - start) * 1e3, "compile_ms": (time.perf_counter() - loaded) * 1e3}
    inputs, outputs = map(_tensors, (interpreter.get_input_details(), interpreter.get_output_details()))
    _say("model", num_threads=options.num_threads, pid=os.getpid(), **times, inputs=inputs, outputs=outputs)
    return interpreter


def _tensors(details: Any) -> list[dict[str, Any]]:
    import numpy as np

    return [
        {
            "name": detail["name"],
            "bytes": int(np.prod(detail["shape"])) * np.dtype(detail["dtype"]).itemsize,
            "shape": [int(size) for size in detail["shape"]],
        }
        for detail in details
    ]


def _fill(interpreter: Any, folder: str | None) -> None:
    import numpy as np

    rng = np.random.default_rng(42)
    for position, detail in enumerate(interpreter.get_input_details()):
        shape, kind = tuple(detail["shape"]), np.dtype(detail["dtype"])
        if folder:
            value = _read(Path(folder) / f"input_{position}.bin", shape, kind)
        elif kind.kind == "f":
            value = (rng.uniform(0.5, 1, shape) * rng.choice((-1, 1), shape)).astype(kind)
        else:  # wide integers are mostly indices
            value = rng.integers(0, 256 if kind.itemsize == 1 else 2, shape).astype(kind)
        interpreter.set_tensor(detail["index"], value)


def _read(path: Path, shape: tuple[int, ...], kind: Any) -> Any:
    import numpy as np

    try:
        return np.frombuffer(path.read_bytes(), kind).reshape(shape)
    except (OSError, ValueError) as error:
        raise _RunError(3, "input", f"{path.name}: {error}") from error


def _warm_up(options: argparse.Namespace, run: Callable[[], float]) -> None:
    start, runs, first, elapsed = time.perf_counter(), 0, None, 0.0
    while (runs < options.warmup_runs or elapsed < options.warmup_min_secs) and (
        not runs or elapsed < options.max_secs
    ):
        latency = run()
        first = latency if first is None else first
        runs += 1
        elapsed = time.perf_counter() - start
    _say("warmup", runs=runs, secs=elapsed, first_ms=first)


def _time(options: argparse.Namespace, run: Callable[[], float]) -> None:
    start = said = time.perf_counter()
    runs, elapsed, chunk = 0, 0.0, []
    while runs < options.num_runs or elapsed < options.min_secs:
        if runs and elapsed >= options.max_secs:
            break
        chunk.append(run())
        runs += 1
        elapsed = time.perf_counter() - start
        if start + elapsed - said >= _CHUNK_SECONDS:
            _say("latencies", ms=chunk)
            said, chunk = time.perf_counter(), []
    _say("latencies", ms=chunk)
    _say("result", runs=runs, secs=elapsed, peak_memory_kb=_peak_memory_kb())


def _peak_memory_kb() -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


if __name__ == "__main__":
    sys.exit(main())
