"""How the time of a trace grows with variants, layers and threads."""
import harness

TITLE = "Growth"
STAGES = ("augment", "forward", "hessian", "factor", "sweep")
NETWORK = "resnet18"
VARIANTS = (16, 64, 256, 1024)
LAYERS = (1, 5, 10, 15, 20)


def row(first, options, **settings):
    run = harness.middle(harness.stages(NETWORK, options, **settings))
    return [first, harness.seconds(run["seconds"]), *(harness.seconds(run[stage]["seconds"]) for stage in STAGES),
            harness.mib(max(run[stage]["memory"] for stage in STAGES)), harness.mib(run["resident"])]


def make(options):
    most = options.variants or max(VARIANTS)
    columns = ("all", *STAGES, "memory counted", "memory resident")
    few = min(64, most)

    def table(name, rows):
        return ["", *harness.table((name, *columns), rows)]

    variants = [row(n, options, variants=n, repeat=options.repeat if n < 256 else 1)
                for n in sorted({min(n, most) for n in VARIANTS})]
    layers = [row(n, options, variants=few, layers=n) for n in LAYERS]
    threads = [row(n, options, variants=few, threads=n) for n in range(1, options.threads + 1)]
    return [f"ResNet-18, 224x224, random weights, sparsity {options.sparsity}, threads: {options.threads} unless a row "
            "says otherwise. Memory counted: what counts against --memory, at its most.", "",
            "Variants, all layers:", *table("variants", variants), "",
            f"The first layers only, {few} variants:", *table("layers", layers), "",
            f"Threads, all layers, {few} variants:", *table("threads", threads)]
