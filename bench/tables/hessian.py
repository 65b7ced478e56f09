"""The Hessian of single layers: spade's update against unfold and multiply in C."""
import os

import harness
from networks import LAYERS

TITLE = "Hessians of single layers"


def model(layer):
    path = os.path.join(harness.out, "layers", f"{layer.name}.onnx")
    if not os.path.exists(path):
        harness.export("--layers", os.path.dirname(path))
    return path


def describe(layer):
    if layer.kind in ("linear", "tokens"):
        return f"{layer.channels} to {layer.rows} linear", f"{layer.size}"
    kernel = f"{layer.kernel}x{layer.kernel}"
    stride = f", stride {layer.stride}" if layer.stride > 1 else ""
    depthwise = ", depthwise" if layer.groups > 1 else ""
    return f"{layer.channels} to {layer.rows}, {kernel}{stride}{depthwise}", f"{layer.size}x{layer.size}"


def row(layer, options, peak):
    variants = min(layer.variants, options.variants or layer.variants)
    line = harness.run([harness.program("hessian"), model(layer), variants, options.threads, options.repeat],
                       options.threads).lines()[-1]
    return [*describe(layer), variants, harness.seconds(line["naive"]), harness.seconds(line["update"]),
            harness.times(line["naive"], line["update"]), harness.seconds(line["call"]),
            harness.giga(line["direct"] / line["update"]), harness.giga(line["least"]),
            harness.percent(line["least"] / peak["float32"] / line["update"]), harness.mib(line["memory"]),
            f"{line['difference']:.0e}"]


def make(options):
    peak = harness.peak(options)
    rows = [row(layer, options, peak) for layer in LAYERS]
    return [f"float32, threads: {options.threads}, median of {options.repeat}; "
            f"peak {harness.giga(peak['float32'])} GFLOP/s.", "",
            *harness.table(("layer", "pixels (positions)", "variants", "unfold + GEMM", "spade", "times as fast",
                            "whole call", "GFLOP/s by definition", "GFLOP, least", "share of peak", "memory",
                            "difference"), rows),
            "",
            "Whole call: spade_hessian_accumulate with copying the input in and turning its layout. By definition: the "
            "operations of half the symmetric product over spade's seconds. Least: of the definition, lags and the "
            "spectral form; the share is theirs. Difference: the largest to the naive form, over sqrt(H_ii H_jj)."]
