"""What all tables are made with: programs run and measured, the machine and versions described, results written."""
import dataclasses
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
build = os.path.join(root, "build")
command = os.path.join(build, "spade")
picture = os.path.join(root, "examples", "photo.jpg")


@dataclasses.dataclass
class Run:
    seconds: float  # of the whole process
    resident: int  # bytes: the most it held at once
    output: str

    def lines(self):
        """Its standard output, a JSON object a line."""
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]


def openblas_core():
    """The kernels that OpenBLAS should choose by itself: releases older than the processor fall back to those of 2004, many times
    slower. Only PyTorch is told (at its best settings); spade is timed as its users run it."""
    with open("/proc/cpuinfo") as file:
        flags = next((line.split() for line in file if line.startswith("flags")), [])
    core = "SkylakeX" if "avx512f" in flags else "Haswell" if "avx2" in flags else None
    return {"OPENBLAS_CORETYPE": core} if core else {}


def run(arguments, threads, **more):
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), **more}
    start = time.perf_counter()
    arguments = [str(argument) for argument in arguments]
    process = subprocess.Popen(arguments, cwd=root, env=environment, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(arguments)}: failed, status {status}")
    return Run(time.perf_counter() - start, usage.ru_maxrss * 1024, output)


def program(name):
    return os.path.join(build, "bench", f"bench_{name}")


def export(*arguments):
    os.makedirs(os.path.join(out, "layers"), exist_ok=True)
    subprocess.run([sys.executable, os.path.join(here, "export.py"), *arguments], check=True)


def network(name):
    """Path of the network's ONNX file, exported once."""
    path = os.path.join(out, f"{name}.onnx")
    if not os.path.exists(path):
        export(name, path)
    return path


def stages(name, options, **more):
    """bench_stages -> its runs, fastest first. profile=True: stages wait for the device"""
    settings = {"device": options.device, "variants": 64, "sparsity": options.sparsity, "threads": options.threads, "repeat": options.repeat,
                **more}
    arguments = [f"--{key}" if value is True else f"--{key}={value}" for key, value in settings.items()]
    lines = run([program("stages"), network(name), picture, *arguments], settings["threads"]).lines()
    return sorted(lines, key=lambda line: line["seconds"])


def pictures(name, options, **more):
    """bench_pictures -> its runs, fastest first"""
    settings = {"device": options.device, "variants": 64, "sparsity": options.sparsity, "threads": options.threads, "repeat": options.repeat,
                **more}
    arguments = [f"--{key}={value}" for key, value in settings.items()]
    lines = run([program("pictures"), network(name), picture, *arguments], settings["threads"]).lines()
    return sorted(lines, key=lambda line: line["seconds"])


def peer(name, variants, options):
    """The PyTorch peer, `peer_repeat` times -> its runs, fastest first. Two tables use them: they are run once."""
    script = os.path.join(here, "peers", "torch_trace.py")
    if (name, variants) not in options.peers:
        arguments = [sys.executable, script, name, picture, variants, options.sparsity, options.threads,
                     options.device.split(":")[0]]
        runs = [run(arguments, options.threads, **openblas_core()) for _ in range(options.peer_repeat)]
        results = [{**r.lines()[-1], "resident": r.resident} for r in runs]
        options.peers[name, variants] = sorted(results, key=lambda result: result["seconds"])
        options.versions.add(results[0]["versions"])
    return options.peers[name, variants]


def middle(runs):
    """The run of median time (of an even number: the faster of the two)."""
    return runs[(len(runs) - 1) // 2]


def peak(options, threads=None):
    """Measured operations a second: {"float32": ..., "float64": ...}. Once a run for each number of threads."""
    threads = threads or options.threads
    if threads not in options.peaks:
        options.peaks[threads] = run([program("peak"), threads], threads).lines()
    return options.peaks[threads][-1]


# ---- text


def table(header, rows):
    def line(cells):
        return "| " + " | ".join(map(str, cells)) + " |"

    return [line(header), "|" + "---|" * len(header), *map(line, rows)]


def seconds(value):
    return f"{value * 1e3:.2f} ms" if value < 0.1 else f"{value:.2f} s"


def spread(values):
    return f"{seconds(statistics.median(values))} ({seconds(min(values))} - {seconds(max(values))})"


def mib(value):
    return f"{value / 2**20:.0f} MiB" if value else "-"


def giga(value):
    return f"{value / 1e9:.1f}" if value < 1e10 else f"{value / 1e9:.0f}"


def percent(value):
    return f"{100 * value:.0f} %" if value >= 0.1 else f"{100 * value:.1f} %"


def times(theirs, ours):
    """How many times as fast ours is."""
    return "-" if ours <= 0 else f"{theirs / ours:.1f}" if theirs >= 10 * ours else f"{theirs / ours:.2f}"


# ---- the machine and what ran on it


def machine():
    with open("/proc/cpuinfo") as f:
        models = re.findall(r"^model name\s*:\s*(.*)$", f.read(), re.M)
    with open("/proc/meminfo") as f:
        memory = int(re.search(r"^MemTotal:\s*(\d+)", f.read(), re.M).group(1)) / 2**20
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} processors, {memory:.0f} GiB memory"


def commit():
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=root, stdout=subprocess.PIPE, text=True).stdout.strip()

    packed = os.path.join(root, "COMMIT")  # tests/gpu/pack.sh leaves it where there is no repository
    if os.path.exists(packed):
        with open(packed) as f:
            return f.read().strip()
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":!bench/results")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (" with changes" if changed else "")


def versions():
    return run([command, "version"], 1).output.strip().replace("\n", ", ")


def footer(options):
    lines = ["", f"Machine: {machine()}; load average {options.load:.2f} before the run.  ",
             f"Commit {commit()}: {versions()}.  "]
    return lines + [f"{text}.  " for text in sorted(options.versions)]


def record(name, title, lines, options):
    """Show a table and add it to bench/results/DATE-NAME.md."""
    text = "\n".join(lines + footer(options)) + "\n"
    print(f"\n# {title}\n\n{text}", flush=True)
    if options.no_record:
        return
    path = os.path.join(here, "results", f"{datetime.date.today().isoformat()}-{name}.md")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    new = not os.path.exists(path)
    with open(path, "a") as f:
        f.write((f"# {title}, {datetime.date.today().isoformat()}\n" if new else "") + "\n" + text)
    print(f"added to {os.path.relpath(path, root)}", flush=True)
