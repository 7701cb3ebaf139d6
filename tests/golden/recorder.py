"""Runs one PyTorch op per case and keeps what went in, what came out, and the gradients.

A case draws its numbers from a generator seeded by its own name, so adding, removing or reordering
cases never changes the others. README.md describes the files this makes.
"""

import json
import zlib
from pathlib import Path

import torch
from safetensors.torch import save_file

DTYPES = {
    "f64": torch.float64,
    "f32": torch.float32,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "i64": torch.int64,
    "i32": torch.int32,
    "u8": torch.uint8,
    "i8": torch.int8,
    "bool": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Rand:
    """Random tensors, a pure function of a case's name."""

    def __init__(self, name):
        self.generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))

    def normal(self, *shape, dtype=torch.float64):
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(dtype)

    def uniform(self, low, high, *shape, dtype=torch.float64):
        unit = torch.rand(shape, generator=self.generator, dtype=torch.float64)
        return (low + (high - low) * unit).to(dtype)

    def integers(self, low, high, *shape, dtype=torch.int64):
        """Integers in low..high, the end excluded."""
        return torch.randint(low, high, shape, generator=self.generator).to(dtype)

    def bools(self, *shape):
        return torch.rand(shape, generator=self.generator) < 0.5

    def permutation(self, n):
        return torch.randperm(n, generator=self.generator)


def values(*numbers, dtype=torch.float64):
    """A 1-d tensor of the given numbers."""
    return torch.tensor(numbers, dtype=dtype)


def apply_views(tensor, views):
    """Reads `tensor` through a chain of views, as written in a case's `views`."""
    for view in views:
        match view["view"]:
            case "permute":
                tensor = tensor.permute(view["dims"])
            case "narrow":
                tensor = tensor.narrow(view["dim"], view["start"], view["length"])
            case "step":
                slices = [slice(None)] * tensor.dim()
                slices[view["dim"]] = slice(None, None, view["step"])
                tensor = tensor[tuple(slices)]
            case "flip":
                tensor = tensor.flip(view["dims"])
            case "expand":
                tensor = tensor.expand(view["shape"])
            case other:
                raise ValueError(f"unknown view {other}")
    return tensor


class Family:
    """The cases of one file."""

    def __init__(self, name):
        self.name = name
        self.tensors = {}
        self.cases = []

    def case(self, name, op, fn, make_inputs, *, params=None, views=None, grad=True, constant=(),
             second=False, note=None):
        """Records `fn(*inputs, **params)`.

        grad: whether to record gradients; constant: inputs that get none; second: whether to record
        the second-order check; views: {input index: chain of views the op reads that input through}.
        """
        params = params or {}
        views = views or {}
        rand = Rand(f"{self.name}/{name}")
        inputs = make_inputs(rand)
        wanted = [grad and x.is_floating_point() and i not in constant for i, x in enumerate(inputs)]
        leaves = [x.detach().clone().requires_grad_(w) for x, w in zip(inputs, wanted)]
        outputs = fn(*[apply_views(x, views.get(i, [])) for i, x in enumerate(leaves)], **params)
        outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]

        if not any(y.requires_grad for y in outputs):
            wanted = [False] * len(inputs)
        self._keep(name, "input", inputs)
        self._keep(name, "output", outputs)
        if any(wanted):
            differentiable = [leaf for leaf, w in zip(leaves, wanted) if w]
            loss = self.loss(name, rand, outputs)
            grads = torch.autograd.grad(loss, differentiable, create_graph=second,
                                        allow_unused=True, materialize_grads=True)
            indices = [i for i, w in enumerate(wanted) if w]
            self._keep(name, "grad", grads, indices)
            if second:
                self._keep(name, "second", self._second(grads, differentiable), indices)
        entry = {
            "case": name, "op": op, "params": params, "inputs": len(inputs),
            "outputs": len(outputs), "grads": wanted, "second_order": bool(second and any(wanted)),
        }
        if views:
            entry["views"] = {str(i): chain for i, chain in views.items()}
        self.add(entry, note)

    def module(self, name, op, module, make_inputs, call, *, params, note=None):
        """Records a module's forward and the gradients of its inputs and parameters."""
        rand = Rand(f"{self.name}/{name}")
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(rand.normal(*parameter.shape) * 0.4)
        inputs = make_inputs(rand)
        wanted = [x.is_floating_point() for x in inputs]
        leaves = [x.detach().clone().requires_grad_(w) for x, w in zip(inputs, wanted)]
        self.keep_state(name, "state", module.state_dict())
        outputs = call(module, *leaves)
        outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
        self._keep(name, "input", inputs)
        self._keep(name, "output", outputs)
        self.loss(name, rand, outputs).backward()
        indices = [i for i, w in enumerate(wanted) if w]
        self._keep(name, "grad", [leaves[i].grad for i in indices], indices)
        self.keep_state(name, "state_grad", {k: p.grad for k, p in module.named_parameters()})
        self.add({
            "case": name, "op": op, "params": params, "inputs": len(inputs),
            "outputs": len(outputs), "grads": wanted, "second_order": False,
            "state": list(module.state_dict()),
        }, note)

    def loss(self, name, rand, outputs):
        """The sum of every differentiable output times a fixed random cotangent, which is kept."""
        total = 0
        for i, y in enumerate(outputs):
            if y.requires_grad:
                cotangent = rand.normal(*y.shape, dtype=y.dtype)
                self.keep(f"{name}.cotangent.{i}", cotangent)
                total = total + (y * cotangent).sum()
        return total

    def keep(self, key, tensor):
        if key in self.tensors:
            raise ValueError(f"{self.name}: {key} is recorded twice")
        self.tensors[key] = tensor.detach().clone().contiguous()

    def keep_state(self, name, kind, tensors):
        for key, tensor in tensors.items():
            self.keep(f"{name}.{kind}.{key}", tensor)

    def add(self, entry, note=None):
        if any(c["case"] == entry["case"] for c in self.cases):
            raise ValueError(f"{self.name}: case {entry['case']} is recorded twice")
        if note:
            entry["note"] = note
        self.cases.append(entry)

    def write(self, folder: Path):
        save_file(self.tensors, folder / f"{self.name}.safetensors", {"torch": torch.__version__})
        header = json.dumps({"family": self.name, "torch": torch.__version__})[:-1]
        lines = ",\n".join("  " + json.dumps(c, allow_nan=False) for c in self.cases)
        (folder / f"{self.name}.json").write_text(f'{header}, "cases": [\n{lines}\n]}}\n')

    def _keep(self, name, kind, tensors, indices=None):
        for i, tensor in zip(indices or range(len(tensors)), tensors):
            self.keep(f"{name}.{kind}.{i}", tensor)

    @staticmethod
    def _second(grads, leaves):
        """The gradient of the sum of the squares of all gradients."""
        squares = sum(g.pow(2).sum() for g in grads)
        if not squares.requires_grad:
            return [torch.zeros_like(leaf) for leaf in leaves]
        return torch.autograd.grad(squares, leaves, allow_unused=True, materialize_grads=True)
