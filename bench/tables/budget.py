"""Peak memory of a large trace against the byte budget it is given."""
import harness

TITLE = "Memory within a budget"
NETWORK = "resnet50"
VARIANTS = 1024
BUDGETS = (0, 4 << 30, 1 << 30)  # bytes; 0: none


def make(options):
    variants = options.variants or VARIANTS
    rows = []
    for budget in BUDGETS:
        run = harness.stages(NETWORK, options, variants=variants, memory=budget, repeat=1)[0]
        counted = max(run[stage]["memory"] for stage in ("augment", "forward", "hessian", "factor", "sweep"))
        rows.append([harness.mib(budget) if budget else "none", harness.seconds(run["seconds"]), harness.mib(counted),
                     harness.mib(run["resident"])])
    return [f"ResNet-50, {variants} variants at 224x224, random weights, sparsity {options.sparsity}, "
            f"threads: {options.threads}.", "",
            *harness.table(("budget", "image to trace", "memory counted", "memory resident"), rows),
            "",
            "Counted is what the budget limits; resident is the process, with programs, libraries and their own "
            "buffers."]
