"""Image to trace: spade against the PyTorch peer, one after the other on this machine. See run.sh.

Seconds of the peer are from its own clock, without Python's start and loading the network; spade's are those of the whole
process, from its start to its end, with reading the ONNX file and writing the sparse one.
"""
import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(here)
out = os.path.join(here, "out")


def run(command, threads):
    """-> seconds, peak resident bytes (of the process or one of its helpers), standard output"""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        sys.exit(f"{' '.join(command)}: failed, status {status}")
    return seconds, usage.ru_maxrss * 1024, output


def processor():
    with open("/proc/cpuinfo") as f:
        models = re.findall(r"^model name\s*:\s*(.*)$", f.read(), re.M)
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} processors"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", type=int, default=64)
    parser.add_argument("--sparsity", type=float, default=0.95)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the table has the median")
    parser.add_argument("--only", choices=("spade", "peer"))
    parser.add_argument("--no-record", action="store_true", help="do not write a result file")
    options = parser.parse_args()

    os.makedirs(out, exist_ok=True)
    model = os.path.join(out, "resnet18.onnx")
    if not os.path.exists(model):
        subprocess.run([sys.executable, os.path.join(here, "export_resnet18.py"), model + ".part"], check=True)
        os.replace(model + ".part", model)
    picture = os.path.join(root, "examples", "photo.jpg")
    command = os.path.join(root, "build", "spade")
    rows, versions = [], []

    if options.only != "peer":
        runs = [run([command, "trace", model, picture, "--variants", str(options.variants), "--sparsity",
                     str(options.sparsity), "--threads", str(options.threads), "--quiet", "-o",
                     os.path.join(out, "trace.onnx")], options.threads) for _ in range(options.repeat)]
        rows.append(("spade trace", [r[0] for r in runs], max(r[1] for r in runs), ""))
        versions.append(", ".join(run([command, "version"], 1)[2].split("\n")).strip(", "))
    if options.only != "spade":
        runs = [run([sys.executable, os.path.join(here, "peers", "torch_trace.py"), picture, str(options.variants),
                     str(options.sparsity), str(options.threads)], options.threads) for _ in range(options.repeat)]
        results = [json.loads(r[2].strip().split("\n")[-1]) for r in runs]
        last = results[-1]
        rows.append(("PyTorch peer", [r["seconds"] for r in results], max(r[1] for r in runs),
                     f"augment {last['augment']:.1f} s, forward and Hessians {last['hessian']:.1f} s, "
                     f"solve {last['solve']:.1f} s"))
        versions.append(last["versions"])

    slowest = max(statistics.median(r[1]) for r in rows)
    lines = [f"ResNet-18 (random weights), {options.variants} variants at 224x224, sparsity {options.sparsity}, "
             f"{options.threads} threads, {options.repeat} runs each", "",
             "| program | image to trace, median (least - most) | peak memory | times as fast | notes |",
             "|---|---|---|---|---|"]
    for name, seconds, peak, notes in rows:
        median = statistics.median(seconds)
        lines.append(f"| {name} | {median:.2f} s ({min(seconds):.2f} - {max(seconds):.2f}) | {peak / 2**20:.0f} MiB | "
                     f"{slowest / median:.2f} | {notes} |")
    lines += ["", f"Processor: {processor()}.  ", *(f"{v}.  " for v in versions)]
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if not options.no_record and not options.only:
        today = datetime.date.today().isoformat()
        path = os.path.join(here, "results", f"{today}-trace.md")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        new = not os.path.exists(path)
        with open(path, "a") as f:
            f.write((f"# Image to trace, {today}\n" if new else "") + "\n" + text)
        print(f"\nadded to {os.path.relpath(path, root)}")


if __name__ == "__main__":
    main()
