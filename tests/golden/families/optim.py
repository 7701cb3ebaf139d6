"""Optimizers over fixed gradients, clipping, learning-rate schedules."""

import torch
from torch.optim import SGD, Adam, AdamW, lr_scheduler as schedule

from recorder import NAMES, Family, Rand

STEPS = 5
SHAPES = ((2, 3), (5,))
SGDS = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "dampening": {"momentum": 0.9, "dampening": 0.3},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "weight_decay": {"weight_decay": 0.1},
    "everything": {"momentum": 0.8, "nesterov": True, "weight_decay": 0.05},
}
ADAMS = {
    "plain": {},
    "betas_and_eps": {"betas": [0.7, 0.9], "eps": 1e-3},
    "weight_decay": {"weight_decay": 0.1},
    "amsgrad": {"amsgrad": True},
    "everything": {"betas": [0.8, 0.95], "eps": 1e-6, "weight_decay": 0.2, "amsgrad": True},
}


def record():
    family = Family("optim")
    sgd = {"lr": 0.1, "momentum": 0.0, "dampening": 0.0, "nesterov": False, "weight_decay": 0.0}
    adam = {"lr": 0.05, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False}
    for dtype in (torch.float64, torch.float32):
        for name, changes in SGDS.items():
            steps(family, f"sgd/{name}", "sgd", SGD, {**sgd, **changes}, dtype)
        for op, kind in (("adam", Adam), ("adamw", AdamW)):
            for name, changes in ADAMS.items():
                steps(family, f"{op}/{name}", op, kind, {**adam, **changes}, dtype)
    clipping(family)
    schedules(family)
    return family


def steps(family, name, op, kind, params, dtype):
    name = f"{name}_{NAMES[dtype]}"
    rand = Rand(f"optim/{name}")
    parameters = [torch.nn.Parameter(rand.normal(*s, dtype=dtype)) for s in SHAPES]
    for i, p in enumerate(parameters):
        family.keep(f"{name}.input.{i}", p)
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in params.items()}
    optimizer = kind(parameters, **options, foreach=False)
    for step in range(STEPS):
        for i, p in enumerate(parameters):
            # the third step's gradient is much smaller, so that amsgrad's maximum matters
            p.grad = rand.normal(*p.shape, dtype=dtype) * (0.01 if step >= 2 else 1.0)
            family.keep(f"{name}.step_grad.{step}.{i}", p.grad)
        optimizer.step()
        for i, p in enumerate(parameters):
            family.keep(f"{name}.step.{step}.{i}", p)
    family.add({"case": name, "op": op, "params": params, "inputs": len(SHAPES), "outputs": 0,
                "grads": [False] * len(SHAPES), "second_order": False, "steps": STEPS})


def clipping(family):
    def by_norm(*grads, max_norm, norm_type):
        parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in grads]
        for p, g in zip(parameters, grads):
            p.grad = g.detach().clone()
        total = torch.nn.utils.clip_grad_norm_(parameters, max_norm, float(norm_type))
        return total, *[p.grad for p in parameters]

    for name, limit, kind in (("clipped", 1.0, 2.0), ("within", 100.0, 2.0), ("l1", 1.0, 1.0), ("largest", 0.5, "inf"),
                              ("l3", 0.5, 3.0)):
        family.case(f"clip_grad_norm/{name}", "clip_grad_norm", by_norm,
                    lambda r: [r.normal(2, 3), r.normal(5), r.normal()],
                    params={"max_norm": limit, "norm_type": kind}, grad=False,
                    note="outputs: total norm before clipping, then the clipped gradients")
    family.case("clip_grad_norm/zero", "clip_grad_norm", by_norm, lambda r: [torch.zeros(3, dtype=torch.float64)],
                params={"max_norm": 1.0, "norm_type": 2.0}, grad=False)
    family.case("clip_grad_value/clipped", "clip_grad_value",
                lambda *grads, clip_value: [g.clamp(-clip_value, clip_value) for g in grads],
                lambda r: [r.normal(2, 3), r.normal(5)], params={"clip_value": 0.5}, grad=False)


def schedules(family):
    cycle = {"max_lr": 0.5, "total_steps": 30, "pct_start": 0.3, "anneal_strategy": "cos", "div_factor": 25.0,
             "final_div_factor": 1e4, "three_phase": False, "base_momentum": 0.85, "max_momentum": 0.95}
    for name, changes in (("cosine", {}), ("linear", {"anneal_strategy": "linear"}), ("three_phase", {"three_phase": True}),
                          ("other", {"pct_start": 0.1, "div_factor": 10.0, "final_div_factor": 100.0})):
        params = {**cycle, **changes}
        rates(family, f"one_cycle_lr/{name}", "one_cycle_lr", params, 0.1, lambda o: schedule.OneCycleLR(o, **params))
    simple = {
        "cosine_annealing_lr/whole": (schedule.CosineAnnealingLR, {"T_max": 30, "eta_min": 0.0}),
        "cosine_annealing_lr/floor": (schedule.CosineAnnealingLR, {"T_max": 29, "eta_min": 0.01}),
        "cosine_annealing_lr/up_again": (schedule.CosineAnnealingLR, {"T_max": 10, "eta_min": 0.001}),
        "linear_lr/warm_up": (schedule.LinearLR, {"start_factor": 0.1, "end_factor": 1.0, "total_iters": 5}),
        "linear_lr/down": (schedule.LinearLR, {"start_factor": 1.0, "end_factor": 0.2, "total_iters": 25}),
        "constant_lr/plain": (schedule.ConstantLR, {"factor": 0.25, "total_iters": 7}),
        "step_lr/plain": (schedule.StepLR, {"step_size": 7, "gamma": 0.1}),
        "multi_step_lr/plain": (schedule.MultiStepLR, {"milestones": [5, 11, 23], "gamma": 0.5}),
        "exponential_lr/plain": (schedule.ExponentialLR, {"gamma": 0.9}),
        "polynomial_lr/plain": (schedule.PolynomialLR, {"total_iters": 20, "power": 2.0}),
        "cosine_annealing_warm_restarts/plain": (schedule.CosineAnnealingWarmRestarts,
                                                 {"T_0": 5, "T_mult": 2, "eta_min": 0.001}),
    }
    for name, (kind, params) in simple.items():
        rates(family, name, name.split("/")[0], {"lr": 0.1, **params}, 0.1, lambda o: kind(o, **params))
    params = {"lr": 0.1, "warm_up_steps": 5, "start_factor": 0.1, "T_max": 25, "eta_min": 0.001}
    rates(family, "warm_up_then_cosine/plain", "warm_up_then_cosine", params, 0.1, lambda o: schedule.SequentialLR(o, [
        schedule.LinearLR(o, params["start_factor"], 1.0, params["warm_up_steps"]),
        schedule.CosineAnnealingLR(o, params["T_max"], params["eta_min"])], [params["warm_up_steps"]]))


def rates(family, name, op, params, lr, make):
    """The learning rate of each of 30 steps, the first before the scheduler ever stepped."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
    scheduler = make(optimizer)
    rates, momenta = [], []
    for step in range(30):
        rates.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        if step < 29:
            scheduler.step()
    family.keep(f"{name}.output.0", torch.tensor(rates, dtype=torch.float64))
    note = "output: the learning rate of each of 30 steps"
    if op == "one_cycle_lr":
        family.keep(f"{name}.output.1", torch.tensor(momenta, dtype=torch.float64))
        note += "; the momentum likewise"
    family.add({"case": name, "op": op, "params": params, "inputs": 0,
                "outputs": 2 if op == "one_cycle_lr" else 1, "grads": [], "second_order": False}, note)
