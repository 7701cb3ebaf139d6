"""Weights quantized per channel by PyTorch's observer, and what a quantized linear layer makes of them."""

import warnings

import torch
import torch.ao.quantization as tq
import torch.nn.functional as F

from recorder import Family


def observed(weight):
    """Scales by the observer that PyTorch has for weights in int8, one for each row, and the integers."""
    observer = tq.PerChannelMinMaxObserver(ch_axis=0, dtype=torch.qint8, qscheme=torch.per_channel_symmetric)
    observer(weight)
    scale, zero = observer.calculate_qparams()
    assert not zero.any()
    quantized = torch.quantize_per_channel(weight, scale, zero, 0, torch.qint8)
    return quantized.int_repr(), scale.float(), quantized.dequantize()


def record():
    warnings.filterwarnings("ignore")
    family = Family("quant")
    matrices = {
        "normal": lambda r: r.normal(7, 33, dtype=torch.float32),
        "wide": lambda r: r.normal(64, 100, dtype=torch.float32) * torch.logspace(-3, 3, 64)[:, None],
        "one_sided": lambda r: r.uniform(0.0, 2.0, 5, 16, dtype=torch.float32),
        "ties": lambda r: torch.arange(-255, 256, dtype=torch.float32).reshape(1, -1) / 2,
        "one_element": lambda r: r.normal(3, 1, dtype=torch.float32),
    }
    for name, make in matrices.items():
        family.case(f"quantize_per_channel/{name}", "quantize_per_channel", observed, lambda r: [make(r)], grad=False,
                    note="outputs: integers, scales, dequantized")
    for name, rows, outputs, features in (("small", 3, 5, 8), ("odd", 9, 33, 70), ("one_row", 1, 16, 128)):
        # In double precision: what the layer computes but for the rounding of its input.
        family.case(f"linear_of_dequantized/{name}", "linear_of_dequantized",
                    lambda x, w, b: F.linear(x.double(), observed(w)[2].double(), b.double()).float(),
                    lambda r: [r.normal(rows, features, dtype=torch.float32),
                               r.normal(outputs, features, dtype=torch.float32) / features**0.5,
                               r.normal(outputs, dtype=torch.float32)],
                    grad=False, note="inputs: x, weight, bias")
    dynamic(family)
    return family


def dynamic(family):
    """How far PyTorch's own `quantize_dynamic` is from the layer in floats."""

    def both(x, w, b):
        layer = torch.nn.Linear(w.shape[1], w.shape[0])
        with torch.no_grad():
            layer.weight.copy_(w)
            layer.bias.copy_(b)
        model = tq.quantize_dynamic(torch.nn.Sequential(layer), {torch.nn.Linear}, dtype=torch.qint8)
        with torch.no_grad():
            return layer(x), model(x)

    family.case("quantize_dynamic/normal", "quantize_dynamic", both,
                lambda r: [r.normal(32, 256, dtype=torch.float32), r.normal(64, 256, dtype=torch.float32) / 16,
                           r.normal(64, dtype=torch.float32)],
                grad=False, note="inputs: x, weight, bias; outputs: in floats, quantized")
