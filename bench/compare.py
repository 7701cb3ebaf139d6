"""Run the benchmark on Gradus and on PyTorch in turn, case by case, and print the ratios.

    cargo build --release -p gradus-bench
    python3 -m venv .venv && .venv/bin/pip install torch numpy
    python3 bench/compare.py --torch .venv/bin/python [--rounds 3] [--seconds 2] [CASE ...]

Each round runs every case once on each peer, one process at a time; the table shows the median over rounds of each
peer's median, and PyTorch's time divided by ours: above 1, Gradus is faster. Nothing else should run meanwhile: the
load before each round is printed. Needs Python's standard library only (and PyTorch for the peer).
"""
import argparse, json, math, os, statistics, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))


def run(command):
    """The JSON lines that a peer prints, by case."""
    out = subprocess.run(command, capture_output=True, text=True)
    lines = [json.loads(l) for l in out.stdout.splitlines() if l.startswith("{")]
    if not lines:
        sys.exit(f"{' '.join(command)} printed no result:\n{out.stderr[-2000:]}")
    return {l["case"]: l for l in lines if "case" in l}


def picture(ratios, path):
    """A bar for each case, on a logarithmic scale, as SVG."""
    left, bar, width, most = 170, 18, 620, max(8.0, *(r for _, r in ratios))
    at = lambda r: left + (width - left - 60) * (math.log2(r) + 1) / (math.log2(most) + 1)
    height = bar * len(ratios) + 40
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>']
    for tick in (0.5, 1, 2, 4, 8):
        x = at(tick)
        out.append(f'<line x1="{x:.1f}" y1="20" x2="{x:.1f}" y2="{height - 16}" stroke="{"black" if tick == 1 else "#ddd"}"/>')
        out.append(f'<text x="{x:.1f}" y="{height - 3}" text-anchor="middle">{tick:g}</text>')
    out.append('<text x="8" y="14">PyTorch\'s time divided by that of Gradus: to the right of 1, Gradus is faster</text>')
    for i, (name, r) in enumerate(ratios):
        y, (a, b) = 24 + i * bar, sorted((at(1), at(max(r, 0.5))))
        out.append(f'<text x="{left - 8}" y="{y + 11}" text-anchor="end">{name}</text>')
        out.append(f'<rect x="{a:.1f}" y="{y}" width="{max(b - a, 1):.1f}" height="{bar - 5}" fill="{"#0072b2" if r >= 1 else "#d55e00"}"/>')
        out.append(f'<text x="{b + 4:.1f}" y="{y + 11}">{r:.2f}</text>')
    with open(path, "w") as f:
        f.write("\n".join(out + ["</svg>", ""]))


def once(a, names, flag, field, unit):
    """A table of what is measured of one process for each case and peer: memory, or the time to the first step."""
    print(f"| case | Gradus {unit} | PyTorch {unit} | Gradus / PyTorch |\n| --- | ---: | ---: | ---: |")
    for name in names:
        found = []
        for command in ([a.bench], [a.torch, os.path.join(HERE, "pytorch.py")]):
            started = ["--started", repr(time.time())] if flag == "--first-step" else []
            found.append(run([*command, flag, *started, name])[name].get(field))
        ours, theirs = found
        ratio = f"{ours / theirs:.2f}" if ours and theirs else ""
        print(f"| {name} | {ours or '-'} | {theirs or '-'} | {ratio} |", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("cases", nargs="*", help="cases to run; all that Gradus lists if none is named")
    p.add_argument("--torch", default=sys.executable, help="a Python that has PyTorch")
    p.add_argument("--bench", default=os.path.join(HERE, "..", "target", "release", "gradus-bench"))
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=2.0, help="per case, peer and round")
    p.add_argument("--memory", action="store_true", help="the most resident memory of a process of each case instead")
    p.add_argument("--first-step", action="store_true", help="the time from the start of a process to its first step instead")
    p.add_argument("--compile", action="store_true", help="PyTorch's models through torch.compile")
    p.add_argument("--svg", help="a file for a picture of the ratios")
    a = p.parse_args()
    names = a.cases or subprocess.run([a.bench, "--list"], capture_output=True, text=True, check=True).stdout.split()
    if a.memory:
        return once(a, names, "--memory", "peak_mib", "MiB")
    if a.first_step:
        return once(a, names, "--first-step", "first_step_ms", "ms")
    compiled = ["--compile"] if a.compile else []
    times = {name: {"gradus": [], "pytorch": []} for name in names}
    percents = {}
    missing = {}
    for round in range(a.rounds):
        print(f"round {round + 1} of {a.rounds}, load {os.getloadavg()[0]:.2f}", file=sys.stderr)
        for name in names:
            for peer, command in (
                ("gradus", [a.bench, "--seconds", str(a.seconds), name]),
                ("pytorch", [a.torch, os.path.join(HERE, "pytorch.py"), *compiled, "--seconds", str(a.seconds), name]),
            ):
                if (peer, name) in missing:
                    continue
                line = run(command)[name]
                if "ms" in line:
                    times[name][peer].append(line["ms"])
                    if "percent" in line:
                        percents[name] = f"{line['percent']:.0f} % of {line['bound']}"
                else:
                    missing[peer, name] = line["unsupported"]
    print("| case | Gradus ms | PyTorch ms | PyTorch / Gradus | Gradus reaches |\n| --- | ---: | ---: | ---: | ---: |")
    ratios = []
    for name, by_peer in times.items():
        ours, theirs = (statistics.median(by_peer[p]) if by_peer[p] else None for p in ("gradus", "pytorch"))
        if ours and theirs:
            ratios.append((name, theirs / ours))
        ratio = f"{theirs / ours:.2f}" if ours and theirs else missing.get(("gradus", name)) or missing.get(("pytorch", name), "")
        show = lambda x: f"{x:.3f}" if x else "-"
        print(f"| {name} | {show(ours)} | {show(theirs)} | {ratio} | {percents.get(name, '')} |")
    if ratios:
        mean = math.exp(sum(math.log(r) for _, r in ratios) / len(ratios))
        print(f"\ngeometric mean over {len(ratios)} cases: {mean:.2f}")
    if a.svg and ratios:
        picture(ratios, a.svg)


if __name__ == "__main__":
    main()
