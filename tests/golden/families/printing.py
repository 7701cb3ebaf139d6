"""NumPy's text of arrays. Each case's `text` is `str(array)`; its one input is the array."""

import numpy as np
import torch

from recorder import NAMES, Family, Rand

INF, NAN = float("inf"), float("nan")


def record():
    family = Family("printing")
    r = Rand("printing")
    f32, f16 = torch.float32, torch.float16
    for name, tensor in {
        "scalar": torch.tensor(1.5, dtype=torch.float64),
        "scalar_f32": torch.tensor(0.1, dtype=f32),
        "scalar_whole": torch.tensor(3.0, dtype=f32),
        "scalar_small": torch.tensor(1e-7, dtype=f32),
        "scalar_large": torch.tensor(1e20, dtype=torch.float64),
        "scalar_nan": torch.tensor(NAN, dtype=f32),
        "scalar_i64": torch.tensor(-42),
        "scalar_bool": torch.tensor(True),
        "vector": torch.tensor([1.0, 2.5, -3.25], dtype=f32),
        "vector_whole": torch.tensor([1.0, 2.0, 30.0], dtype=f32),
        "vector_one": torch.tensor([0.1], dtype=torch.float64),
        "vector_empty": torch.zeros(0),
        "vector_thirds_f64": torch.tensor([1 / 3, 2 / 3, 4 / 3], dtype=torch.float64),
        "vector_thirds_f32": torch.tensor([1 / 3, 2 / 3, 4 / 3], dtype=f32),
        "vector_f16": torch.tensor([0.1, 1.5, -2.25], dtype=f16),
        "vector_small": torch.tensor([1e-5, 2e-5, 3.5e-6], dtype=f32),
        "vector_large": torch.tensor([1e8, 2.5e9, -3e10], dtype=torch.float64),
        "vector_wide_range": torch.tensor([1e-3, 1.0, 1e3], dtype=torch.float64),
        "vector_too_wide_range": torch.tensor([1e-4, 1.0, 1e5], dtype=torch.float64),
        "vector_hundred_million": torch.tensor([1e8, 1.0], dtype=torch.float64),
        "vector_below_hundred_million": torch.tensor([99999999.0, 1.5], dtype=torch.float64),
        "vector_three_digit_exponent": torch.tensor([1e-200, 1e200], dtype=torch.float64),
        "vector_nan_inf": torch.tensor([1.0, NAN, INF, -INF], dtype=f32),
        "vector_only_nan": torch.tensor([NAN, NAN], dtype=f32),
        "vector_negative_zero": torch.tensor([0.0, -0.0], dtype=f32),
        "vector_trailing_zeros": torch.tensor([0.5, 0.25, 100.125], dtype=torch.float64),
        "vector_eight_digits": torch.tensor([0.123456789, 12.3456789], dtype=torch.float64),
        "vector_rounds_up": torch.tensor([0.999999999, 1.0], dtype=torch.float64),
        "vector_i64": torch.tensor([1, -20, 300]),
        "vector_i32": torch.tensor([7, 8], dtype=torch.int32),
        "vector_u8": torch.tensor([0, 7, 255], dtype=torch.uint8),
        "vector_bool": torch.tensor([True, False, True]),
        "vector_wrapped": r.normal(20, dtype=f32),
        "vector_wrapped_i64": r.integers(-1000, 1000, 30),
        "vector_wrapped_bool": r.bools(20),
        "vector_1000": torch.arange(1000, dtype=torch.int64) % 10,
        "vector_1001": torch.arange(1001, dtype=torch.int64),
        "vector_summarized_f32": torch.arange(1200, dtype=f32) * 0.5,
        "matrix": torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]], dtype=f32),
        "matrix_random": r.normal(3, 5, dtype=f32),
        "matrix_random_f64": r.normal(2, 3),
        "matrix_i64": torch.tensor([[1, -20], [300, 4]]),
        "matrix_bool": torch.tensor([[True, False], [False, True]]),
        "matrix_row": torch.tensor([[1.0, 2.0]], dtype=f32),
        "matrix_column": torch.tensor([[1.0], [2.0]], dtype=f32),
        "matrix_empty": torch.zeros(0, 3),
        "matrix_empty_rows": torch.zeros(3, 0),
        "matrix_wrapped": r.normal(2, 9, dtype=f32),
        "matrix_summarized": torch.arange(1200, dtype=torch.int64).reshape(30, 40),
        "matrix_summarized_f32": torch.arange(1010, dtype=f32).reshape(101, 10) / 8,
        "matrix_summarized_short_rows": torch.arange(1002, dtype=torch.int64).reshape(501, 2),
        "cube": torch.arange(12, dtype=f32).reshape(2, 3, 2),
        "cube_random": r.normal(2, 2, 3, dtype=f32),
        "cube_i64": torch.arange(8).reshape(2, 2, 2) - 4,
        "cube_summarized": torch.arange(1100, dtype=torch.int64).reshape(11, 10, 10),
        "four_dims": torch.arange(16, dtype=f32).reshape(2, 2, 2, 2),
    }.items():
        family.keep(f"{name}.input.0", tensor)
        family.add({"case": name, "op": "str", "params": {"dtype": NAMES[tensor.dtype]}, "inputs": 1, "outputs": 0,
                    "grads": [False], "second_order": False, "text": str(np.asarray(tensor))})
    return family
