"""Softmax and normalization."""

import torch
import torch.nn.functional as F

from recorder import Family, values

INF = float("inf")


def layer_norm(x, *affine, normalized_shape, eps):
    weight, bias = (*affine, None, None)[:2]
    return F.layer_norm(x, normalized_shape, weight, bias, eps)


def rms_norm(x, *affine, normalized_shape, eps):
    return F.rms_norm(x, normalized_shape, affine[0] if affine else None, eps)


def group_norm(x, *affine, num_groups, eps):
    weight, bias = (*affine, None, None)[:2]
    return F.group_norm(x, num_groups, weight, bias, eps)


def batch_norm(x, running_mean, running_var, *affine, training, momentum, eps):
    weight, bias = (*affine, None, None)[:2]
    mean, variance = running_mean.detach().clone(), running_var.detach().clone()
    y = F.batch_norm(x, mean, variance, weight, bias, training, momentum, eps)
    return (y, mean, variance) if training else y


def record():
    family = Family("norm")
    softmaxes(family)
    for name, shape, normalized in (("row", (3, 5), [5]), ("one", (2, 1), [1]), ("sequence", (2, 3, 7), [7]),
                                    ("two_dims", (2, 3, 5), [3, 5]), ("wide", (2, 67), [67]), ("vector", (5,), [5])):
        for eps in (1e-5, 1e-2):
            if eps == 1e-2 and name != "row":
                continue
            params = {"normalized_shape": normalized, "eps": eps}
            title = name if eps == 1e-5 else f"{name}_large_eps"
            family.case(f"layer_norm_plain/{title}", "layer_norm", layer_norm,
                        lambda r: [r.normal(*shape)], params=params, second=True)
            family.case(f"layer_norm_affine/{title}", "layer_norm", layer_norm,
                        lambda r: [r.normal(*shape), r.normal(*normalized), r.normal(*normalized)],
                        params=params, second=True, note="inputs: x, weight, bias")
            family.case(f"rms_norm_plain/{title}", "rms_norm", rms_norm,
                        lambda r: [r.normal(*shape)], params=params, second=True)
            family.case(f"rms_norm_affine/{title}", "rms_norm", rms_norm,
                        lambda r: [r.normal(*shape), r.normal(*normalized)], params=params, second=True,
                        note="inputs: x, weight")
    family.case("layer_norm_affine/without_bias", "layer_norm", layer_norm,
                lambda r: [r.normal(3, 5), r.normal(5)], params={"normalized_shape": [5], "eps": 1e-5})
    family.case("layer_norm_affine/far_from_zero", "layer_norm", layer_norm,
                lambda r: [r.normal(3, 5) + 1e4, r.normal(5), r.normal(5)],
                params={"normalized_shape": [5], "eps": 1e-5}, note="a mean far larger than the deviation")
    family.case("layer_norm_affine/strided", "layer_norm", layer_norm,
                lambda r: [r.normal(5, 3), r.normal(5), r.normal(5)],
                params={"normalized_shape": [5], "eps": 1e-5},
                views={0: [{"view": "permute", "dims": [1, 0]}]})
    for name, shape, groups in (("planes", (2, 6, 3, 2), 3), ("one_group", (2, 3, 5), 1),
                                ("each_channel", (2, 3, 5), 3), ("no_space", (3, 6), 2)):
        params = {"num_groups": groups, "eps": 1e-5}
        family.case(f"group_norm_plain/{name}", "group_norm", group_norm, lambda r: [r.normal(*shape)],
                    params=params, second=True)
        family.case(f"group_norm_affine/{name}", "group_norm", group_norm,
                    lambda r: [r.normal(*shape), r.normal(shape[1]), r.normal(shape[1])], params=params,
                    second=name == "planes", note="inputs: x, weight, bias")
    batch_norms(family)
    return family


def softmaxes(family):
    for op, fn in (("softmax", torch.softmax), ("log_softmax", torch.log_softmax)):
        for name, shape, dim in (("last", (3, 5), -1), ("first", (5, 3), 0), ("middle", (2, 7, 3), 1),
                                 ("one", (3, 1), 1), ("wide", (2, 67), 1), ("vector", (5,), 0)):
            family.case(f"{op}/{name}", op, fn, lambda r: [r.normal(*shape)], params={"dim": dim}, second=True)
        family.case(f"{op}/extreme", op, fn, lambda r: [values(1000.0, 999.0, -1000.0, 0.0)], params={"dim": 0})
        family.case(f"{op}/masked", op, fn, lambda r: [values(1.0, -INF, 2.0, -INF)], params={"dim": 0}, grad=False)
        family.case(f"{op}/strided", op, fn, lambda r: [r.normal(5, 3, 2)], params={"dim": 1},
                    views={0: [{"view": "permute", "dims": [2, 0, 1]}]}, second=True)


def batch_norms(family):
    for name, shape in (("rows", (5, 3)), ("line", (2, 3, 7)), ("plane", (3, 2, 5, 2)), ("volume", (2, 3, 2, 1, 2)),
                        ("pair", (2, 1))):
        channels = shape[1]
        running = lambda r: [r.normal(channels), r.uniform(0.5, 2.0, channels)]
        affine = lambda r: [r.normal(channels), r.normal(channels)]
        for training in (True, False):
            title = "train" if training else "eval"
            outputs = "outputs: y, new running_mean, new running_var" if training else "output: y"
            params = {"training": training, "momentum": 0.1, "eps": 1e-5}
            family.case(f"batch_norm_{title}/{name}", "batch_norm", batch_norm,
                        lambda r: [r.normal(*shape), *running(r), *affine(r)], params=params,
                        constant=(1, 2), second=name in ("rows", "plane"),
                        note=f"inputs: x, running_mean, running_var, weight, bias; {outputs}")
            family.case(f"batch_norm_{title}_plain/{name}", "batch_norm", batch_norm,
                        lambda r: [r.normal(*shape), *running(r)], params=params, constant=(1, 2),
                        note=f"inputs: x, running_mean, running_var; {outputs}")
    family.case("batch_norm_train/other_momentum", "batch_norm", batch_norm,
                lambda r: [r.normal(5, 3), r.normal(3), r.uniform(0.5, 2.0, 3), r.normal(3), r.normal(3)],
                params={"training": True, "momentum": 0.3, "eps": 1e-3}, constant=(1, 2),
                note="running_var takes the unbiased variance")
