"""`devices`, `bench`, `report` and `compare`: how fast files are, on a phone or on this machine."""

import argparse
import dataclasses
import datetime
import io
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_effvit import lite
from keras_effvit.cli.progress import Bar
from keras_effvit.device.adb import Adb
from keras_effvit.device.benchmark import Schedule
from keras_effvit.device.engine import Plan
from keras_effvit.device.errors import AdbMissing, DeviceError, NoDevice
from keras_effvit.device.machine import host_device
from keras_effvit.device.phone import Phone
from keras_effvit.device.properties import properties
from keras_effvit.device.session import Conduct, Listeners, bench_host, bench_phone
from keras_effvit.lite.tables import columns
from keras_effvit.report.costs import count_costs
from keras_effvit.report.records import Run, Series

if TYPE_CHECKING:
    from rich.console import Console


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Adds this file's commands.

    Args:
        commands: of the program.
    """
    command = commands.add_parser("devices", help="phones that adb sees, and this machine")
    command.add_argument("--json", action="store_true", help="as JSON, with all that is known")
    command.set_defaults(command=_devices)
    _add_bench(commands)

    command = commands.add_parser("report", help="one page of everything in a folder of files and measurements")
    command.add_argument("folder", help="with .tflite files, manifests and latency-*.json, at any depth")
    command.add_argument("-o", "--output", help="the folder to write the page into; <folder>/report by default")
    command.add_argument("--json", action="store_true", help="print the figures as JSON")
    command.set_defaults(command=_report)

    command = commands.add_parser("compare", help="two measurements: how many times as long, and how sure that is")
    command.add_argument("first", help="a latency-*.json file")
    command.add_argument("second", help="another one")
    command.add_argument("--json", action="store_true", help="as JSON")
    command.set_defaults(command=_compare)


def _add_bench(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("bench", help="how long files take, on the attached phone or on this machine")
    command.add_argument("files", nargs="+", help=".tflite files, which are measured in turns")
    where = command.add_mutually_exclusive_group()
    where.add_argument("-s", "--serial", help="the phone to measure on, where several are attached")
    where.add_argument("--host", action="store_true", help="measure on this machine, whatever is attached")
    command.add_argument("--threads", type=int, nargs="+", help="1, and on a phone as many as it has big cores")
    command.add_argument("--rounds", type=int, default=5, help="in which every file has its turn (5)")
    command.add_argument("--runs", type=int, default=50, help="inferences in a turn, at the least (50)")
    command.add_argument("--seconds", type=float, default=1.0, help="of a turn, at the least (1)")
    command.add_argument("--seed", type=int, default=0, help="of the order of the turns")
    command.add_argument("--profile", action="store_true", help="also tell which operators the time goes to")
    command.add_argument("--cores", default="big", help="big, all, or a mask such as f0")
    command.add_argument("--engine", default="runner", choices=("runner", "benchmark_model"))
    command.add_argument(
        "--benchmark-binary",
        default=os.environ.get("KERAS_EFFVIT_BENCHMARK_MODEL"),
        help="the official benchmark_model for the phone, for the engine of that name",
    )
    command.add_argument("--fixed-performance", action="store_true", help="hold a phone's clocks at what it keeps up")
    command.add_argument("--no-cool-down", action="store_true", help="do not wait for a phone to cool between rounds")
    command.add_argument("--force", action="store_true", help="measure on a phone that is not fit for it")
    command.add_argument("-o", "--output", help="the JSON file of the measurements; named after device and time")
    again = command.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with the measurements that --output began")
    again.add_argument("--overwrite", action="store_true", help="begin anew although --output exists")
    command.add_argument("--json", action="store_true", help="print the record as JSON")
    command.set_defaults(command=_bench)


def _devices(options: argparse.Namespace) -> str:
    rows: list[dict[str, Any]] = []
    try:
        adb = Adb()
        rows += [_phone_row(adb, listed.serial, listed.state) for listed in adb.devices()]
    except AdbMissing as error:
        print(f"keras-effvit: {error}", file=sys.stderr)
    host = host_device()
    rows.append({"serial": "-", "state": "host", "name": host.name, "facts": dict(host.facts)})
    if options.json:
        return json.dumps(rows, indent=2)
    return "\n".join(columns([("serial", "state", "device"), *((r["serial"], r["state"], r["name"]) for r in rows)]))


def _phone_row(adb: Adb, serial: str, state: str) -> dict[str, Any]:
    row: dict[str, Any] = {"serial": serial, "state": state, "name": "", "facts": {}}
    try:
        known = properties(adb.phone(serial))
        row |= {"name": known.name, "facts": known.facts()}
    except DeviceError as error:
        row["name"] = str(error)
    return row


def _bench(options: argparse.Namespace) -> str:
    files = _named(options.files)
    phone = None if options.host else _phone(options.serial)
    name = properties(phone).name if phone else host_device().name
    output = _output(options, name)
    schedule = _schedule(options, phone)
    conduct = Conduct(
        engine=options.engine,
        binary=Path(options.benchmark_binary) if options.benchmark_binary else None,
        cores=options.cores,
        fixed_performance=options.fixed_performance,
        cool=not options.no_cool_down,
        force=options.force,
    )
    with Bar(hidden=options.json) as bar:
        listeners = Listeners({n: facts for n, (_, facts) in files.items()}, output, bar.update, bar.warn)
        paths = {n: path for n, (path, _) in files.items()}
        try:
            if phone is None:
                run = bench_host(paths, schedule or Schedule(), conduct, listeners)
            else:
                run = bench_phone(paths, phone, schedule, conduct, listeners)
        except DeviceError as error:
            if output.exists():
                print(f"keras-effvit: what was measured is in {output}; --resume goes on with it", file=sys.stderr)
            raise error
    if options.json:
        return json.dumps(run.to_json(), indent=2)
    from keras_effvit.report.rows import rows
    from keras_effvit.report.table import print_run

    return _printed(lambda console: print_run(run, rows(run), console=console)) + f"written to {output}"


def _printed(prints: "Callable[[Console], None]") -> str:
    """What is printed to a console as wide, and as colourful, as the terminal."""
    from rich.console import Console

    terminal = Console()
    console = Console(file=io.StringIO(), width=terminal.width, force_terminal=terminal.is_terminal)
    with console.capture() as capture:
        prints(console)
    return capture.get()


def _phone(serial: str | None) -> Phone | None:
    """The phone asked for, or the one that is attached, or none."""
    try:
        return Adb().phone(serial)
    except (AdbMissing, NoDevice):
        if serial is not None:
            raise
        return None


def _schedule(options: argparse.Namespace, phone: Phone | None) -> Schedule | None:
    plan = Plan(runs=options.runs, seconds=options.seconds)
    schedule = Schedule(rounds=options.rounds, seed=options.seed, plan=plan, profile_runs=20 if options.profile else 0)
    if options.threads:
        return dataclasses.replace(schedule, threads=tuple(options.threads))
    if phone is None:
        return schedule
    return dataclasses.replace(schedule, threads=())  # as many as the phone has big cores


def _output(options: argparse.Namespace, device: str) -> Path:
    if options.output is None:
        if options.resume:
            raise ValueError("expected --output with --resume: the file to go on with")
        slug = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
        return Path(f"latency-{slug}-{datetime.datetime.now():%Y%m%d-%H%M%S}.json")
    output = Path(options.output)
    if output.exists() and not options.resume:
        if not options.overwrite:
            raise ValueError(f"{output} exists; --resume goes on with it, --overwrite begins anew")
        output.unlink()
    return output


def _named(paths: Sequence[str]) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Files by a name that tells them apart, with what they say of themselves."""
    named: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in map(Path, paths):
        facts = _facts(path)
        name = f"{facts['model']}_{facts['precision']}" if "model" in facts else path.stem
        if name in named:
            name = str(path)
        named[name] = (path, facts)
    return named


