"""Element-wise functions of one input."""

import torch
import torch.nn.functional as F

from recorder import Family, values

INF, NAN = float("inf"), float("nan")
ANY = (-3.0, 3.0)
POSITIVE = (0.05, 4.0)
# Every op's `special` case: outside its domain, the answer is NaN or an infinity.
SPECIAL = (NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 1e300, -1e300)

# name: (function, where to sample, extreme values inside the domain)
SMOOTH = {
    "neg": (torch.neg, ANY, (1e300, -1e-300)),
    "sqrt": (torch.sqrt, POSITIVE, (1e-300, 1e-8, 1e300)),
    "rsqrt": (torch.rsqrt, POSITIVE, (1e-8, 1e12, 1e200)),
    "reciprocal": (torch.reciprocal, POSITIVE, (-1e-8, 1e-8, 1e100, -3.0)),
    "exp": (torch.exp, ANY, (-745.0, -50.0, 1e-17, 50.0, 700.0)),
    "expm1": (torch.expm1, ANY, (-745.0, -1e-10, 1e-17, 1e-5, 50.0, 700.0)),
    "log": (torch.log, POSITIVE, (1e-300, 1.0, 1.0000000001, 1e300)),
    "log1p": (torch.log1p, (-0.9, 4.0), (-1e-10, 1e-17, 1e-5, -0.999999, 1e300)),
    "log2": (torch.log2, POSITIVE, (1e-300, 1.0, 8.0, 1e300)),
    "sin": (torch.sin, ANY, (1e-9, 100.0, -1e5, 1e10)),
    "cos": (torch.cos, ANY, (1e-9, 100.0, -1e5, 1e10)),
    "tan": (torch.tan, (-1.4, 1.4), (1e-9, 1.57, -1.57, 100.0)),
    "asin": (torch.asin, (-0.95, 0.95), (1e-9, 0.99999, -0.99999)),
    "acos": (torch.acos, (-0.95, 0.95), (1e-9, 0.99999, -0.99999)),
    "atan": (torch.atan, ANY, (1e-9, 1e9, -1e9)),
    "sinh": (torch.sinh, ANY, (1e-9, 50.0, -700.0)),
    "cosh": (torch.cosh, ANY, (1e-9, 50.0, -700.0)),
    "tanh": (torch.tanh, ANY, (1e-9, 10.0, -30.0, 1e3)),
    "sigmoid": (torch.sigmoid, ANY, (1e-9, 40.0, -40.0, -700.0, 800.0, -1000.0)),
    "gelu": (F.gelu, ANY, (1e-9, 6.0, -6.0, -30.0, 100.0)),
    "gelu_tanh": (lambda x: F.gelu(x, approximate="tanh"), ANY, (1e-9, 6.0, -6.0, -30.0, 100.0)),
    "silu": (F.silu, ANY, (1e-9, 40.0, -40.0, -700.0)),
    "softplus": (F.softplus, ANY, (1e-9, 15.0, -15.0, -700.0, 800.0)),
    "logsigmoid": (F.logsigmoid, ANY, (1e-9, 15.0, -15.0, -700.0, 800.0)),
    "erf": (torch.erf, ANY, (1e-9, 5.0, -5.0, 30.0)),
    "mish": (F.mish, ANY, (1e-9, 15.0, -15.0, 100.0)),
    "square": (torch.square, ANY, (1e-150, -1e150)),
    "softsign": (F.softsign, ANY, (1e-9, 1e9, -1e9)),
}

# name: (function, where its derivative jumps: there PyTorch's choice is recorded)
KINKED = {
    "abs": (torch.abs, (0.0, -0.0)),
    "sign": (torch.sign, (0.0, -0.0)),
    "relu": (F.relu, (0.0, -0.0)),
    "relu6": (F.relu6, (0.0, 6.0)),
    "hardswish": (F.hardswish, (-3.0, 3.0)),
    "hardsigmoid": (F.hardsigmoid, (-3.0, 3.0)),
    "floor": (torch.floor, (-1.0, 0.0, 2.0)),
    "ceil": (torch.ceil, (-1.0, 0.0, 2.0)),
    "round": (torch.round, (-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)),
    "trunc": (torch.trunc, (-1.0, 0.0, 2.0)),
}

