"""Run the benchmark on Gradus and on PyTorch in turn, case by case, and print the ratios.

    cargo build --release -p gradus-bench
    python3 -m venv .venv && .venv/bin/pip install torch numpy
    python3 bench/compare.py --torch .venv/bin/python [--rounds 3] [--seconds 2] [CASE ...]

Each round runs every case once on each peer, one process at a time; the table shows the median over rounds of each
peer's median, and PyTorch's time divided by ours: above 1, Gradus is faster. Nothing else should run meanwhile: the
load before each round is printed. Needs Python's standard library only (and PyTorch for the peer).
"""
import argparse, json, math, os, statistics, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))


def run(command):
    """The JSON lines that a peer prints, by case."""
    out = subprocess.run(command, capture_output=True, text=True)
    lines = [json.loads(l) for l in out.stdout.splitlines() if l.startswith("{")]
    if not lines:
        sys.exit(f"{' '.join(command)} printed no result:\n{out.stderr[-2000:]}")
    return {l["case"]: l for l in lines}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("cases", nargs="*", help="cases to run; all that Gradus lists if none is named")
    p.add_argument("--torch", default=sys.executable, help="a Python that has PyTorch")
    p.add_argument("--bench", default=os.path.join(HERE, "..", "target", "release", "gradus-bench"))
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=2.0, help="per case, peer and round")
    a = p.parse_args()
    names = a.cases or subprocess.run([a.bench, "--list"], capture_output=True, text=True, check=True).stdout.split()
    times = {name: {"gradus": [], "pytorch": []} for name in names}
    missing = {}
    for round in range(a.rounds):
        print(f"round {round + 1} of {a.rounds}, load {os.getloadavg()[0]:.2f}", file=sys.stderr)
        for name in names:
            for peer, command in (
                ("gradus", [a.bench, "--seconds", str(a.seconds), name]),
                ("pytorch", [a.torch, os.path.join(HERE, "pytorch.py"), "--seconds", str(a.seconds), name]),
            ):
                if (peer, name) in missing:
                    continue
                line = run(command)[name]
                if "ms" in line:
                    times[name][peer].append(line["ms"])
                else:
                    missing[peer, name] = line["unsupported"]
    print("| case | Gradus ms | PyTorch ms | PyTorch / Gradus |\n| --- | ---: | ---: | ---: |")
    ratios = []
    for name, by_peer in times.items():
        ours, theirs = (statistics.median(by_peer[p]) if by_peer[p] else None for p in ("gradus", "pytorch"))
        if ours and theirs:
            ratios.append(theirs / ours)
        ratio = f"{theirs / ours:.2f}" if ours and theirs else missing.get(("gradus", name)) or missing.get(("pytorch", name), "")
        show = lambda x: f"{x:.3f}" if x else "-"
        print(f"| {name} | {show(ours)} | {show(theirs)} | {ratio} |")
    if ratios:
        print(f"\ngeometric mean over {len(ratios)} cases: {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}")


if __name__ == "__main__":
    main()
