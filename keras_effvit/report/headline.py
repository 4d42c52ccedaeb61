"""What stands below a device's name: the few of its facts that say how fast it may be, in words."""

from collections.abc import Mapping
from typing import Any

from keras_effvit.report import text
from keras_effvit.report.collect import number
from keras_effvit.report.records import Run

#: Facts of phones and of computers, in this order, as far as they are known.
_FACTS = {
    "soc": "SoC",
    "android": "Android",
    "machine": "machine",
    "clusters": "cores",
    "cores": "cores",
    "abis": "ABIs",
    "abilities": "abilities",
    "governor": "governor",
    "battery": "battery",
    "skin_celsius": "skin",
    "thermal_status": "throttled",
    "load": "load",
    "litert": "LiteRT",
}


def headline(run: Run) -> list[tuple[str, str]]:
    """Names and values.

    Args:
        run: the run.

    Example:
        >>> headline(run)[3:5]
        [('SoC', 'Google Tensor G3'), ('cores', '4 at 1.70 GHz, 4 at 2.37 GHz, 1 at 2.91 GHz')]
    """
    when = run.started.replace("T", " ").partition("+")[0] + " UTC" if run.started else ""
    found = [("on a", run.device.kind), ("engine", run.engine), ("when", when)]
    found += [(title, _said(name, run.device.facts.get(name))) for name, title in _FACTS.items()]
    plan = run.settings.get("plan")
    mask = plan.get("cpu_mask") if isinstance(plan, Mapping) else run.settings.get("cpu_mask")
    found += [("rounds", _said("rounds", run.settings.get("rounds"))), ("CPU mask", _said("cpu_mask", mask))]
    return [(name, value) for name, value in found if value and value != text.NOTHING]


def _said(name: str, value: Any) -> str:
    if value is None or value == [] or value == {}:
        return ""
    if name == "clusters" and isinstance(value, list | tuple) and (cores := _clusters(value)):
        return cores
    if name == "battery" and isinstance(value, Mapping):
        return _battery(value)
    if name == "skin_celsius" and number(value) is not None:
        return f"{value:.1f} °C"
    if name == "thermal_status" and number(value) is not None:
        return "no" if value == 0 else f"level {value:g}"
    return text.fact(value, 120)


def _clusters(value: Any) -> str:
    parts = []
    for each in value:
        cpus, clock = (each.get("cpus"), number(each.get("max_khz"))) if isinstance(each, Mapping) else (None, None)
        if not isinstance(cpus, list | tuple):
            return ""
        parts.append(f"{len(cpus)}" + (f" at {clock / 1e6:.2f} GHz" if clock else ""))
    return ", ".join(parts)


def _battery(value: Mapping[str, Any]) -> str:
    percent, celsius = number(value.get("percent")), number(value.get("celsius"))
    parts = [f"{percent:.0f} %" if percent is not None else "", f"{celsius:.1f} °C" if celsius is not None else ""]
    if isinstance(value.get("charging"), bool):
        parts.append("charging" if value["charging"] else "not charging")
    return ", ".join(part for part in parts if part)
