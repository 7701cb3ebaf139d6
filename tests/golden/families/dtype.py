"""Casts at their edges, ops on mixed dtypes, and ops on half-precision floats."""

import torch
import torch.nn.functional as F

from recorder import DTYPES, Family, values

INF, NAN = float("inf"), float("nan")
FLOATS = (0.0, -0.0, 1.0, -1.5, 1 / 3, 3.14159265358979, 65504.0, 65519.0, 65520.0, 1e5, 1e38, 3.4e38, 1e-3, 6.1e-5,
          5.9e-8, 2.9e-8, 3.0e-8, 1e-40, 1e-45, 1.00390625, 1.01171875, 1.0009765625, 1.00048828125, 1.00146484375,
          255.5, 256.5, 257.0, 259.0, 2049.0, 2051.0, INF, -INF, NAN)
TRUNCATED = (0.0, -0.0, 0.9, -0.9, 1.5, -1.5, 2.5, -2.5, 99.99, -99.99, 32767.7, -32768.7, 16777216.0)
BYTES = (0.0, 0.9, 1.5, 2.5, 99.99, 254.9, 255.0)
SIGNED_BYTES = (0.0, -0.0, 0.9, -0.9, 1.5, -1.5, 99.99, -99.99, 126.5, -127.5)
INTEGERS = (0, 1, -1, 127, 255, 2049, 2051, 65504, 65519, 16777217, -16777219, 123456789)


def cast(x, to):
    return x.to(DTYPES[to])


def record():
    family = Family("dtype")
    for source in ("f64", "f32", "f16", "bf16"):
        for target in DTYPES:
            if target == source:
                continue
            numbers = BYTES if target == "u8" else SIGNED_BYTES if target == "i8" else TRUNCATED if target in ("i64", "i32") else FLOATS
            family.case(f"cast/{source}_to_{target}", "cast", cast,
                        lambda r: [values(*numbers).to(DTYPES[source])], params={"to": target}, grad=False)
    for source in ("i64", "i32"):
        for target in ("f64", "f32", "f16", "bf16", "bool"):
            family.case(f"cast/{source}_to_{target}", "cast", cast,
                        lambda r: [values(*INTEGERS, dtype=DTYPES[source])], params={"to": target}, grad=False)
    family.case("cast/i64_to_f32_large", "cast", cast,
                lambda r: [values(2**53 + 1, 2**62 + 1, -(2**63), 2**63 - 1, dtype=torch.int64)], params={"to": "f32"})
    family.case("cast/i64_to_i32_wraps", "cast", cast,
                lambda r: [values(2**31, 2**32 + 5, -(2**31) - 1, dtype=torch.int64)], params={"to": "i32"})
    family.case("cast/i64_to_u8_wraps", "cast", cast,
                lambda r: [values(255, 256, 257, -1, -300, dtype=torch.int64)], params={"to": "u8"})
    family.case("cast/i64_to_i8_wraps", "cast", cast,
                lambda r: [values(127, 128, 255, 256, -128, -129, -300, dtype=torch.int64)], params={"to": "i8"})
    family.case("cast/u8_to_i8_wraps", "cast", cast,
                lambda r: [values(0, 127, 128, 255, dtype=torch.uint8)], params={"to": "i8"})
    for target in ("f64", "f32", "f16", "bf16", "i64", "i32", "u8", "bool"):
        family.case(f"cast/i8_to_{target}", "cast", cast,
                    lambda r: [values(0, 1, -1, 127, -128, 100, dtype=torch.int8)], params={"to": target}, grad=False)
    for target in ("f64", "f32", "f16", "bf16", "i64", "i32", "u8", "i8"):
        family.case(f"cast/bool_to_{target}", "cast", cast, lambda r: [torch.tensor([True, False])],
                    params={"to": target}, grad=False)
    family.case("cast/gradient_comes_back_in_f64", "cast", cast, lambda r: [r.normal(3, 5)], params={"to": "f32"})
    mixed(family)
    halves(family)
    return family


def mixed(family):
    pairs = (("f32", "f64"), ("f16", "bf16"), ("f16", "f32"), ("i64", "f32"), ("i32", "f16"), ("u8", "i32"),
             ("bool", "f32"), ("bool", "i64"), ("bool", "u8"), ("i64", "bf16"), ("i8", "i32"), ("i8", "f16"), ("bool", "i8"))
    for a, b in pairs:
        make = lambda r: [r.integers(0, 2 if a == "bool" else 9, 2, 3, dtype=DTYPES[a]),
                          r.integers(1, 9, 3, dtype=DTYPES[b])]
        for op, fn in (("add", torch.add), ("mul", torch.mul), ("div", torch.div)):
            note = "integers divide to f32" if op == "div" else None
            family.case(f"{op}/{a}_{b}", op, fn, make, grad=False, note=note)


def halves(family):
    """Outputs are rounded once from a wider sum; compare to within one unit in the last place."""
    for name in ("f16", "bf16"):
        dtype = DTYPES[name]
        plane = lambda r: [r.normal(3, 7, dtype=dtype)]
        pair = lambda r: [r.normal(3, 7, dtype=dtype), r.normal(3, 7, dtype=dtype)]
        for op, fn in (("exp", torch.exp), ("tanh", torch.tanh), ("gelu", F.gelu), ("sigmoid", torch.sigmoid)):
            family.case(f"{op}/{name}", op, fn, plane)
        for op, fn in (("add", torch.add), ("mul", torch.mul), ("div", torch.div)):
            family.case(f"{op}/{name}", op, fn, pair)
        total = lambda x, dims, keepdim: torch.sum(x, dims, keepdim)
        family.case(f"sum/{name}", "sum", total, lambda r: [r.uniform(0.5, 1.5, 300, dtype=dtype)],
                    params={"dims": [0], "keepdim": False}, note="accumulated in f32")
        family.case(f"mean/{name}", "mean", lambda x, dims, keepdim: torch.mean(x, dims, keepdim),
                    lambda r: [r.uniform(300.0, 500.0, 300, dtype=dtype)], params={"dims": [0], "keepdim": False},
                    note="the sum would overflow f16")
        family.case(f"softmax/{name}", "softmax", torch.softmax, plane, params={"dim": -1})
        family.case(f"matmul/{name}", "matmul", torch.matmul,
                    lambda r: [r.normal(3, 17, dtype=dtype), r.normal(17, 5, dtype=dtype)])
        family.case(f"layer_norm/{name}", "layer_norm",
                    lambda x, w, b, normalized_shape, eps: F.layer_norm(x, normalized_shape, w, b, eps),
                    lambda r: [r.normal(3, 7, dtype=dtype), r.normal(7, dtype=dtype), r.normal(7, dtype=dtype)],
                    params={"normalized_shape": [7], "eps": 1e-5})
