"""Indexing, joining, and reading or writing parts of a tensor."""

import torch
import torch.nn.functional as F

from recorder import Family


def pad(x, pad, value):
    return F.pad(x, pad, "constant", value)


def pad_mode(x, pad, mode):
    return F.pad(x, pad, mode)


def slice_scatter(x, src, dim, start, end, step):
    return torch.slice_scatter(x, src, dim, start, end, step)


def record():
    family = Family("index")
    gathering(family)
    joining(family)
    padding(family)
    moving(family)
    masking(family)
    return family


def gathering(family):
    for name, shape, index, dim in (("first", (5, 3), (7, 3), 0), ("last", (3, 5), (3, 2), -1),
                                    ("middle", (2, 5, 3), (2, 7, 3), 1), ("smaller", (3, 5), (2, 3), 1),
                                    ("flat", (5,), (7,), 0)):
        n = shape[dim]
        family.case(f"gather/{name}", "gather", lambda x, i, dim: torch.gather(x, dim, i),
                    lambda r: [r.normal(*shape), r.integers(0, n, *index)], params={"dim": dim},
                    second=True, note="inputs: x, index")
        family.case(f"scatter_add/{name}", "scatter_add",
                    lambda x, i, src, dim: torch.scatter_add(x, dim, i, src),
                    lambda r: [r.normal(*shape), r.integers(0, n, *index), r.normal(*index)],
                    params={"dim": dim}, second=True, note="inputs: x, index, src")
    family.case("scatter/last", "scatter", lambda x, i, src, dim: torch.scatter(x, dim, i, src),
                lambda r: [r.normal(2, 5), torch.stack([r.permutation(5)[:3] for _ in range(2)]), r.normal(2, 3)],
                params={"dim": 1}, note="inputs: x, index (no index twice), src")
    for name, shape, ids, dim in (("first", (5, 3), 7, 0), ("last", (3, 5), 2, -1),
                                  ("middle", (2, 5, 3), 7, 1), ("none", (5, 3), 0, 0)):
        n = shape[dim]
        family.case(f"index_select/{name}", "index_select",
                    lambda x, i, dim: torch.index_select(x, dim, i),
                    lambda r: [r.normal(*shape), r.integers(0, n, ids)], params={"dim": dim},
                    second=name != "none", note="inputs: x, index")
        source = list(shape)
        source[dim] = ids
        for alpha in (1.0, -0.5):
            title = "index_add" if alpha == 1.0 else "index_add_scaled"
            family.case(f"{title}/{name}", "index_add",
                        lambda x, i, src, dim, alpha: torch.index_add(x, dim, i, src, alpha=alpha),
                        lambda r: [r.normal(*shape), r.integers(0, n, ids), r.normal(*source)],
                        params={"dim": dim, "alpha": alpha}, note="inputs: x, index, src")
    for name, shape in (("scalar", ()), ("flat", (7,)), ("matrix", (2, 3))):
        family.case(f"one_hot/{name}", "one_hot", F.one_hot, lambda r: [r.integers(0, 5, *shape)],
                    params={"num_classes": 5}, note="the output is i64")


def joining(family):
    for name, shapes, dim in (("first", ((2, 3), (1, 3), (5, 3)), 0), ("last", ((2, 1), (2, 5)), -1),
                              ("middle", ((2, 3, 2), (2, 1, 2), (2, 7, 2)), 1), ("single", ((2, 3),), 0),
                              ("with_empty", ((2, 3), (0, 3)), 0)):
        family.case(f"cat/{name}", "cat", lambda *xs, dim: torch.cat(xs, dim),
                    lambda r: [r.normal(*s) for s in shapes], params={"dim": dim},
                    second=name == "middle")
    for name, shape, n, dim in (("first", (2, 3), 3, 0), ("last", (2, 3), 2, -1), ("middle", (2, 3), 5, 1),
                                ("scalars", (), 3, 0)):
        family.case(f"stack/{name}", "stack", lambda *xs, dim: torch.stack(xs, dim),
                    lambda r: [r.normal(*shape) for _ in range(n)], params={"dim": dim})
    family.case("cat/same_tensor_strided", "cat", lambda *xs, dim: torch.cat(xs, dim),
                lambda r: [r.normal(3, 2), r.normal(2, 5)], params={"dim": 1},
                views={0: [{"view": "permute", "dims": [1, 0]}], 1: [{"view": "flip", "dims": [1]}]})


def padding(family):
    note = "pad is PyTorch's: (before, after) of the last dimension first"
    for name, shape, amounts, value in (("last", (3, 5), [1, 2], 0.0), ("two", (2, 3), [2, 0, 1, 3], -1.5),
                                        ("three", (1, 2, 3), [0, 1, 2, 0, 1, 1], 7.0),
                                        ("nothing", (2, 3), [0, 0], 0.0), ("crop", (3, 5), [-1, 2, 0, -1], 0.5)):
        family.case(f"pad/{name}", "pad", pad, lambda r: [r.normal(*shape)],
                    params={"pad": amounts, "value": value}, second=name == "two", note=note)
    for mode in ("reflect", "replicate", "circular"):
        family.case(f"pad_{mode}/plane", "pad_mode", pad_mode, lambda r: [r.normal(1, 2, 3, 5)],
                    params={"pad": [2, 1, 1, 2], "mode": mode}, note=note)


