"""Maps of many pictures: a store, beside a loop over the command and a loop with Captum."""
import csv
import os
import resource
import shutil
import statistics
import sys

import harness
from networks import NETWORKS

TITLE = "Maps of many pictures"
NAME, METHOD = "resnet18", "saliency"
COUNT, FEW = 192, 12  # pictures; of the loop over the command, which takes as long for each
BATCHES = (1, 4, 16)  # of the peer: the fastest counts


def draw_pictures(folder):
    """COUNT parts of the example photo, as JPEG of the network's size; their manifest."""
    import numpy
    from PIL import Image

    photo, random = Image.open(harness.picture).convert("RGB"), numpy.random.default_rng(0)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "pictures.csv"), "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image"])
        for i in range(COUNT):
            side = int(random.integers(112, min(photo.size)))
            left, top = (int(random.integers(0, size - side + 1)) for size in photo.size)
            part = photo.crop((left, top, left + side, top + side)).resize((224, 224), Image.BILINEAR)
            part.save(os.path.join(folder, f"{i:04d}.jpg"), quality=90)
            rows.writerow([f"{i:04d}.jpg"])
    return os.path.join(folder, "pictures.csv")


def measure(arguments, count, options, **more):
    """-> pictures a second, share of the processors' time"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = harness.run(arguments, options.threads, **more).seconds
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return count / seconds, used / seconds / options.threads


def annotate(manifest, folder, workers, options):
    store = os.path.join(folder, "store")
    shutil.rmtree(store, ignore_errors=True)
    return measure([harness.command, "annotate", harness.network(NAME), manifest, "-o", store, "--no-trace", "--method", METHOD,
                    "--resize", 0, "--values", "float16", "--shard-size", 48, "--workers", workers, "--device", options.device,
                    "--quiet"], COUNT, options)


def explain_each(manifest, folder, options):
    out = os.path.join(folder, "out")
    shutil.rmtree(out, ignore_errors=True)
    script = ('for i in $(seq -f %04g 0 $(($1 - 1))); do "$2" explain "$3" "$4/$i.jpg" -o "$5/$i" --no-trace --no-report --method "$6" '
              '--resize 0 --device "$7" --quiet; done')
    return measure(["bash", "-ec", script, "loop", FEW, harness.command, harness.network(NAME), os.path.dirname(manifest), out, METHOD,
                    options.device], FEW, options)


def captum(manifest, folder, processes, batch, options):
    out = os.path.join(folder, "captum")
    shutil.rmtree(out, ignore_errors=True)
    script = os.path.join(harness.here, "peers", "captum_loop.py")
    return measure([sys.executable, script, NAME, manifest, out, options.threads, processes, batch], COUNT, options,
                   **harness.openblas_core())


NOTE = ("Whole processes, from the start to the last file on the disk: loading the network, decoding, maps, writing; at most 30 s of them, so "
        "that starting counts for more than in bulk. Captum: channels last, float16 maps as .npy, the fastest of "
        f"{', '.join(map(str, BATCHES))} pictures together.")


def make(options):
    folder = os.path.join(harness.out, "annotate")
    manifest = draw_pictures(folder)
    many = sorted({1, options.threads})
    best = {n: max(BATCHES, key=lambda batch: captum(manifest, folder, n, batch, options)[0]) for n in many}
    kinds = [(f"`annotate --workers {n}`", lambda n=n: annotate(manifest, folder, n, options)) for n in many]
    kinds += [("a loop over `explain`", lambda: explain_each(manifest, folder, options))]
    kinds += [(f"Captum, {n} process{'es' if n > 1 else ''}, {best[n]} together",
               lambda n=n: captum(manifest, folder, n, best[n], options)) for n in many]
    runs = {name: [] for name, _ in kinds}
    for _ in range(options.repeat):
        for name, run in kinds:
            runs[name].append(run())
    fastest = max(statistics.median(rate for rate, _ in found) for name, found in runs.items() if name.startswith("Captum"))
    rows = []
    for name, found in runs.items():
        rates = [rate for rate, _ in found]
        rows.append([name, f"{statistics.median(rates):.1f} ({min(rates):.1f} - {max(rates):.1f})",
                     f"{100 * statistics.median(share for _, share in found):.0f} %",
                     harness.times(statistics.median(rates), fastest)])
    header = ("", "pictures a second", "of the processors' time", "times the fastest Captum")
    return [f"{NETWORKS[NAME]}, {COUNT} JPEG pictures of 224x224, {METHOD} of the network, random weights, threads: {options.threads}; "
            f"{options.repeat} runs of each, taking turns: median (least - most).", "", *harness.table(header, rows), "", NOTE]
