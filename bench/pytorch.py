"""Time the benchmark suite's cases on PyTorch (CPU).

    python3 -m venv .venv && .venv/bin/pip install torch numpy
    .venv/bin/python pytorch.py [--seconds 3] [--compile] [CASE ...]

Prints one JSON object a line: {"peer", "case", "ms" (median), "min_ms", "n"}.
A training step is forward + loss + backward + optimizer update, in float32
unless the case's name says otherwise. Absolute times mean nothing across
machines: run a peer and this project in turn on the same machine and compare
the ratio.
"""
import argparse, json, statistics, sys, time
STARTED = next((float(b) for a, b in zip(sys.argv, sys.argv[1:]) if a == "--started"), time.time())
BEGUN = time.time()
import torch, torch.nn as nn, torch.nn.functional as F

torch.manual_seed(0)


def measure(step, seconds, warmup=3):
    for _ in range(warmup):
        step()
    times, start = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < seconds:
        t = time.perf_counter()
        step()
        times.append((time.perf_counter() - t) * 1e3)
        if len(times) >= 2000:
            break
    return times


def resident_mib():
    """The most memory that this process has had resident."""
    with open("/proc/self/status") as status:
        return next(int(l.split()[1]) / 1024 for l in status if l.startswith("VmHWM:"))


def memory(make, steps=6):
    """The most resident memory after some steps, and what the import alone takes."""
    before = resident_mib()
    step = make()
    for _ in range(steps):
        step()
    return {"peak_mib": round(resident_mib(), 1), "before_mib": round(before, 1)}


def first_step(make):
    """The time from the start of the process to the end of the first step, and its parts."""
    imported = time.time()
    step = make()
    made = time.time()
    step()
    done = time.time()
    step()
    ms = lambda a, b: round((b - a) * 1e3, 3)
    parts = {"process": ms(STARTED, BEGUN), "import": ms(BEGUN, imported), "setup": ms(imported, made), "step": ms(made, done)}
    return {"first_step_ms": ms(STARTED, done), "parts": parts, "second_step_ms": ms(done, time.time())}


# ---------------------------------------------------------------- models

def mlp():
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10))


class BasicBlock(nn.Module):
    def __init__(self, i, o, s):
        super().__init__()
        self.c1 = nn.Conv2d(i, o, 3, s, 1, bias=False); self.b1 = nn.BatchNorm2d(o)
        self.c2 = nn.Conv2d(o, o, 3, 1, 1, bias=False); self.b2 = nn.BatchNorm2d(o)
        self.down = nn.Sequential() if s == 1 and i == o else nn.Sequential(
            nn.Conv2d(i, o, 1, s, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        y = F.relu(self.b1(self.c1(x)))
        return F.relu(self.b2(self.c2(y)) + self.down(x))


def resnet18():
    layers, i = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()], 64
    for o, s in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [BasicBlock(i, o, s), BasicBlock(o, o, 1)]
        i = o
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


class InvertedResidual(nn.Module):
    def __init__(self, i, o, s, t):
        super().__init__()
        h, layers = i * t, []
        if t != 1:
            layers += [nn.Conv2d(i, h, 1, bias=False), nn.BatchNorm2d(h), nn.ReLU6()]
        layers += [nn.Conv2d(h, h, 3, s, 1, groups=h, bias=False), nn.BatchNorm2d(h), nn.ReLU6(),
                   nn.Conv2d(h, o, 1, bias=False), nn.BatchNorm2d(o)]
        self.net, self.skip = nn.Sequential(*layers), s == 1 and i == o

    def forward(self, x):
        return x + self.net(x) if self.skip else self.net(x)


def mobilenetv2():
    layers, i = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()], 32
    for t, c, n, s in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for k in range(n):
            layers.append(InvertedResidual(i, c, s if k == 0 else 1, t))
            i = c
    layers += [nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 10))


class Block(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.h = h
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.n1(x)).view(b, t, 3, self.h, d // self.h).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(a.transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.gelu(self.up(self.n2(x))))


class GPT(nn.Module):
    def __init__(self, vocab=256, ctx=128, d=256, h=8, n=4):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, d), nn.Embedding(ctx, d)
        self.blocks = nn.Sequential(*[Block(d, h) for _ in range(n)])
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, vocab, bias=False)

    def forward(self, ids):
        x = self.tok(ids) + self.pos(torch.arange(ids.shape[1]))
        return self.head(self.norm(self.blocks(x)))


class LSTMNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(64, 256, batch_first=True), nn.Linear(256, 10)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


# ---------------------------------------------------------------- cases

WRAP = lambda model: model  # torch.compile under --compile


def train_step(model, x, y, optimizer, autocast=None):
    model = WRAP(model.train())
    def step():
        optimizer.zero_grad(set_to_none=True)
        if autocast:
            with torch.autocast("cpu", autocast):
                out = model(x)
        else:
            out = model(x)
        F.cross_entropy(out.float().flatten(0, -2), y.flatten()).backward()
        optimizer.step()
    return step


def image_case(build, batch, shape, autocast=None, optim=None):
    def make():
        m = build()
        x, y = torch.randn(batch, *shape), torch.randint(10, (batch,))
        return train_step(m, x, y, (optim or (lambda p: torch.optim.SGD(p, 0.01, momentum=0.9)))(m.parameters()), autocast)
    return make


