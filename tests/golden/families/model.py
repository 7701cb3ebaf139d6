"""Whole models: state dict, output, gradients, and three training steps."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim import SGD, AdamW

from recorder import NAMES, Family, Rand

STEPS = 3
CNN = {"layers": "conv1 = Conv2d(1, 4, 3, padding=1); bn1 = BatchNorm2d(4); relu; MaxPool2d(2); "
                 "conv2 = Conv2d(4, 6, 3, stride=2, padding=1, bias=False); bn2 = BatchNorm2d(6); relu; "
                 "flatten; fc = Linear(24, 5)",
       "loss": "cross_entropy mean", "optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
BLOCK = {"layers": "x + self_attn(norm1(x)), causal; x + linear2(gelu(linear1(norm2(x)))); no dropout",
         "embed_dim": 8, "num_heads": 2, "feed_forward": 12, "eps": 1e-5,
         "loss": "mse_loss mean", "optimizer": "adamw", "lr": 0.01, "betas": [0.9, 0.999], "adam_eps": 1e-8,
         "weight_decay": 0.1}


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.fc = nn.Linear(24, 5)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.relu(self.bn2(self.conv2(x)))
        return self.fc(x.flatten(1))


class Block(nn.Module):
    """A pre-norm transformer block with nn.TransformerEncoderLayer's parameter names."""

    def __init__(self):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(8, 2, batch_first=True)
        self.linear1 = nn.Linear(8, 12)
        self.linear2 = nn.Linear(12, 8)
        self.norm1 = nn.LayerNorm(8)
        self.norm2 = nn.LayerNorm(8)

    def forward(self, x):
        hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        y = self.norm1(x)
        x = x + self.self_attn(y, y, y, attn_mask=hidden, need_weights=False)[0]
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x))))


def record():
    family = Family("model")
    for dtype in (torch.float64, torch.float32):
        rand = Rand("model/cnn")
        train(family, f"cnn_{NAMES[dtype]}", "cnn", CNN, Cnn(), rand, dtype, rand.normal(4, 1, 8, 8),
              rand.integers(0, 5, 4), F.cross_entropy,
              lambda p: SGD(p, CNN["lr"], CNN["momentum"], weight_decay=CNN["weight_decay"]))
    rand = Rand("model/block")
    train(family, "transformer_block_f64", "transformer_block", BLOCK, Block(), rand, torch.float64,
          rand.normal(2, 5, 8), rand.normal(2, 5, 8), F.mse_loss,
          lambda p: AdamW(p, BLOCK["lr"], tuple(BLOCK["betas"]), BLOCK["adam_eps"], BLOCK["weight_decay"]))
    return family


def train(family, name, op, params, model, rand, dtype, x, target, criterion, optimizer):
    model = model.to(dtype).train()
    x = x.to(dtype)
    target = target.to(dtype) if target.is_floating_point() else target
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(rand.normal(*p.shape) * 0.3 + (1.0 if p.dim() == 1 else 0.0))
    family.keep_state(name, "state", model.state_dict())
    family.keep(f"{name}.input.0", x)
    family.keep(f"{name}.input.1", target)
    optimizer = optimizer(model.parameters())
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        leaf = x.clone().requires_grad_(True)
        output = model(leaf)
        loss = criterion(output, target)
        loss.backward()
        if step == 0:
            family.keep(f"{name}.output.0", output)
            family.keep(f"{name}.grad.0", leaf.grad)
            family.keep_state(name, "state_grad", {k: p.grad for k, p in model.named_parameters()})
        losses.append(loss.detach())
        optimizer.step()
    family.keep(f"{name}.losses", torch.stack(losses))
    family.keep_state(name, "final", model.state_dict())
    with torch.no_grad():
        family.keep(f"{name}.eval_output", model.eval()(x))
    family.add({"case": name, "op": op, "params": params, "inputs": 2, "outputs": 1, "grads": [True, False],
                "second_order": False, "state": list(model.state_dict()), "steps": STEPS},
               "inputs: x, target; gradients are of the loss itself, at the first step")
