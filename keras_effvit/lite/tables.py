"""Results as lines for a terminal."""

from collections.abc import Sequence

from keras_effvit.lite.delegates import Refusal, gpu_refusals, nnapi_refusals
from keras_effvit.lite.inspection import Inspection
from keras_effvit.lite.tuning import Tuned


def columns(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Rows in columns of equal width.

    Args:
        rows: cells.
        right: columns of numbers, set to the right.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def inspection_lines(found: Inspection, *, operators: bool = False) -> list[str]:
    """What is in a file.

    Args:
        found: of `inspect`.
        operators: whether to list every one.
    """
    constants = sum(tensor.bytes for tensor in found.tensors)
    lines = columns(
        [
            ("size", f"{found.bytes:,} bytes, of which {constants:,} are constants"),
            *(("input", _door(found, name, index)) for name, index in found.inputs.items()),
            *(("output", _door(found, name, index)) for name, index in found.outputs.items()),
            ("XNNPACK", f"{found.partitions} partition(s), {len(found.outside)} operator(s) outside"),
            ("rank", f"at most {found.highest_rank}, {len(found.dynamic)} tensor(s) of unknown size"),
            ("islands", f"{len(found.islands)} operator(s) in float between quantised ones"),
            ("custom", ", ".join(operator.name for operator in found.custom) or "none"),
            ("GPU", _verdict(gpu_refusals(found))),
            ("NNAPI", _verdict(nnapi_refusals(found))),
        ]
    )
    lines += [
        "",
        *columns([("operator", "count"), *((n, str(c)) for n, c in found.counts().most_common())], frozenset({1})),
    ]
    if found.outside:
        lines += ["", "outside of XNNPACK:"]
        lines += [f"  {operator.index} {operator.name} in {operator.layer}" for operator in found.outside]
    if operators:
        lines += ["", *_operators(found)]
    return lines


def _door(found: Inspection, name: str, index: int) -> str:
    tensor = found.tensors[index]
    scale = "" if tensor.scale is None else f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
    return f"{name}: {tensor.type.lower()} {'x'.join(map(str, tensor.shape))}{scale}"


def _verdict(refusals: list[Refusal]) -> str:
    """What an accelerator refuses, by reason; these are rules, not measurements."""
    if not refusals:
        return "by the rules, all operators"
    reasons: dict[str, list[str]] = {}
    for refusal in refusals:
        reasons.setdefault(refusal.reason, []).append(refusal.operator)
    return f"by the rules, not {len(refusals)} operators: " + "; ".join(
        f"{', '.join(sorted(set(names)))} ({reason})" for reason, names in reasons.items()
    )


def _operators(found: Inspection) -> list[str]:
    rows = [("#", "operator", "output", "where", "layer")]
    for operator in found.operators:
        tensor = found.tensors[operator.outputs[0]] if operator.outputs else None
        shape = f"{tensor.type.lower()} {'x'.join(map(str, tensor.shape))}" if tensor else "-"
        where = "outside" if operator.partition is None else f"partition {operator.partition + 1}"
        rows.append((str(operator.index), operator.name, shape, where, operator.layer))
    return columns(rows, frozenset({0}))


def tuning_lines(tuned: Tuned) -> list[str]:
    """What was tried on a recipe.

    Args:
        tuned: of `tune`.
    """
    rows = [("", "change", "ms", "of base", "dB", "partitions", "outside", "verdict")]
    for candidate in tuned.candidates:
        rows.append(
            (
                "*" if candidate.kept else "",
                candidate.name,
                _number(candidate.milliseconds, 2),
                _number(candidate.ratio, 3),
                _number(candidate.snr_db, 1),
                _number(candidate.partitions, 0),
                _number(candidate.outside, 0),
                candidate.verdict,
            )
        )
    return columns(rows, frozenset({2, 3, 4, 5, 6}))


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