def gpt_case(autocast=None):
    def make():
        m = GPT()
        x, y = torch.randint(256, (16, 128)), torch.randint(256, (16, 128))
        return train_step(m, x, y, torch.optim.AdamW(m.parameters(), 3e-4), autocast)
    return make


def infer_case(build, make_x, autocast=None):
    def make():
        m, x = WRAP(build().eval()), make_x()
        def step():
            with torch.inference_mode():
                if autocast:
                    with torch.autocast("cpu", autocast):
                        m(x)
                else:
                    m(x)
        return step
    return make


def tensor_case(f, *shapes, dtype=torch.float32):
    def make():
        xs = [torch.randn(*s).to(dtype) for s in shapes]
        return lambda: f(*xs)
    return make


def op_overhead(tracked=True):
    a, b = torch.randn(8, requires_grad=tracked), torch.randn(8)
    def step():
        x = a
        for _ in range(1000):
            x = x + b
    return step


def conv_fwdbwd():
    conv = nn.Conv2d(64, 64, 3, padding=1)
    x, g = torch.randn(32, 64, 32, 32, requires_grad=True), torch.randn(32, 64, 32, 32)
    def step():
        conv.zero_grad(); x.grad = None
        conv(x).backward(g)
    return step


def lstm():
    m = LSTMNet()
    x, y = torch.randn(32, 64, 64), torch.randint(10, (32,))
    return train_step(m, x, y, torch.optim.Adam(m.parameters(), 1e-3))


def int8_linear():
    m = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(1024, 1024)), {nn.Linear}, dtype=torch.qint8)
    x = torch.randn(128, 1024)
    def step():
        with torch.inference_mode():
            m(x)
    return step


BF16 = torch.bfloat16
CASES = {
    "matmul_1024": tensor_case(torch.matmul, (1024, 1024), (1024, 1024)),
    "matmul_2048": tensor_case(torch.matmul, (2048, 2048), (2048, 2048)),
    "matmul_bf16_2048": tensor_case(torch.matmul, (2048, 2048), (2048, 2048), dtype=BF16),
    "add_16m": tensor_case(torch.add, (1 << 24,), (1 << 24,)),
    "gelu_16m": tensor_case(F.gelu, (1 << 24,)),
    "softmax_4096": tensor_case(lambda x: torch.softmax(x, -1), (4096, 4096)),
    "layernorm_4096": tensor_case(lambda x: F.layer_norm(x, (4096,)), (4096, 4096)),
    "sum_axis0_4096": tensor_case(lambda x: x.sum(0), (4096, 4096)),
    "permute_copy_4096": tensor_case(lambda x: x.t().contiguous(), (4096, 4096)),
    "op_overhead": op_overhead,
    "op_overhead_untracked": lambda: op_overhead(False),
    "conv_3x3_fwdbwd": conv_fwdbwd,
    "mlp_train": image_case(mlp, 128, (784,), optim=lambda p: torch.optim.Adam(p, 1e-3)),
    "cnn_train": image_case(cnn, 128, (1, 28, 28)),
    "resnet18_train": image_case(resnet18, 32, (3, 32, 32)),
    "mobilenetv2_train": image_case(mobilenetv2, 16, (3, 64, 64)),
    "gpt_train": gpt_case(),
    "lstm_train": lstm,
    "resnet18_train_bf16": image_case(resnet18, 32, (3, 32, 32), autocast=BF16),
    "gpt_train_bf16": gpt_case(autocast=BF16),
    "resnet18_infer": infer_case(resnet18, lambda: torch.randn(32, 3, 32, 32)),
    "mobilenetv2_infer": infer_case(mobilenetv2, lambda: torch.randn(16, 3, 64, 64)),
    "gpt_infer": infer_case(GPT, lambda: torch.randint(256, (16, 128))),
    "gpt_infer_bf16": infer_case(GPT, lambda: torch.randint(256, (16, 128)), autocast=BF16),
    "int8_linear_1024": int8_linear,
}

if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("cases", nargs="*")
    p.add_argument("--seconds", type=float, default=3.0)
    p.add_argument("--compile", action="store_true", help="wrap models in torch.compile")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--memory", action="store_true", help="the most resident memory of some steps of one case")
    p.add_argument("--first-step", action="store_true", help="the time from the start of the process to the end of the first step of one case")
    p.add_argument("--started", type=float, help="when the process was started, in seconds of Unix time")
    a = p.parse_args()
    if (a.memory or a.first_step) and len(a.cases) != 1:
        p.error("a process measures this of one case; name one")
    if a.threads:
        torch.set_num_threads(a.threads)
    if a.compile:
        WRAP = torch.compile
    peer = f"pytorch-{torch.__version__.split('+')[0]}" + ("-compile" if a.compile else "")
    for name in a.cases or CASES:
        try:
            if a.memory or a.first_step:
                found = memory(CASES[name]) if a.memory else first_step(CASES[name])
                print(json.dumps({"peer": peer, "case": name} | found), flush=True)
                continue
            t = measure(CASES[name](), a.seconds)
            print(json.dumps({"peer": peer, "case": name, "ms": round(statistics.median(t), 4), "min_ms": round(min(t), 4), "n": len(t)}), flush=True)
        except Exception as e:  # a peer that lacks a case says so
            print(json.dumps({"peer": peer, "case": name, "unsupported": f"{type(e).__name__}: {e}"[:200]}), flush=True)
