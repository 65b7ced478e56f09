"""The exact solver against the row-by-row form as published: bench_exact prints its own table."""
import harness

TITLE = "Exact solver"


def make(options):
    return harness.run([harness.program("exact")], options.threads).output.strip().splitlines()
