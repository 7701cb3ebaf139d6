"""Max, average and adaptive pooling."""

import torch.nn.functional as F

from recorder import Family

MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}

# name: (x, kernel, stride, padding, dilation, ceil_mode)
MAX_POOLS = {
    "halving_1d": ((2, 3, 7), [2], [2], [0], [1], False),
    "ceil_1d": ((2, 3, 7), [2], [2], [0], [1], True),
    "overlapping_1d": ((1, 2, 7), [3], [1], [1], [1], False),
    "dilated_1d": ((1, 2, 11), [3], [2], [1], [2], False),
    "halving_2d": ((2, 3, 5, 7), [2, 2], [2, 2], [0, 0], [1, 1], False),
    "ceil_2d": ((2, 2, 5, 7), [2, 2], [2, 2], [0, 0], [1, 1], True),
    "padded_2d": ((2, 2, 7, 5), [3, 3], [2, 2], [1, 1], [1, 1], False),
    "padded_ceil_2d": ((1, 2, 6, 5), [3, 2], [2, 3], [1, 1], [1, 1], True),
    "dilated_2d": ((1, 2, 7, 9), [2, 3], [1, 2], [1, 1], [2, 3], False),
    "whole_2d": ((2, 3, 3, 2), [3, 2], [1, 1], [0, 0], [1, 1], False),
    "halving_3d": ((1, 2, 5, 4, 3), [2, 2, 2], [2, 2, 2], [0, 0, 0], [1, 1, 1], False),
    "mixed_3d": ((1, 2, 5, 5, 4), [3, 2, 2], [2, 1, 2], [1, 0, 1], [1, 2, 1], True),
}
# name: (x, kernel, stride, padding, ceil_mode)
AVERAGE_POOLS = {
    "halving_1d": ((2, 3, 7), [2], [2], [0], False),
    "padded_1d": ((2, 3, 7), [3], [2], [1], False),
    "ceil_1d": ((1, 2, 6), [3], [2], [1], True),
    "halving_2d": ((2, 3, 5, 7), [2, 2], [2, 2], [0, 0], False),
    "padded_2d": ((2, 2, 7, 5), [3, 3], [2, 2], [1, 1], False),
    "padded_ceil_2d": ((1, 2, 6, 5), [3, 2], [2, 3], [1, 1], True),
    "overlapping_2d": ((1, 2, 5, 5), [3, 3], [1, 1], [1, 1], False),
    "mixed_3d": ((1, 2, 5, 5, 4), [3, 2, 2], [2, 1, 2], [1, 0, 1], True),
}
NOTE = "outputs: y, index of each maximum in its flattened input plane"


def max_pool(d):
    return lambda x, **p: MAX[d](x, p["kernel"], p["stride"], p["padding"], p["dilation"], p["ceil_mode"],
                                 return_indices=True)


def average_pool(d):
    return lambda x, **p: AVERAGE[d](x, p["kernel"], p["stride"], p["padding"], p["ceil_mode"],
                                     p["count_include_pad"])


def adaptive_average(d):
    fn = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}[d]
    return lambda x, output_size: fn(x, output_size)


def record():
    family = Family("pool")
    for name, (x, kernel, stride, padding, dilation, ceil_mode) in MAX_POOLS.items():
        d = len(kernel)
        params = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation,
                  "ceil_mode": ceil_mode}
        family.case(f"max_pool{d}d/{name}", f"max_pool{d}d", max_pool(d), lambda r: [r.normal(*x)],
                    params=params, note=NOTE)
    halves = {"kernel": [2, 2], "stride": [2, 2], "padding": [0, 0], "dilation": [1, 1], "ceil_mode": False}
    family.case("max_pool2d/ties", "max_pool2d", max_pool(2), lambda r: [r.integers(0, 2, 1, 2, 4, 6).double()],
                params=halves, note=f"{NOTE}; the first of equal elements takes the gradient")
    family.case("max_pool2d/all_negative_padded", "max_pool2d", max_pool(2),
                lambda r: [r.uniform(-3.0, -1.0, 1, 2, 3, 5)], params={**halves, "padding": [1, 1]},
                note=f"{NOTE}; padding never wins")
    family.case("max_pool2d/strided", "max_pool2d", max_pool(2), lambda r: [r.normal(2, 4, 6, 3)],
                params=halves, views={0: [{"view": "permute", "dims": [0, 3, 1, 2]}]}, note=NOTE)
    for name, (x, kernel, stride, padding, ceil_mode) in AVERAGE_POOLS.items():
        d = len(kernel)
        for count in (True, False):
            title = "counting_padding" if count else "not_counting_padding"
            params = {"kernel": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode,
                      "count_include_pad": count}
            family.case(f"avg_pool{d}d_{title}/{name}", f"avg_pool{d}d", average_pool(d),
                        lambda r: [r.normal(*x)], params=params, second=count)
    for name, x, size in (("one_1d", (2, 3, 7), [1]), ("uneven_1d", (2, 3, 7), [3]), ("larger_1d", (1, 2, 3), [5]),
                          ("one_2d", (2, 3, 5, 7), [1, 1]), ("uneven_2d", (2, 2, 7, 5), [3, 2]),
                          ("same_2d", (1, 2, 3, 5), [3, 5]), ("larger_2d", (1, 2, 2, 3), [5, 4]),
                          ("uneven_3d", (1, 2, 3, 5, 4), [2, 3, 1])):
        d = len(size)
        family.case(f"adaptive_avg_pool{d}d/{name}", f"adaptive_avg_pool{d}d", adaptive_average(d),
                    lambda r: [r.normal(*x)], params={"output_size": size}, second=True)
        if d == 2:
            family.case(f"adaptive_max_pool2d/{name}", "adaptive_max_pool2d",
                        lambda x, output_size: F.adaptive_max_pool2d(x, output_size, return_indices=True),
                        lambda r: [r.normal(*x)], params={"output_size": size}, note=NOTE)
    return family
