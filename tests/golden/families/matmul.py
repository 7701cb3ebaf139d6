"""Matrix products."""

import torch
import torch.nn.functional as F

from recorder import Family

SHAPES = {
    "vec_vec": ((5,), (5,)),
    "vec_mat": ((3,), (3, 5)),
    "mat_vec": ((5, 3), (3,)),
    "mat_mat": ((2, 3), (3, 5)),
    "one": ((1, 1), (1, 1)),
    "row_column": ((1, 7), (7, 1)),
    "column_row": ((7, 1), (1, 5)),
    "wide": ((3, 17), (17, 19)),
    "batched": ((3, 2, 5), (3, 5, 7)),
    "batch_of_two": ((2, 3, 2, 5), (2, 3, 5, 1)),
    "batched_by_mat": ((3, 2, 5), (5, 7)),
    "mat_by_batched": ((2, 5), (3, 5, 7)),
    "broadcast_left": ((1, 2, 5), (3, 5, 2)),
    "broadcast_both": ((3, 1, 2, 5), (2, 5, 3)),
    "batched_by_vec": ((2, 3, 5), (5,)),
    "vec_by_batched": ((5,), (2, 5, 3)),
    "empty_inner": ((2, 0), (0, 3)),
    "empty_outer": ((0, 3), (3, 2)),
    "empty_batch": ((0, 2, 3), (0, 3, 2)),
}

SWAP = [{"view": "permute", "dims": [1, 0]}]
BATCH_LAST = [{"view": "permute", "dims": [2, 0, 1]}]
STRIDED = {
    "left_transposed": ((5, 3), (5, 2), {0: SWAP}),
    "right_transposed": ((3, 5), (2, 5), {1: SWAP}),
    "both_transposed": ((5, 3), (2, 5), {0: SWAP, 1: SWAP}),
    "stepped": ((7, 5), (9, 3), {0: [{"view": "step", "dim": 0, "step": 3}],
                                 1: [{"view": "step", "dim": 0, "step": 2}]}),
    "flipped": ((3, 5), (5, 2), {0: [{"view": "flip", "dims": [1]}],
                                 1: [{"view": "flip", "dims": [0, 1]}]}),
    "expanded": ((1, 5), (5, 1), {0: [{"view": "expand", "shape": [3, 5]}],
                                  1: [{"view": "expand", "shape": [5, 7]}]}),
    "batch_innermost": ((2, 5, 3), (5, 7, 3), {0: BATCH_LAST, 1: BATCH_LAST}),
    "narrowed": ((5, 9), (7, 5), {0: [{"view": "narrow", "dim": 1, "start": 2, "length": 5}],
                                  1: [{"view": "narrow", "dim": 0, "start": 1, "length": 5}]}),
}

LINEAR = {"vector": (5,), "matrix": (3, 5), "sequence": (2, 3, 5), "one_row": (1, 5)}


def record():
    family = Family("matmul")
    for name, (a, b) in SHAPES.items():
        family.case(f"matmul/{name}", "matmul", torch.matmul, lambda r: [r.normal(*a), r.normal(*b)],
                    second=name in ("vec_vec", "mat_mat", "broadcast_both"))
    for name, (a, b, views) in STRIDED.items():
        family.case(f"matmul/{name}", "matmul", torch.matmul, lambda r: [r.normal(*a), r.normal(*b)],
                    views=views, second=True)
    for name, shape in LINEAR.items():
        family.case(f"linear/{name}", "linear", F.linear,
                    lambda r: [r.normal(*shape), r.normal(7, 5), r.normal(7)], second=True,
                    note="inputs: x, weight [out, in], bias [out]")
        family.case(f"linear_without_bias/{name}", "linear", F.linear,
                    lambda r: [r.normal(*shape), r.normal(7, 5)])
    return family