# (op, function, params, where to sample, where its derivative jumps)
WITH_PARAMS = [
    ("elu", F.elu, {"alpha": 1.0}, ANY, (0.0,)),
    ("elu", F.elu, {"alpha": 0.3}, ANY, (0.0,)),
    ("leaky_relu", F.leaky_relu, {"negative_slope": 0.01}, ANY, (0.0,)),
    ("leaky_relu", F.leaky_relu, {"negative_slope": 0.2}, ANY, (0.0,)),
    ("clamp", torch.clamp, {"min": -1.0, "max": 1.5}, ANY, (-1.0, 1.5)),
    ("clamp", torch.clamp, {"min": 0.5, "max": None}, ANY, (0.5,)),
    ("clamp", torch.clamp, {"min": None, "max": 0.5}, ANY, (0.5,)),
    ("pow_scalar", torch.pow, {"exponent": 2.0}, ANY, (0.0,)),
    ("pow_scalar", torch.pow, {"exponent": 3.0}, ANY, (0.0,)),
    ("pow_scalar", torch.pow, {"exponent": 1.0}, ANY, (0.0,)),
    ("pow_scalar", torch.pow, {"exponent": 0.0}, ANY, (0.0,)),
    ("pow_scalar", torch.pow, {"exponent": -1.0}, ANY, ()),
    ("pow_scalar", torch.pow, {"exponent": -2.0}, ANY, ()),
    ("pow_scalar", torch.pow, {"exponent": 0.5}, POSITIVE, ()),
    ("pow_scalar", torch.pow, {"exponent": -1.7}, POSITIVE, ()),
    ("softplus_beta", lambda x, beta, threshold: F.softplus(x, beta, threshold),
     {"beta": 2.0, "threshold": 20.0}, ANY, ()),
]

STRIDED = [
    ("transposed", (5, 3), [{"view": "permute", "dims": [1, 0]}]),
    ("stepped", (7, 3), [{"view": "step", "dim": 0, "step": 2}]),
    ("flipped", (3, 5), [{"view": "flip", "dims": [1]}]),
    ("narrowed", (5, 3), [{"view": "narrow", "dim": 0, "start": 1, "length": 3},
                          {"view": "narrow", "dim": 1, "start": 1, "length": 2}]),
    ("expanded", (3, 1), [{"view": "expand", "shape": [2, 3, 5]}]),
    ("mixed", (4, 3, 5), [{"view": "permute", "dims": [2, 0, 1]},
                          {"view": "step", "dim": 0, "step": 2},
                          {"view": "flip", "dims": [1]},
                          {"view": "narrow", "dim": 2, "start": 1, "length": 2}]),
]


def record():
    family = Family("unary")
    for op, (fn, (low, high), extreme) in SMOOTH.items():
        family.case(f"{op}/plain", op, fn, lambda r: [r.uniform(low, high, 3, 5)], second=True)
        family.case(f"{op}/extreme", op, fn, lambda r: [values(*extreme)])
        family.case(f"{op}/special", op, fn, lambda r: [values(*SPECIAL)], grad=False)
    for op, (fn, kinks) in KINKED.items():
        family.case(f"{op}/plain", op, fn, lambda r: [r.uniform(-7.0, 7.0, 3, 5)],
                    second=op != "hardsigmoid")  # PyTorch has no second derivative of it
        family.case(f"{op}/kink", op, fn, lambda r: [values(*kinks)])
        family.case(f"{op}/special", op, fn, lambda r: [values(*SPECIAL)], grad=False)
    for op, fn, params, (low, high), kinks in WITH_PARAMS:
        title = f"{op}_" + "_".join(f"{v}" for v in params.values()).lower()
        family.case(f"{title}/plain", op, fn, lambda r: [r.uniform(low, high, 3, 5)],
                    params=params, second=True)
        family.case(f"{title}/special", op, fn, lambda r: [values(*SPECIAL)],
                    params=params, grad=False)
        if kinks:
            family.case(f"{title}/kink", op, fn, lambda r: [values(*kinks)], params=params)
    for name, shape, views in STRIDED:
        for op, fn in (("exp", torch.exp), ("sigmoid", torch.sigmoid)):
            family.case(f"{op}/{name}", op, fn, lambda r: [r.normal(*shape)], views={0: views},
                        second=True)
    for name, shape in (("scalar", ()), ("one", (1, 1, 1)), ("empty", (0, 3)), ("long", (131,))):
        family.case(f"tanh/{name}", "tanh", torch.tanh, lambda r: [r.normal(*shape)])
    return family
