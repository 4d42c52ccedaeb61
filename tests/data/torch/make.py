"""Writes the files beside it with PyTorch, from numbers anyone can draw again. Run by hand, where PyTorch is.

pip install torch==2.13.0 && python tests/data/torch/make.py
"""

import argparse
from collections import OrderedDict
from pathlib import Path

import torch

HERE = Path(__file__).parent
DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


def every_kind() -> dict:
    """A tensor of every type, and every way a tensor can lie on its storage; the test knows the same numbers."""
    numbers = torch.arange(24).reshape(2, 3, 4)
    base = torch.arange(100, dtype=torch.float32)
    tensors = OrderedDict((f"dtype.{name}", numbers.to(getattr(torch, name))) for name in DTYPES)
    tensors["shared.a"], tensors["shared.b"] = base[:50], base[25:75]
    tensors["strided"] = base.reshape(10, 10)[1::2, ::3]
    tensors["transposed"] = base.reshape(10, 10).T
    tensors["expanded"] = base[7:8].expand(3, 4)
    tensors["scalar"], tensors["empty"] = torch.tensor(3.5), torch.zeros(0, 4)
    tensors["parameter"] = torch.nn.Parameter(base[:6].reshape(2, 3).clone())
    return tensors


def training_checkpoint() -> dict:
    """What a training script saves: a model under DataParallel, its average, the optimizer, the arguments."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    for index, weight in enumerate(model.parameters()):
        torch.nn.init.constant_(weight, index + 0.5)
    optimizer = torch.optim.AdamW(model.parameters())
    average = {name: value + 1 for name, value in model.state_dict().items()}
    return {
        "epoch": 300,
        "model": torch.nn.DataParallel(model).state_dict(),
        "ema": {0.9998: average},
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(lr=1e-3, output=Path("runs")),
        "best": 78.7,
        "shape": torch.Size([3, 224, 224]),
        "device": torch.device("cpu"),
    }


def main() -> None:
    for name, content in {"every_kind": every_kind(), "training": training_checkpoint()}.items():
        torch.save(content, HERE / f"{name}.zip.pth")
        torch.save(content, HERE / f"{name}.legacy.pth", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
