"""Element-wise functions of two inputs, with broadcasting; comparisons and logic."""

import torch

from recorder import Family, values

INF, NAN = float("inf"), float("nan")

ARITHMETIC = {
    "add": (torch.add, (-3.0, 3.0)),
    "sub": (torch.sub, (-3.0, 3.0)),
    "mul": (torch.mul, (-3.0, 3.0)),
    "div": (torch.div, (0.3, 3.0)),
    "pow": (torch.pow, (0.3, 3.0)),
    "maximum": (torch.maximum, (-3.0, 3.0)),
    "minimum": (torch.minimum, (-3.0, 3.0)),
    "remainder": (torch.remainder, (0.3, 3.0)),
    "atan2": (torch.atan2, (-3.0, 3.0)),
}
COMPARISONS = {op: getattr(torch, op) for op in ("eq", "ne", "lt", "le", "gt", "ge")}
LOGIC = {op: getattr(torch, op) for op in ("logical_and", "logical_or", "logical_xor")}

SHAPES = {
    "same": ((3, 5), (3, 5)),
    "row": ((3, 5), (5,)),
    "column": ((3, 1), (3, 5)),
    "outer": ((3, 1), (1, 5)),
    "scalar": ((), (2, 3)),
    "middle": ((2, 1, 5), (2, 3, 1)),
    "rank": ((5,), (2, 1, 3, 1)),
}
# Pairs whose answer is worth writing down: signs, zeros, infinities, NaN.
LEFT = (1.0, -1.0, 0.0, 0.0, -0.0, 7.5, -7.5, 7.5, -7.5, INF, -INF, NAN, 2.0, NAN, 0.0, 3.0)
RIGHT = (0.0, 0.0, 0.0, 2.0, 3.0, 2.0, 2.0, -2.0, -2.0, 2.0, 3.0, 2.0, NAN, NAN, -1.0, INF)


def record():
    family = Family("binary")
    for op, (fn, (low, high)) in ARITHMETIC.items():
        for name, (a, b) in SHAPES.items():
            family.case(f"{op}/{name}", op, fn,
                        lambda r: [r.uniform(low, high, *a), r.uniform(low, high, *b)],
                        second=name in ("same", "middle"))
        family.case(f"{op}/special", op, fn, lambda r: [values(*LEFT), values(*RIGHT)], grad=False)
    for op in ("add", "mul", "div"):
        fn = ARITHMETIC[op][0]
        family.case(f"{op}/strided", op, fn,
                    lambda r: [r.uniform(0.3, 3.0, 5, 3), r.uniform(0.3, 3.0, 7, 5)],
                    views={0: [{"view": "permute", "dims": [1, 0]}],
                           1: [{"view": "step", "dim": 0, "step": 3}, {"view": "flip", "dims": [1]}]},
                    second=True)
        family.case(f"{op}/empty", op, fn, lambda r: [r.normal(0, 3), r.normal(1, 3)],
                    note="the gradient of the broadcast operand is a sum over nothing: zeros")
        family.case(f"{op}/long", op, fn, lambda r: [r.normal(67), r.uniform(0.3, 3.0, 67)])
    signed = lambda r: [values(7.5, -7.5, 7.5, -7.5, 0.1), values(2.0, 2.0, -2.0, -2.0, -1.0)]
    family.case("remainder/signs", "remainder", torch.remainder, signed,
                note="the result has the divisor's sign, as in Python")
    for op in ("maximum", "minimum"):
        family.case(f"{op}/ties", op, ARITHMETIC[op][0],
                    lambda r: [values(1.0, 2.0, 3.0), values(1.0, 2.0, 2.5)],
                    note="a tie gives half of the gradient to each operand")
    family.case("pow/base_zero", "pow", torch.pow,
                lambda r: [values(0.0, 0.0, 0.0, -2.0, -2.0), values(0.0, 1.0, 2.0, 3.0, 2.0)],
                constant=(1,))
    family.case("pow/exponent_of_zero_base", "pow", torch.pow,
                lambda r: [values(0.0, 0.0, 1.0), values(0.0, 2.0, 2.0)],
                note="0^y has gradient 0 with respect to y where y >= 0")
    family.case("atan2/quadrants", "atan2", torch.atan2,
                lambda r: [values(1.0, 1.0, -1.0, -1.0, 0.0, 2.0), values(2.0, -2.0, 2.0, -2.0, -1.0, 0.0)])

    for op, fn in COMPARISONS.items():
        family.case(f"{op}/special", op, fn, lambda r: [values(*LEFT), values(*RIGHT)])
        family.case(f"{op}/broadcast", op, fn,
                    lambda r: [r.integers(0, 3, 3, 1), r.integers(0, 3, 1, 5)])
        family.case(f"{op}/f64", op, fn, lambda r: [r.normal(3, 5), r.normal(5)], grad=False)
    for op, fn in LOGIC.items():
        family.case(f"{op}/broadcast", op, fn, lambda r: [r.bools(3, 1), r.bools(1, 5)])
    for dtype in (torch.int64, torch.int32, torch.uint8, torch.int8):
        for op in ("add", "sub", "mul", "maximum", "minimum", "remainder"):
            low = 0 if dtype == torch.uint8 else -9
            name = str(dtype).removeprefix("torch.")
            family.case(f"{op}/{name}", op, ARITHMETIC[op][0],
                        lambda r: [r.integers(low, 100, 3, 5, dtype=dtype), r.integers(1, 7, 5, dtype=dtype)],
                        note={torch.uint8: "unsigned arithmetic wraps", torch.int8: "products wrap"}.get(dtype))
    family.case("remainder/int_signs", "remainder", torch.remainder,
                lambda r: [values(7, -7, 7, -7, dtype=torch.int64), values(3, 3, -3, -3, dtype=torch.int64)])
    return family
