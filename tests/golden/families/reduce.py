"""Reductions, arg-reductions, cumulative ops, sorting."""

import torch

from recorder import Family, values

INF, NAN = float("inf"), float("nan")
# (name, shape, dims, keepdim); dims None means all of them
AXES = [
    ("all", (3, 5), None, False),
    ("all_keep", (2, 3, 2), None, True),
    ("first", (3, 5), [0], False),
    ("last", (3, 5), [-1], False),
    ("last_keep", (2, 3, 5), [-1], True),
    ("middle", (2, 7, 3), [1], False),
    ("outer_two", (2, 3, 5), [0, 2], False),
    ("inner_two_keep", (2, 3, 5), [1, 2], True),
    ("one", (1, 1), [0], False),
]


def every(x, dims):
    return list(range(x.dim())) if dims is None else [d % x.dim() for d in dims]


def prod(x, dims, keepdim):
    for d in sorted(every(x, dims), reverse=True):
        x = torch.prod(x, d, keepdim)
    return x


def norm(x, p, dims, keepdim):
    return torch.linalg.vector_norm(x, float(p), dims, keepdim)


REDUCTIONS = {
    "sum": lambda x, dims, keepdim: torch.sum(x, every(x, dims), keepdim),
    "mean": lambda x, dims, keepdim: torch.mean(x, every(x, dims), keepdim),
    "prod": prod,
    "amax": lambda x, dims, keepdim: torch.amax(x, every(x, dims), keepdim),
    "amin": lambda x, dims, keepdim: torch.amin(x, every(x, dims), keepdim),
    "logsumexp": lambda x, dims, keepdim: torch.logsumexp(x, every(x, dims), keepdim),
}


def var(x, dims, keepdim, unbiased):
    return torch.var(x, every(x, dims), correction=int(unbiased), keepdim=keepdim)


def std(x, dims, keepdim, unbiased):
    return torch.std(x, every(x, dims), correction=int(unbiased), keepdim=keepdim)


def record():
    family = Family("reduce")
    for name, shape, dims, keepdim in AXES:
        params = {"dims": dims, "keepdim": keepdim}
        for op, fn in REDUCTIONS.items():
            family.case(f"{op}/{name}", op, fn, lambda r: [r.normal(*shape)], params=params,
                        second=name in ("all", "middle", "outer_two"))
        for p in (1.0, 2.0, 3.0, "inf"):
            if name in ("all", "last", "outer_two", "inner_two_keep"):
                family.case(f"norm_{p}/{name}", "norm", norm, lambda r: [r.normal(*shape)],
                            params={"p": p, **params}, second=p == 2.0)
        if name == "one":
            continue
        for unbiased in (True, False):
            title = "unbiased" if unbiased else "biased"
            for op, fn in (("var", var), ("std", std)):
                family.case(f"{op}_{title}/{name}", op, fn, lambda r: [r.normal(*shape)],
                            params={**params, "unbiased": unbiased}, second=name == "middle")
    transposed = [{"view": "permute", "dims": [2, 0, 1]}, {"view": "flip", "dims": [0]}]
    for op, fn in REDUCTIONS.items():
        family.case(f"{op}/strided", op, fn, lambda r: [r.normal(3, 5, 2)],
                    params={"dims": [1], "keepdim": False}, views={0: transposed}, second=True)
        if op not in ("amax", "amin"):
            family.case(f"{op}/empty", op, fn, lambda r: [r.normal(0, 3)],
                        params={"dims": [0], "keepdim": False}, note="the mean of nothing is NaN; otherwise the op's identity")
        family.case(f"{op}/nan", op, fn, lambda r: [values(1.0, NAN, 3.0)],
                    params={"dims": None, "keepdim": False}, grad=False)
    for op in ("amax", "amin"):
        family.case(f"{op}/ties", op, REDUCTIONS[op], lambda r: [r.integers(0, 3, 3, 7).double()],
                    params={"dims": [1], "keepdim": False},
                    note="ties share the gradient equally")
    whole = {"dims": None, "keepdim": False}
    family.case("prod/one_zero", "prod", prod, lambda r: [values(2.0, 0.0, -3.0, 5.0)], params=whole)
    family.case("prod/two_zeros", "prod", prod, lambda r: [values(2.0, 0.0, 0.0, 5.0)], params=whole)
    family.case("prod/zeros_in_rows", "prod", prod,
                lambda r: [torch.tensor([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0], [2.0, 4.0, 5.0]]).double()],
                params={"dims": [1], "keepdim": False})
    family.case("logsumexp/infinite", "logsumexp", REDUCTIONS["logsumexp"],
                lambda r: [torch.tensor([[-INF, 1.0, 2.0], [-INF, -INF, -INF], [INF, 1.0, 2.0],
                                         [1000.0, 1000.0, -1000.0]]).double()],
                params={"dims": [1], "keepdim": False}, grad=False)
    family.case("logsumexp/large", "logsumexp", REDUCTIONS["logsumexp"],
                lambda r: [values(1000.0, 999.0, -1000.0)], params=whole)
    family.case("norm_2.0/zero", "norm", norm, lambda r: [values(0.0, 0.0)],
                params={"p": 2.0, **whole}, note="the gradient of the norm of zero is zero")
    family.case("sum/i32", "sum", REDUCTIONS["sum"],
                lambda r: [r.integers(-9, 9, 3, 5, dtype=torch.int32)],
                params={"dims": [0], "keepdim": False}, note="integers and booleans sum to i64")
    family.case("sum/bool", "sum", REDUCTIONS["sum"], lambda r: [r.bools(3, 5)], params=whole)
    logic(family)
    arguments(family)
    scans(family)
    sorting(family)
    return family


