"""Mixed precision: models under autocast, and a gradient scaler's sequence of scales."""

import torch
import torch.nn.functional as F

from families.model import BLOCK, CNN, Block, Cnn
from recorder import Family, Rand

# Which steps have an infinite gradient.
FOUND_INF = [0, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0]
SCALER = {"init_scale": 1024.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 3, "lr": 0.25}


def record():
    family = Family("amp")
    rand = Rand("amp/cnn")
    autocast(family, "cnn_bf16", "cnn", CNN, Cnn(), rand, rand.normal(4, 1, 8, 8), rand.integers(0, 5, 4),
             F.cross_entropy)
    rand = Rand("amp/block")
    autocast(family, "transformer_block_bf16", "transformer_block", BLOCK, Block(), rand, rand.normal(2, 5, 8),
             rand.normal(2, 5, 8), F.mse_loss)
    scaler(family)
    return family


def autocast(family, name, op, params, model, rand, x, target, criterion):
    model = model.float().train()
    x = x.float()
    target = target.float() if target.is_floating_point() else target
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(rand.normal(*p.shape) * 0.3 + (1.0 if p.dim() == 1 else 0.0))
    family.keep_state(name, "state", model.state_dict())
    family.keep(f"{name}.input.0", x)
    family.keep(f"{name}.input.1", target)
    exact = model(x)
    criterion(exact, target).backward()
    family.keep(f"{name}.exact_output.0", exact)
    family.keep_state(name, "exact_grad", {k: p.grad for k, p in model.named_parameters()})
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        output = model(x)
    loss = criterion(output.float(), target)
    loss.backward()
    family.keep(f"{name}.output.0", output)
    family.keep(f"{name}.loss", loss)
    family.keep_state(name, "state_grad", {k: p.grad for k, p in model.named_parameters()})
    family.add({"case": name, "op": op, "params": params, "inputs": 2, "outputs": 1, "grads": [False, False],
                "second_order": False, "state": list(model.state_dict())},
               "inputs: x, target; forward under autocast to bf16, the loss in f32 outside of it; exact: without autocast")


def scaler(family):
    name = "grad_scaler"
    made = torch.amp.GradScaler("cpu", **{k: v for k, v in SCALER.items() if k != "lr"})
    p = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = torch.optim.SGD([p], SCALER["lr"])
    scales, trackers, values = [], [], []
    for inf in FOUND_INF:
        optimizer.zero_grad()
        loss = (p * (float("inf") if inf else 0.5)).sum()
        made.scale(loss).backward()
        made.unscale_(optimizer)
        made.step(optimizer)
        made.update()
        scales.append(made.get_scale())
        trackers.append(made.state_dict()["_growth_tracker"])
        values.append(p.detach().clone())
    family.keep(f"{name}.input.0", torch.tensor([1.0, 2.0]))
    family.keep(f"{name}.input.1", torch.tensor(FOUND_INF))
    family.keep(f"{name}.output.0", torch.tensor(scales, dtype=torch.float64))
    family.keep(f"{name}.output.1", torch.tensor(trackers))
    family.keep(f"{name}.output.2", torch.stack(values))
    family.add({"case": name, "op": "grad_scaler", "params": SCALER, "inputs": 2, "outputs": 3,
                "grads": [False, False], "second_order": False, "steps": len(FOUND_INF)},
               "inputs: the parameter, and whether the loss is sum(p * inf) instead of sum(p * 0.5); outputs: "
               "scale, growth tracker and parameter after each step")
