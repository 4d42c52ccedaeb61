"""What lies in a folder of artifacts: files, what is known of them, and measurements. Whatever is damaged is named."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from keras_effvit.report.costs import count_costs
from keras_effvit.report.records import LARGEST, Run

#: What may lie beside a model, as `<kind>.json` or `<model>.<kind>.json`.
KINDS = ("manifest", "inspection", "coverage", "accuracy")
#: No JSON of ours comes near; a larger one is not read.
LARGEST_JSON = 256_000_000
_DAMAGES = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OverflowError, OSError)


@dataclass(frozen=True)
class Placed:
    """An operator and where it runs.

    Attributes:
        name: such as "CONV_2D".
        layer: the Keras layer it comes from.
        partition: of XNNPACK; `None` outside.
    """

    name: str
    layer: str
    partition: int | None


@dataclass(frozen=True)
class Artifact:
    """A model's file and what is known of it.

    Attributes:
        name: such as "sepvit_lite_int8".
        path: of the file, or of the folder if the file is not there.
        sha256: of its content, if known.
        bytes: of its content, if known.
        facts: model, precision, params, macs, partitions, outside, agreement, snr_db, top1, as far as known.
        operators: in the order of execution, if the file was looked into.
    """

    name: str
    path: Path
    sha256: str | None = None
    bytes: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    operators: tuple[Placed, ...] = ()


@dataclass(frozen=True)
class Damaged:
    """A file that could not be used.

    Attributes:
        path: below the folder.
        reason: in words.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class Collection:
    """What was found.

    Attributes:
        folder: that was searched.
        runs: by their file's path below the folder, the latest first.
        artifacts: by name.
        damaged: what was left out.
    """

    folder: Path
    runs: Mapping[str, Run]
    artifacts: tuple[Artifact, ...]
    damaged: tuple[Damaged, ...]


def collect(folder: str | Path, *, look: bool = True) -> Collection:
    """Walks a folder.

    Args:
        folder: with `latency-*.json`, `*.tflite` and what lies beside them, at any depth.
        look: into files without an inspection, which takes seconds each.

    Raises:
        NotADirectoryError: if it is no folder. Damaged files are no error: they are in the result.

    Example:
        >>> collect("artifacts").artifacts[0].facts["macs"]
        568414464
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f"Expected a folder of artifacts. Received: {folder}")
    runs, groups, damaged = {}, {}, []
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if path.name.startswith("latency-") and path.suffix == ".json":
            try:
                runs[name] = Run.from_json(_json(path))
            except _DAMAGES as error:
                damaged.append(Damaged(name, _reason(error)))
        elif (kind := _kind(path)) is not None:
            stem = (
                path.name.removesuffix(".json" if path.suffix == ".json" else ".tflite").removesuffix(kind).strip(".")
            )
            groups.setdefault((path.parent, stem), {})[kind] = path
    artifacts = [_artifact(folder, key, parts, damaged, look) for key, parts in sorted(_families(groups).items())]
    latest = sorted(runs.items(), key=lambda item: (item[1].started, item[0]), reverse=True)
    return Collection(folder, dict(latest), tuple(artifacts), tuple(damaged))


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file() and not name.startswith("."):
                yield path


def _kind(path: Path) -> str | None:
    if path.suffix == ".tflite":
        return "tflite"
    kind = path.stem.split(".")[-1]
    return kind if path.suffix == ".json" and kind in KINDS else None


def _families(groups: Mapping[tuple[Path, str], dict[str, Path]]) -> dict[tuple[Path, str], dict[str, Path]]:
    """Gives the only model of a folder what has no model's name on it."""
    found = {key: dict(parts) for key, parts in groups.items()}
    for parent in {parent for parent, _ in groups}:
        models = [key for key in found if key[0] == parent and "tflite" in found[key]]
        if len(models) == 1 and models[0] != (parent, "") and (parent, "") in found:
            found[models[0]] = {**found.pop((parent, "")), **found[models[0]]}
    return found


