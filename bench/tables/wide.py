"""A linear layer with far more inputs than samples: the fast solver's dual form, which has no Hessian."""
import os

import harness

TITLE = "Wide linear layers"
VARIANTS = (64, 256, 1024)


def row(variants, options):
    path = os.path.join(harness.out, "wide.safetensors")
    arguments = [harness.command, "trace", harness.network("wide"), harness.picture, "--variants", variants, "--sparsity",
                 options.sparsity, "--threads", options.threads, "--device", options.device, "--layers", "3", "--json",
                 "--quiet", "-o", path]
    runs = [harness.run(arguments, options.threads) for _ in range(options.repeat)]
    solves = [run.lines()[-1]["seconds"]["solve"] for run in runs]
    return [variants, harness.spread(solves), harness.spread([run.seconds for run in runs]),
            harness.mib(max(run.resident for run in runs))]


def make(options):
    rows = [row(variants, options) for variants in VARIANTS if variants <= (options.variants or variants)]
    return [f"VGG-16's first linear layer (25,088 inputs, 4,096 outputs; 392 MiB), random weights, sparsity {options.sparsity}, "
            f"columns one by one, threads: {options.threads}, of {options.repeat} runs the median (least - most).", "",
            *harness.table(("variants", "solve", "whole command", "memory resident"), rows),
            "",
            "The whole command loads the network and writes the layer's weights. Its memory holds them three times: the "
            "network's, those packed for the forward pass, the trace's. The Hessian alone would take 4.7 GiB."]
