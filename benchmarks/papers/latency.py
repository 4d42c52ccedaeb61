"""EfficientViT's figures 2 and 5: what softmax attention costs beside linear attention, as images grow.

Of the figures it is known here that they show this latency over resolutions, not what exactly was measured nor the
values: so both are timed, one layer of attention and the whole network, in float32 files of LiteRT on this machine.
"""

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

Kind = Literal["linear", "softmax"]
KINDS: tuple[Kind, ...] = ("linear", "softmax")
SIDES = (128, 192, 224, 320, 416, 512)
#: The attention of EfficientViT-Base's third stage, at stride 16.
STRIDE, CHANNELS, HEADS = 16, 96, 12
SUBJECTS = ("one layer of attention, stage 3", "EfficientViT-Base")


def _models(side: int, kind: Kind) -> dict[str, Any]:
    """A layer and a network with this attention, for images of this side."""
    import keras

    from keras_effvit import create_model
    from keras_effvit.layers import LinearAttention

    image = keras.Input((side // STRIDE, side // STRIDE, CHANNELS))
    layer = keras.Model(image, LinearAttention(HEADS, attention=kind)(image))
    network = create_model("efficientvit_base", input_shape=(side, side, 3), attention=kind, classifier_activation=None)
    return dict(zip(SUBJECTS, (layer, network), strict=True))


def measure(sides: Sequence[int] = SIDES, rounds: int = 10) -> dict[str, Any]:
    """Every size with both kinds of attention, each once in every round.

    Args:
        sides: of the images.
        rounds: how often.

    Returns:
        For the record: the machine, and a row for every subject and size with MACs, median milliseconds, and how many
        times as long softmax takes, the median of the ratios inside the rounds.
    """
    from benchmarks.lite import alive
    from keras_effvit.device.machine import host_device
    from keras_effvit.lite.exporting import export_float
    from keras_effvit.lite.timing import host_times, ratio
    from keras_effvit.models import count_macs

    device, files, macs = host_device(), {}, {}
    for side in sides:
        for kind in KINDS:
            for subject, model in _models(side, kind).items():
                key = f"{subject}|{side}|{kind}"
                files[key], macs[key] = export_float(alive(model)), count_macs(model)
    rows = []
    for subject in SUBJECTS:
        times = host_times({key: content for key, content in files.items() if key.startswith(subject)}, rounds)
        for side in sides:
            linear, softmax = (f"{subject}|{side}|{kind}" for kind in KINDS)
            rows.append(
                {
                    "subject": subject,
                    "side": side,
                    **{f"{kind}_macs": macs[f"{subject}|{side}|{kind}"] for kind in KINDS},
                    **{
                        f"{kind}_ms": round(1000 * statistics.median(times[f"{subject}|{side}|{kind}"]), 3)
                        for kind in KINDS
                    },
                    "softmax_of_linear": round(ratio(times, softmax, linear), 2),
                }
            )
    return {"machine": asdict(device), "rounds": rounds, "threads": 1, "rows": rows}


def table(record: dict[str, Any]) -> str:
    """The measurement in Markdown, with what it was made on."""
    machine = record["machine"]
    lines = [
        "efficientvit, figures 2 and 5: latency of softmax against linear attention",
        f"Measured on {machine['name']} ({machine['facts']['machine']}, {machine['facts']['usable_cores']} cores, load "
        f"{machine['facts']['load']}), LiteRT {machine['facts']['litert']}, float32, one thread, {record['rounds']} "
        "interleaved rounds, medians. No phone's times. The paper's values are not known here.",
        "",
        "| what | image | linear MACs | softmax MACs | linear ms | softmax ms | softmax of linear |",
        "| :-- | --: | --: | --: | --: | --: | --: |",
    ]
    for row in record["rows"]:
        cells = [row["subject"], f"{row['side']} x {row['side']}"]
        cells += [f"{row[f'{kind}_macs'] / 1e6:.1f} M" for kind in KINDS]
        cells += [f"{row[f'{kind}_ms']:.2f}" for kind in KINDS]
        lines.append("| " + " | ".join([*cells, f"{row['softmax_of_linear']:.2f}x"]) + " |")
    return "\n".join(lines)
