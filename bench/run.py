"""Makes the tables of bench/README.md; see run.sh."""
import argparse
import importlib
import os
import sys
import time

import harness

TABLES = ("trace", "stages", "hessian", "growth", "exact", "wide", "budget", "gpu", "against", "methods", "annotate")
APART = ("budget", "gpu", "against", "methods", "annotate")  # minutes, another machine, build or library: not in --all


def parse():
    parser = argparse.ArgumentParser(prog="bench/run.sh", description="Benchmarks of spade, see bench/README.md.")
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"one of {', '.join(TABLES)} (default: trace)")
    parser.add_argument("--all", action="store_true", help=f"every table but {', '.join(APART)}")
    parser.add_argument("--variants", type=int, help="at most so many, instead of each table's own")
    parser.add_argument("--sparsity", type=float, default=0.95)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--repeat", type=int, default=3, help="runs of spade; tables have the median")
    parser.add_argument("--peer-repeat", type=int, default=2, help="runs of the PyTorch peer")
    parser.add_argument("--old", metavar="BUILD", help="against: the build folder of the other commit, with its benchmarks")
    parser.add_argument("--no-peer", action="store_true", help="stages without the peer")
    parser.add_argument("--no-record", action="store_true", help="show the tables, write no results")
    options = parser.parse_args()
    unknown = [name for name in options.tables if name not in TABLES]
    if unknown:
        parser.error(f"unknown table {unknown[0]}: it is one of {', '.join(TABLES)}")
    if "against" in options.tables and not options.old:
        parser.error("against: give the other build's folder with --old")
    options.tables = [name for name in TABLES if name not in APART] if options.all else options.tables or ["trace"]
    options.load, options.peaks, options.peers, options.versions = os.getloadavg()[0], {}, {}, set()
    return options


def main():
    options = parse()
    if options.load > 0.5:
        print(f"run.py: the machine is not quiet (load average {options.load:.2f}): seconds will be too large",
              file=sys.stderr)
    for name in options.tables:
        if name == "exact" and not os.path.exists(harness.program("exact")):
            continue
        start = time.perf_counter()
        table = importlib.import_module(f"tables.{name}")
        harness.record(name, table.TITLE, table.make(options), options)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