def moving(family):
    for name, shape, dims in (("first", (3, 5), [0]), ("both", (2, 3), [0, 1]), ("outer", (2, 3, 5), [0, -1])):
        family.case(f"flip/{name}", "flip", torch.flip, lambda r: [r.normal(*shape)], params={"dims": dims})
    for name, shape, shifts, dims in (("forward", (3, 5), [2], [1]), ("back", (3, 5), [-1], [0]),
                                      ("both", (3, 5), [1, -7], [0, 1]), ("whole", (5,), [5], [0])):
        family.case(f"roll/{name}", "roll", torch.roll, lambda r: [r.normal(*shape)],
                    params={"shifts": shifts, "dims": dims})
    for name, shape, dim, size, step in (("overlap", (7,), 0, 3, 2), ("dense", (2, 7, 3), 1, 3, 1),
                                         ("gaps", (2, 7), -1, 2, 3), ("whole", (5,), 0, 5, 1)):
        family.case(f"unfold/{name}", "unfold", lambda x, dim, size, step: x.unfold(dim, size, step),
                    lambda r: [r.normal(*shape)], params={"dim": dim, "size": size, "step": step},
                    second=name == "overlap", note="the window is a new last dimension")
    for name, shape, offset, dim1, dim2 in (("main", (3, 5), 0, 0, 1), ("above", (3, 5), 2, 0, 1),
                                            ("below", (5, 3), -1, 0, 1), ("batched", (2, 3, 5), 1, -2, -1),
                                            ("outer", (3, 2, 3), 0, 0, 2)):
        family.case(f"diagonal/{name}", "diagonal", torch.diagonal, lambda r: [r.normal(*shape)],
                    params={"offset": offset, "dim1": dim1, "dim2": dim2})
    for name, shape, diagonal in (("main", (3, 5), 0), ("above", (5, 3), 1), ("below", (3, 3), -1),
                                  ("batched", (2, 3, 5), -1), ("far", (3, 5), 9)):
        for op, fn in (("tril", torch.tril), ("triu", torch.triu)):
            family.case(f"{op}/{name}", op, fn, lambda r: [r.normal(*shape)], params={"diagonal": diagonal})
    family.case("permute/three", "permute", torch.permute, lambda r: [r.normal(2, 3, 5)],
                params={"dims": [2, 0, 1]})
    family.case("narrow/middle", "narrow", torch.narrow, lambda r: [r.normal(2, 7, 3)],
                params={"dim": 1, "start": 2, "length": 3})
    family.case("select/middle", "select", lambda x, dim, index: torch.select(x, dim, index),
                lambda r: [r.normal(2, 5, 3)], params={"dim": 1, "index": -2})
    family.case("expand/new_and_old", "expand", lambda x, shape: x.expand(shape),
                lambda r: [r.normal(3, 1)], params={"shape": [2, 3, 5]}, second=True)
    family.case("repeat/new_and_old", "repeat", lambda x, repeats: x.repeat(repeats),
                lambda r: [r.normal(2, 3)], params={"repeats": [2, 1, 3]})
    family.case("reshape/of_transposed", "reshape", lambda x, shape: x.reshape(shape),
                lambda r: [r.normal(5, 6)], params={"shape": [3, -1, 2]},
                views={0: [{"view": "permute", "dims": [1, 0]}]})
    family.case("slice_scatter/stepped", "slice_scatter", slice_scatter,
                lambda r: [r.normal(2, 7), r.normal(2, 3)],
                params={"dim": 1, "start": 1, "end": 7, "step": 2}, note="inputs: x, src: x[:, 1:7:2] = src")


def masking(family):
    for name, shapes in (("same", ((3, 5), (3, 5), (3, 5))), ("broadcast", ((3, 1), (1, 5), (2, 1, 1))),
                         ("scalar", ((3, 5), (), (5,)))):
        c, a, b = shapes
        family.case(f"where/{name}", "where", torch.where,
                    lambda r: [r.bools(*c), r.normal(*a), r.normal(*b)], second=name == "broadcast",
                    note="inputs: condition, value where true, value where false")
    for name, shape, mask in (("same", (3, 5), (3, 5)), ("broadcast", (2, 3, 5), (3, 1))):
        family.case(f"masked_fill/{name}", "masked_fill", lambda x, m, value: x.masked_fill(m, value),
                    lambda r: [r.normal(*shape), r.bools(*mask)], params={"value": -1e9},
                    note="inputs: x, mask")