def _facts(path: Path) -> dict[str, Any]:
    """What is in a file; of one of ours, also which model it is and how close to it."""
    found, manifest = lite.inspect(path), lite.read_metadata(path)
    facts: dict[str, Any] = {"partitions": found.partitions, "outside": len(found.outside)}
    facts |= count_costs(found.to_json())
    if manifest:
        facts |= {key: manifest[key] for key in ("model", "precision")}
        facts["snr_db"] = manifest["parity"]["snr_db"]
    return facts


def _report(options: argparse.Namespace) -> str:
    from keras_effvit.report.building import build
    from keras_effvit.report.collect import collect

    folder = Path(options.folder)
    if not folder.is_dir():
        raise ValueError(f"expected a folder of files and measurements. Received: {folder}")
    page = build(folder, Path(options.output) if options.output else folder / "report")
    if not options.json:
        return f"written to {page}"
    found = collect(folder, look=False)
    runs = {name: [_figures(each) for each in run.series if each.rounds] for name, run in found.runs.items()}
    return json.dumps(
        {"page": str(page), "runs": runs, "damaged": [str(each.path) for each in found.damaged]}, indent=2
    )


def _figures(series: Series) -> dict[str, Any]:
    figures = {name: getattr(series, name) for name in ("median_ms", "p90_ms", "spread")}
    return {"file": series.file, "threads": series.threads, **figures}


def _compare(options: argparse.Namespace) -> str:
    from keras_effvit.report.comparison import compare

    found = compare(Run.load(options.first), Run.load(options.second))
    if options.json:
        return json.dumps(dataclasses.asdict(found), indent=2)
    notes = [*found.warnings, *found.missing]
    return "\n".join([_printed(lambda console: console.print(found.rich_table())), *notes])