def _artifact(
    folder: Path, key: tuple[Path, str], parts: Mapping[str, Path], damaged: list[Damaged], look: bool
) -> Artifact:
    path = parts.get("tflite", key[0])
    artifact = Artifact("", path)
    contents: dict[str, Any] = {}
    for kind in (*KINDS, "tflite"):
        if kind not in parts and not (kind == "inspection" and look and "tflite" in parts):
            continue
        try:
            if kind == "tflite":
                content = parts[kind].read_bytes()
                artifact = replace(artifact, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
            else:
                contents[kind] = _json(parts[kind]) if kind in parts else _look(parts["tflite"])
                artifact = _READERS[kind](artifact, contents[kind])
        except _DAMAGES as error:
            damaged.append(Damaged(parts.get(kind, path).relative_to(folder).as_posix(), _reason(error)))
    told = contents.get("manifest", {}).get("sha256") if isinstance(contents.get("manifest"), Mapping) else None
    if artifact.sha256 and told and told != artifact.sha256:
        damaged.append(Damaged(parts["manifest"].relative_to(folder).as_posix(), "is of another file than the model's"))
        artifact = replace(artifact, facts={n: v for n, v in artifact.facts.items() if n not in _OF_THE_MANIFEST})
    elif artifact.sha256 is None and isinstance(told, str):
        artifact = replace(artifact, sha256=told)
    return replace(artifact, name=_name(artifact, folder))


_OF_THE_MANIFEST = ("agreement", "snr_db")


def _name(artifact: Artifact, folder: Path) -> str:
    model, precision = artifact.facts.get("model"), artifact.facts.get("precision")
    if model and precision:
        return f"{model}_{precision}"
    return artifact.path.relative_to(folder).as_posix().removesuffix(".tflite")


def _json(path: Path) -> Any:
    if (size := path.stat().st_size) > LARGEST_JSON:
        raise ValueError(f"Expected at most {LARGEST_JSON} bytes. Received: {size}")
    return json.loads(path.read_text(encoding="utf-8"))


def _look(path: Path) -> dict[str, Any]:
    from keras_effvit.lite.inspection import inspect

    return inspect(path).to_json()


def _reason(error: BaseException) -> str:
    return f"{str(error) or type(error).__name__}".splitlines()[0][:300]


def number(value: Any) -> float | int | None:
    """A number of a JSON file, or `None` for anything else, infinities included.

    Args:
        value: from the file.
    """
    fine = isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST
    return value if fine else None


def _with(artifact: Artifact, **facts: Any) -> Artifact:
    """The artifact that knows more; what it knew already stays."""
    known = {name: value for name, value in facts.items() if value is not None}
    return replace(artifact, facts={**known, **artifact.facts})


def _manifest(artifact: Artifact, content: Any) -> Artifact:
    texts = {n: content[n] for n in ("model", "precision", "family") if isinstance(content.get(n), str)}
    artifact = _with(artifact, **texts, **{n: number(content.get(n)) for n in ("params", "macs")})
    parity, xnnpack = content.get("parity") or {}, content.get("xnnpack") or {}
    outside = xnnpack.get("outside")
    artifact = replace(artifact, bytes=artifact.bytes if artifact.bytes is not None else number(content.get("bytes")))
    return _with(
        artifact,
        agreement=number(parity.get("agreement")),
        snr_db=number(parity.get("snr_db")),
        partitions=number(xnnpack.get("partitions")),
        outside=len(outside) if isinstance(outside, list) else number(outside),
    )


def _inspection(artifact: Artifact, content: Any) -> Artifact:
    operators = tuple(
        Placed(str(each["name"]), str(each["layer"]), None if each["partition"] is None else int(each["partition"]))
        for each in content["operators"]
    )
    outside = sum(each.partition is None for each in operators)
    artifact = replace(artifact, operators=operators)
    artifact = _with(artifact, partitions=number(content.get("partitions")), outside=outside)
    try:
        costs = count_costs(content)
    except _DAMAGES:  # an operator nobody foresaw: where it runs is worth showing all the same
        return artifact
    return _with(artifact, **{name: number(value) or None for name, value in costs.items()})


def _coverage(artifact: Artifact, content: Any) -> Artifact:
    outside = content.get("outside")
    outside = len(outside) if isinstance(outside, list) else number(outside)
    return _with(artifact, partitions=number(content.get("partitions")), outside=outside)


def _accuracy(artifact: Artifact, content: Any) -> Artifact:
    return _with(artifact, **{n: number(content.get(n)) for n in ("top1", "top5", "images")})


_READERS = {"manifest": _manifest, "inspection": _inspection, "coverage": _coverage, "accuracy": _accuracy}
