"""The exact solver against the row-by-row form as published: in C (bench_exact prints its own table), and in PyTorch."""
import os
import re

import harness

TITLE = "Exact solver"
PEER_SIZES = {(1152, 9), (1024, 1)}  # columns, group: two rows take the peer some seconds


def peer_rows(lines, options):
    """Rows of bench_exact's table once more, against PyTorch."""
    script = os.path.join(harness.here, "peers", "torch_exact.py")
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        size = re.match(r"(\d+) x (\d+)$", cells[0])
        if not size or int(size[1]) < 256 or (int(size[2]), int(cells[1])) not in PEER_SIZES:
            continue
        peer = harness.run([harness.sys.executable, script, size[2], cells[1], 2, options.threads], options.threads).lines()[-1]
        options.versions.add(peer["versions"])
        theirs, ours = peer["seconds_per_row"] * int(size[1]), float(cells[3])
        yield [cells[0], cells[1], f"{theirs:.0f} (two rows, scaled)", cells[3], harness.times(theirs, ours)]


def make(options):
    lines = harness.run([harness.program("exact"), options.threads], options.threads).output.strip().splitlines()
    if options.no_peer:
        return lines
    return [*lines, "", "The same form in PyTorch (bench/peers/torch_exact.py), float64, one row after the other:", "",
            *harness.table(("rows x columns", "columns a group", "PyTorch s", "spade s", "ratio"), peer_rows(lines, options))]
