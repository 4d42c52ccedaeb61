"""Runs and folders of artifacts, made up but of a real one's shape."""

import hashlib
import json
import random
from typing import Any

from keras_effvit.report.records import Device, Operator, Round, Run, Series

MODELS = {  # millions of parameters and MACs
    "sepvit_lite": (3.66, 568),
    "sepvit_tiny": (31.2, 4519),
    "lvt": (5.5, 889),
    "lightvit_tiny": (9.4, 772),
    "lightvit_small": (19.2, 1825),
    "efficientvit_base": (8.0, 409),
    "efficientvit_b0": (3.4, 100),
    "efficientvit_b1": (9.1, 519),
    "MobileNetV3Large": (5.5, 217),
    "efficientnet_b0": (5.3, 390),
}
PRECISIONS = {"float32": 1.0, "int8": 0.5}
PROFILE = (
    Operator("Fully Connected (NC, QS8, QC8W) GEMM", "xnnpack", 13, 1950.0),
    Operator("BATCH_MATMUL", "builtin", 6, 920.0),
    Operator("Softmax (NC, F32)", "xnnpack", 6, 120.0),
)


def known(value: Any) -> Any:
    """What is there after all."""
    assert value is not None
    return value


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def rounds(median, count=7, seed=0, noise=0.02):
    rng = random.Random(seed)
    return tuple(
        Round(n, tuple(median * rng.lognormvariate(0, noise) for _ in range(9)), 20.0, 1.5 * median, 5, 40_000, 30.0)
        for n in range(count)
    )


def a_run(models=tuple(MODELS), precisions=tuple(PRECISIONS), threads=(1,), count=7, **more):
    rng, series = random.Random(1), []
    for model in models:
        params, macs = MODELS[model]
        for precision in precisions:
            for number in threads:
                median = macs * 0.03 * PRECISIONS[precision] * rng.uniform(0.8, 1.3) / number**0.5
                facts = {"model": model, "precision": precision, "params": params * 1e6, "macs": macs * 1e6}
                name = f"{model}_{precision}"
                turns = rounds(median, count, seed=len(series))
                series.append(Series(name, sha(name), int(params * 4e6), number, turns, facts, PROFILE))
    device = Device("phone", "Google Pixel 8", {"soc": "Tensor G3", "clusters": [{"cpus": [0, 1], "max_khz": 17}]})
    given = {"device": device, "engine": "runner", "settings": {"rounds": count, "seed": 0}, "reference": (8.0, 8.1)}
    given |= {"started": "2026-02-03T10:22:31+00:00", "finished": "2026-02-03T11:02:07+00:00"}
    return Run(**{**given, "series": tuple(series), **more})


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def a_folder(root, run=None):
    """Artifacts as `convert`, `inspect` and `bench` leave them, one model in pieces, and a file that is damaged."""
    run = run or a_run(models=("sepvit_lite", "lvt"))
    for series in run.series:
        place = root / series.facts["model"] / series.facts["precision"]
        pieces = series.file == "lvt_int8"
        write(
            place / "manifest.json",
            {
                "model": series.facts["model"],
                "precision": series.facts["precision"],
                "bytes": series.bytes,
                "sha256": series.sha256,
                "parity": {"images": 16, "snr_db": 31.0, "relative_error": 0.01, "agreement": 0.94},
                "xnnpack": {"partitions": 2 if pieces else 1, "outside": ["BATCH_MATMUL"] if pieces else []},
            },
        )
        operators = [
            {"name": "CONV_2D", "layer": "stem", "partition": 0, "inputs": [0, 1], "outputs": [2]},
            {
                "name": "BATCH_MATMUL",
                "layer": "attn",
                "partition": None if pieces else 0,
                "inputs": [2, 2],
                "outputs": [2],
            },
            {"name": "CONV_2D", "layer": "head", "partition": 1 if pieces else 0, "inputs": [2, 1], "outputs": [2]},
        ]
        shapes = [(1, 8, 8, 4), (4, 3, 3, 4), (1, 8, 8, 4)]
        tensors = [{"shape": s, "type": "FLOAT32", "bytes": 576 * (n == 1)} for n, s in enumerate(shapes)]
        partitions = 2 if pieces else 1
        write(place / "inspection.json", {"partitions": partitions, "operators": operators, "tensors": tensors})
        write(place / "accuracy.json", {"images": 1000, "top1": 0.75, "top5": 0.92})
    run.save(root / "latency-pixel-8.json")
    write(root / "latency-broken.json", '{"version": 1, "device": ')
    return root
