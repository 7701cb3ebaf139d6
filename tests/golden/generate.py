"""Writes every golden file: `python generate.py [family ...]`. README.md says what they are."""

import importlib
import sys
import warnings
from pathlib import Path

import torch

FAMILIES = ("unary", "binary", "reduce", "matmul", "index", "norm", "conv", "pool", "loss", "attention", "embedding",
            "rnn", "optim", "model", "amp", "dtype", "printing", "promotion", "quant")


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="reduction: 'mean' divides")  # kl_div, recorded on purpose
    torch.use_deterministic_algorithms(True)
    folder = Path(__file__).resolve().parent / "data"
    folder.mkdir(exist_ok=True)
    total = 0
    for name in sys.argv[1:] or FAMILIES:
        family = importlib.import_module(f"families.{name}").record()
        family.write(folder)
        size = sum(f.stat().st_size for f in folder.glob(f"{name}.*"))
        total += size
        print(f"{name:12} {len(family.cases):5} cases {size / 1e3:8.1f} kB")
    print(f"{'total':12} {'':5}       {total / 1e3:8.1f} kB, torch {torch.__version__}")


if __name__ == "__main__":
    main()
