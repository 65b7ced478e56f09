#!/usr/bin/env python3
"""Export architectures of torchvision, timm and transformers, and compare what spade makes of the files with onnxruntime and PyTorch.

By hand, not in CI: it needs PyPI's torch, torchvision, timm, transformers, onnxscript, onnxruntime and numpy, in an environment of its own:

    python3 -m venv zoo && zoo/bin/pip install torch torchvision timm transformers onnx onnxscript onnxruntime
    zoo/bin/python tests/zoo/zoo.py --folder DIR [--exporter old,new] [--checks logits,gradients,layers,sparse] [--grep TEXT] [--resume]
    zoo/bin/python tests/zoo/zoo.py --folder DIR [--checks ...] FILE.onnx ...
    zoo/bin/python tests/zoo/forms.py --folder DIR/forms                    # one network in the forms of other tools: NHWC, QDQ ...
    zoo/bin/python tests/zoo/readme.py --all                                # README's own lines, with all three packages
    zoo/bin/python tests/zoo/export_small.py tests/golden/data/exports      # the small networks of the tests, today's exporter
    /usr/bin/python3 tests/zoo/export_small.py tests/golden/data/exports    # and Debian's, the older one

Weights are random, seeded. Each network is exported once into DIR (MODEL.EXPORTER.onnx, or MODEL.EXPORTER.failed with the
exporter's message) and stays there; DIR/table.md is the table of the last run (--table: elsewhere). The checks:

    logits      of four pictures are onnxruntime's up to 1e-4 of the largest, or as near to PyTorch's in float64 as onnxruntime's
    gradients   by one of them are PyTorch's in float64, up to four times its own error in float32, or 1e-5 of the largest
    layers      have the names of the modules, in the order in which PyTorch runs them
    sparse      the file that `spade trace` writes computes the trace's logits in onnxruntime

A file is right where all that were chosen are; those that need the network are left out where a file is none of DIR's names.
"""
import argparse
import collections
import datetime
import importlib.metadata
import pathlib
import re
import subprocess
import sys

from checks import CHECKS, NEED_THE_NETWORK, Checks, Refused
from networks import NAMES, export, make, spread_weights

VERDICTS = ("right", "WRONG", "refused", "noexport")
Row = collections.namedtuple("Row", "name exporter verdict results")  # results: check or "" -> text


def file_name(name, exporter):
    return f"{name.replace(':', '_')}.{exporter.replace(':', '')}.onnx"


def find_network(path):
    """A function that makes the network which the file was exported from, by the file's name."""
    name = next((n for n in NAMES if n.replace(":", "_") == path.name.split(".")[0]), None)

    def make_network():
        network, _ = make(name)
        spread_weights(network)
        return network

    return make_network if name else None


def provide(name, exporter, path):
    """Export the network unless its file is there. The exporter's message where it fails, now or before."""
    failed = path.with_suffix(".failed")
    if failed.exists():
        return failed.read_text()
    if not path.exists():
        part = path.with_suffix(".part")
        try:
            export(name, exporter, part)
            part.rename(path)
        except Exception as error:  # whatever an exporter throws
            part.unlink(missing_ok=True)
            failed.write_text(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}")
            return failed.read_text()
    return None


def check_file(spade, path, chosen):
    """Verdict, and what each check says."""
    results = {}
    checks = Checks(spade, path, find_network(path))
    verdict = "right"
    for name in chosen:
        if name in NEED_THE_NETWORK and not checks.make_network:
            continue
        try:
            results[name], is_right = CHECKS[name](checks)
        except Refused as message:
            return "refused", {"": str(message)}
        except Exception as error:  # of PyTorch or onnxruntime
            results[name], is_right = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:80]}", False
        if not is_right:
            results[name] += " !"
            verdict = "WRONG"
    return verdict, results


def format_table(rows, chosen, spade):
    """Markdown: counts, then a line for each file."""
    versions = [f"{p} {importlib.metadata.version(p)}" for p in ("torch", "torchvision", "timm", "transformers", "onnxruntime")]
    lines = [f"# Exported networks, {datetime.date.today()}", "",
             f"{', '.join(versions)}; {subprocess.run([spade, 'version'], capture_output=True, text=True).stdout.splitlines()[0]}.",
             "Relative errors; ! is beyond the limit. tests/zoo/zoo.py says what is compared.", ""]
    exporters = list(dict.fromkeys(row.exporter for row in rows))
    lines += ["| exporter | " + " | ".join(VERDICTS) + " |", "|---" * (len(VERDICTS) + 1) + "|"]
    for exporter in exporters:
        counts = [sum(r.verdict == verdict for r in rows if r.exporter == exporter) for verdict in VERDICTS]
        lines.append(f"| {exporter} | " + " | ".join(map(str, counts)) + " |")
    lines += ["", "| network | exporter | verdict | " + " | ".join(chosen) + " | message |", "|---" * (len(chosen) + 4) + "|"]
    for row in rows:
        cells = [row.name, row.exporter, row.verdict, *(row.results.get(c, "") for c in chosen), row.results.get("", "")]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def read_rows(table, chosen):
    """Of an earlier run's table, which checked the same; none where there is no such table."""
    lines = table.read_text().splitlines() if table.exists() else []
    head = "| network | exporter | verdict | " + " | ".join(chosen) + " | message |"
    if head not in lines:
        return []
    cells = [[c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[lines.index(head) + 2:]]
    return [Row(c[0], c[1], c[2], {name: text for name, text in zip([*chosen, ""], c[3:]) if text}) for c in cells]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spade", default="build/spade")
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--exporter", default="old,new", help="old, new, new:18, new:23 ...")
    parser.add_argument("--checks", default=",".join(CHECKS), help="some of %(default)s")
    parser.add_argument("--grep", default="", help="only names in which this regular expression is found")
    parser.add_argument("--table", type=pathlib.Path, help="FOLDER/table.md")
    parser.add_argument("--resume", action="store_true", help="keep the rows that are in the table; of a run by the same spade")
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("files", nargs="*", type=pathlib.Path, help="check these files instead")
    arguments = parser.parse_args()
    arguments.checks = arguments.checks.split(",")
    unknown = [c for c in arguments.checks if c not in CHECKS]
    if unknown:
        parser.error(f"there is no check {unknown[0]}")
    return arguments


def main():
    arguments = parse_arguments()
    names = [n for n in NAMES if re.search(arguments.grep, n)]
    if arguments.list:
        print("\n".join(names))
        return 0
    arguments.folder.mkdir(parents=True, exist_ok=True)
    wanted = [(f.name, "file", f) for f in arguments.files] or [
        (n, e, arguments.folder / file_name(n, e)) for n in names for e in arguments.exporter.split(",")]
    table = arguments.table or arguments.folder / "table.md"
    rows = read_rows(table, arguments.checks) if arguments.resume else []
    known = {(row.name, row.exporter) for row in rows}
    for name, exporter, path in wanted:
        if (name, exporter) in known:
            continue
        message = provide(name, exporter, path) if exporter != "file" else None
        verdict, results = ("noexport", {"": message}) if message else check_file(arguments.spade, path, arguments.checks)
        rows.append(Row(name, exporter, verdict, results))
        print(f"{name:34} {exporter:5} {verdict:9}", ", ".join(f"{k} {v}".strip() for k, v in results.items()), flush=True)
        table.write_text(format_table(rows, arguments.checks, arguments.spade))
    print(", ".join(f"{sum(r.verdict == verdict for r in rows)} {verdict}" for verdict in VERDICTS))
    return int(any(row.verdict == "WRONG" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
