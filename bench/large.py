"""Bulk annotation of very many tiny pictures: memory, start and resume of 10,000 and of 100,000 (links to 12 files), saliency without a trace.

    python3 bench/large.py build/spade [ROWS...]        needs onnx and Pillow (python3-onnx, python3-pil)
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

SIDE = 16


def write_network(path):
    """A convolution, a mean and a linear layer."""
    random = np.random.default_rng(0)
    weights = {"w": random.normal(size=(8, 3, 3, 3)), "v": random.normal(size=(10, 8)), "b": random.normal(size=10)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "v", "b"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes, "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def write_manifest(folder, rows):
    random = np.random.default_rng(1)
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    for i in range(12):
        Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    path = folder / f"{rows}.csv"
    with open(path, "w") as file:
        file.write("image,label\n")
        for i in range(rows):
            link = pictures / f"{i:06d}.png"
            if not link.is_symlink():
                link.symlink_to(f"../{i % 12}.png")
            file.write(f"pictures/{link.name},{i % 10}\n")
    return path


def memory_of(process, key):
    """MB of a line of /proc/PID/status; VmHWM is the kernel's own peak: rusage's holds that of the process that started it."""
    try:
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        status = ""
    return int(status.split(key)[1].split()[0]) / 1024 if key in status else 0


def watch_memory(process, peak):
    while process.poll() is None:
        peak[0] = max(peak[0], memory_of(process, "VmHWM:"))
        time.sleep(0.003)


def run(command):
    """Code, seconds, seconds to the first line, lines, memory then and at its peak."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_WAIT_POLICY": "passive"})
    peak, first, lines, early = [0], None, 0, 0
    watcher = threading.Thread(target=watch_memory, args=(process, peak))
    watcher.start()
    for _ in process.stdout:
        lines += 1
        if lines == 1:
            first = time.monotonic() - began
        if lines == 1000:
            early = memory_of(process, "VmRSS:")
    code = process.wait()
    seconds = time.monotonic() - began
    watcher.join()
    return code, seconds, first, lines, early, peak[0]


def main():
    spade = pathlib.Path(sys.argv[1]).resolve()
    sizes = [int(text) for text in sys.argv[2:]] or [10_000, 100_000]
    print("| pictures | run | seconds | first picture done after | pictures a second | MB after 1,000 pictures | MB at most |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_network(folder / "tiny.onnx")
        for rows in sizes:
            manifest, store = write_manifest(folder, rows), folder / f"store{rows}"
            command = [spade, "annotate", folder / "tiny.onnx", manifest, "-o", store, "--workers", "1", "--no-trace",
                       "--method", "saliency", "--resize", "0", "--json", "-q"]
            for what in ("new", "finished already"):
                code, seconds, first, lines, early, peak = run(command)
                assert code == 0, code
                assert lines == (rows if what == "new" else 0), lines
                print(f"| {rows:,} | {what} | {seconds:.2f} | {f'{first:.2f} s' if first else ''} | "
                      f"{f'{lines / seconds:.0f}' if lines else ''} | {f'{early:.0f}' if lines else ''} | {peak:.0f} |", flush=True)
            for what in (["merge", store, "--json"], ["status", store, "--json"]):
                began = time.monotonic()
                said = subprocess.run([spade, *what], capture_output=True, check=True, text=True).stdout
                assert json.loads(said)
                print(f"| {rows:,} | {what[0]} | {time.monotonic() - began:.2f} | | | | |", flush=True)


main()