def logic(family):
    for op, fn in (("any", torch.any), ("all", torch.all)):
        family.case(f"{op}/last", op, lambda x, dims, keepdim: fn(x, dims[0], keepdim),
                    lambda r: [torch.tensor([[True, False], [True, True], [False, False]])],
                    params={"dims": [-1], "keepdim": False})


def arguments(family):
    for op, fn in (("argmax", torch.argmax), ("argmin", torch.argmin)):
        for name, dim, keepdim in (("all", None, False), ("first", 0, False), ("middle_keep", 1, True),
                                   ("last", -1, False)):
            params = {"dim": dim, "keepdim": keepdim}
            family.case(f"{op}/{name}", op, fn, lambda r: [r.normal(2, 7, 3)], params=params)
            family.case(f"{op}/{name}_ties", op, fn, lambda r: [r.integers(0, 3, 2, 7, 3)],
                        params=params, note="the first of equal elements")
        family.case(f"{op}/nan", op, fn, lambda r: [values(1.0, NAN, 3.0, NAN)],
                    params={"dim": 0, "keepdim": False}, note="NaN counts as the extreme")
    for op, fn in (("max_dim", torch.max), ("min_dim", torch.min)):
        family.case(f"{op}/middle", op, lambda x, dim, keepdim: fn(x, dim, keepdim),
                    lambda r: [r.normal(2, 5, 3)], params={"dim": 1, "keepdim": False},
                    note="outputs: values, indices")


def scans(family):
    for op, fn in (("cumsum", torch.cumsum), ("cumprod", torch.cumprod)):
        for name, shape, dim in (("flat", (7,), 0), ("first", (5, 3), 0), ("last", (3, 5), -1),
                                 ("middle", (2, 5, 3), 1)):
            family.case(f"{op}/{name}", op, fn, lambda r: [r.normal(*shape)], params={"dim": dim},
                        second=True)
        family.case(f"{op}/strided", op, fn, lambda r: [r.normal(5, 3)], params={"dim": 1},
                    views={0: [{"view": "permute", "dims": [1, 0]}, {"view": "flip", "dims": [1]}]})
    family.case("cumprod/zeros", "cumprod", torch.cumprod,
                lambda r: [values(2.0, 0.0, 3.0, 0.0, 5.0)], params={"dim": 0})
    family.case("cumsum/bool", "cumsum", torch.cumsum, lambda r: [r.bools(7)], params={"dim": 0},
                note="integers and booleans accumulate in i64")
    for op, fn in (("cummax", torch.cummax), ("cummin", torch.cummin)):
        for name, shape, dim in (("flat", (7,), 0), ("middle", (2, 5, 3), 1)):
            family.case(f"{op}/{name}", op, fn, lambda r: [r.normal(*shape)], params={"dim": dim},
                        note="outputs: values, indices")
        family.case(f"{op}/ties", op, fn, lambda r: [values(1.0, 2.0, 2.0, 1.0, 1.0, 3.0)],
                    params={"dim": 0}, note="the index is of the last of equal elements")


def sorting(family):
    note = "outputs: values, indices"
    for descending in (False, True):
        title = "sort_descending" if descending else "sort"
        params = {"dim": -1, "descending": descending, "stable": True}
        sort = lambda x, dim, descending, stable: torch.sort(x, dim=dim, descending=descending, stable=stable)
        family.case(f"{title}/last", "sort", sort, lambda r: [r.normal(3, 7)], params=params, note=note)
        family.case(f"{title}/middle", "sort", sort, lambda r: [r.normal(2, 5, 3)],
                    params={**params, "dim": 1}, note=note)
        family.case(f"{title}/ties", "sort", sort, lambda r: [r.integers(0, 4, 2, 11).double()],
                    params=params, note="equal elements keep their order")
        family.case(f"{title}/nan", "sort", sort, lambda r: [values(1.0, NAN, -INF, 3.0, NAN, INF)],
                    params=params, grad=False, note="NaN counts as the largest")
        family.case(f"{title}/i64", "sort", sort, lambda r: [r.integers(-50, 50, 13)], params=params)
    for largest in (True, False):
        for k in (1, 3, 7):
            family.case(f"topk_{'largest' if largest else 'smallest'}_{k}/last", "topk",
                        lambda x, k, dim, largest: torch.topk(x, k, dim, largest, True),
                        lambda r: [r.normal(3, 7)],
                        params={"k": k, "dim": -1, "largest": largest}, note=note)
    family.case("topk_largest_2/middle", "topk",
                lambda x, k, dim, largest: torch.topk(x, k, dim, largest, True),
                lambda r: [r.normal(2, 5, 3)], params={"k": 2, "dim": 1, "largest": True}, note=note)
