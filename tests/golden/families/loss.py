"""Losses."""

import torch
import torch.nn.functional as F

from recorder import Family, values

REDUCTIONS = ("mean", "sum", "none")


def cross_entropy(x, target, *weight, reduction, ignore_index=-100, label_smoothing=0.0):
    return F.cross_entropy(x, target, *weight, reduction=reduction, ignore_index=ignore_index,
                           label_smoothing=label_smoothing)


def nll_loss(x, target, *weight, reduction, ignore_index=-100):
    return F.nll_loss(x, target, *weight, reduction=reduction, ignore_index=ignore_index)


def bce_with_logits(x, target, *pos_weight, reduction):
    return F.binary_cross_entropy_with_logits(x, target, reduction=reduction,
                                              pos_weight=pos_weight[0] if pos_weight else None)


def labels(r, shape, classes, ignored):
    """Random classes, and `ignored` (when not None) at two of the places."""
    target = r.integers(0, classes, *shape)
    if ignored is not None:
        flat = target.view(-1)
        flat[0] = flat[-2] = ignored
    return target


def record():
    family = Family("loss")
    classification(family)
    regression(family)
    return family


def classification(family):
    shapes = {"rows": (7, 5), "line": (2, 3, 5), "plane": (2, 5, 2, 3)}
    for reduction in REDUCTIONS:
        for name, shape in shapes.items():
            classes, where = shape[1], (shape[0], *shape[2:])
            for title, weighted, ignored, smoothing in (("plain", False, None, 0.0), ("weighted", True, None, 0.0),
                                                        ("ignoring", False, -100, 0.0), ("smoothed", False, None, 0.1),
                                                        ("everything", True, 1, 0.2)):
                inputs = lambda r: [r.normal(*shape), labels(r, where, classes, ignored)] + (
                    [r.uniform(0.3, 2.0, classes)] if weighted else [])
                ignore_index = -100 if ignored is None else ignored
                params = {"reduction": reduction, "ignore_index": ignore_index, "label_smoothing": smoothing}
                note = "inputs: logits [N, C, ...], target [N, ...], class weights [C] if a third"
                family.case(f"cross_entropy_{title}_{reduction}/{name}", "cross_entropy", cross_entropy, inputs,
                            params=params, constant=(2,), second=name == "rows" and reduction == "mean", note=note)
                if smoothing == 0.0:
                    family.case(f"nll_loss_{title}_{reduction}/{name}", "nll_loss", nll_loss, inputs,
                                params={"reduction": reduction, "ignore_index": ignore_index}, constant=(2,),
                                note=note)
        family.case(f"cross_entropy_extreme_{reduction}/rows", "cross_entropy", cross_entropy,
                    lambda r: [torch.tensor([[1000.0, 0.0, -1000.0], [0.0, 1e5, 1e5], [-50.0, 50.0, 0.0]]).double(),
                               torch.tensor([0, 0, 2])],
                    params={"reduction": reduction, "ignore_index": -100, "label_smoothing": 0.0})
        family.case(f"cross_entropy_probabilities_{reduction}/rows", "cross_entropy_probabilities",
                    lambda x, p, reduction, label_smoothing: F.cross_entropy(
                        x, p, reduction=reduction, label_smoothing=label_smoothing),
                    lambda r: [r.normal(5, 3), torch.softmax(r.normal(5, 3), 1)],
                    params={"reduction": reduction, "label_smoothing": 0.1},
                    note="the target is a distribution over classes")
    family.case("cross_entropy_all_ignored_mean/rows", "cross_entropy", cross_entropy,
                lambda r: [r.normal(3, 5), torch.full((3,), -100)], grad=False,
                params={"reduction": "mean", "ignore_index": -100, "label_smoothing": 0.0},
                note="the mean of nothing is NaN")
    family.case("cross_entropy_one_sample/vector", "cross_entropy", cross_entropy,
                lambda r: [r.normal(5), torch.tensor(3)],
                params={"reduction": "mean", "ignore_index": -100, "label_smoothing": 0.0},
                note="no batch dimension")


def regression(family):
    pair = lambda r: [r.normal(3, 5) * 2, r.normal(3, 5)]
    kinks = lambda r: [values(1.0, 2.0, 0.0, -1.5, 5.0), values(1.0, 1.0, 1.0, 0.0, 1.0)]
    for reduction in REDUCTIONS:
        for op, fn in (("mse_loss", F.mse_loss), ("l1_loss", F.l1_loss)):
            family.case(f"{op}_{reduction}/plain", op, fn, pair, params={"reduction": reduction}, second=True)
            family.case(f"{op}_{reduction}/kink", op, fn, kinks, params={"reduction": reduction})
        for op, fn, name in (("smooth_l1_loss", F.smooth_l1_loss, "beta"), ("huber_loss", F.huber_loss, "delta")):
            for width in (1.0, 0.5):
                params = {"reduction": reduction, name: width}
                family.case(f"{op}_{width}_{reduction}/plain", op, fn, pair, params=params, second=True)
                family.case(f"{op}_{width}_{reduction}/kink", op, fn, kinks, params=params)
        op = "binary_cross_entropy_with_logits"
        chances = lambda r: [r.normal(3, 5) * 2, r.uniform(0.0, 1.0, 3, 5)]
        family.case(f"{op}_{reduction}/plain", op, bce_with_logits, chances, params={"reduction": reduction},
                    second=True)
        family.case(f"{op}_{reduction}/pos_weight", op, bce_with_logits,
                    lambda r: chances(r) + [r.uniform(0.5, 3.0, 5)], params={"reduction": reduction},
                    constant=(2,), note="inputs: logits, target, pos_weight")
        family.case(f"{op}_{reduction}/extreme", op, bce_with_logits,
                    lambda r: [values(1000.0, -1000.0, 1000.0, -1000.0, 0.0), values(1.0, 1.0, 0.0, 0.0, 0.5)],
                    params={"reduction": reduction})
        family.case(f"binary_cross_entropy_{reduction}/plain", "binary_cross_entropy", F.binary_cross_entropy,
                    lambda r: [r.uniform(0.05, 0.95, 3, 5), r.uniform(0.0, 1.0, 3, 5)],
                    params={"reduction": reduction})
    for reduction in (*REDUCTIONS, "batchmean"):
        for log_target in (False, True):
            title = f"kl_div_{'log_target_' if log_target else ''}{reduction}"
            target = torch.log_softmax if log_target else torch.softmax
            family.case(f"{title}/plain", "kl_div", F.kl_div,
                        lambda r: [torch.log_softmax(r.normal(3, 5), 1), target(r.normal(3, 5), 1)],
                        params={"reduction": reduction, "log_target": log_target},
                        note="inputs: log-probabilities, target")
    family.case("kl_div_mean/zero_target", "kl_div", F.kl_div,
                lambda r: [values(-1.0, -2.0, -3.0), values(0.0, 0.25, 0.75)], constant=(1,),
                params={"reduction": "mean", "log_target": False}, note="0 log 0 is 0")
