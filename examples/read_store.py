#!/usr/bin/env python3
"""Reads a store of `spade annotate` (docs/store.md): NumPy and, for maps in PNG, Pillow.

    examples/read_store.py STORE

prints a line for each picture; samples() and maps() are for programs.
"""
import io
import json
import pathlib
import sys
import tarfile

try:
    import numpy as np
except ImportError:
    sys.exit("read_store.py: it needs NumPy: python3 -m pip install numpy")


def samples(store):
    """Every picture of the finished shards: {"__key__", "__url__", "json": its record, NAME: the bytes of its map NAME}, as
    webdataset.WebDataset gives them: a key is what stands before the first dot, a sample the files that share one."""
    for done in sorted(pathlib.Path(store).glob("shard-*.done.json")):
        tar = done.with_name(done.name.replace(".done.json", ".tar"))
        sample = {}
        with tarfile.open(tar, "r|") as archive:  # as a stream: a row's maps stand before its JSON
            for member in archive:
                key, name = member.name.split(".", 1)
                sample[name] = archive.extractfile(member).read()
                if name == "json":
                    record = json.loads(sample.pop("json"))
                    yield {"__key__": key, "__url__": str(tar), "json": record, **sample}
                    sample = {}


def decode(content, entry):
    """A map [C, h, w] in float32; entry: of the record's "maps"."""
    if entry["file"].endswith(".png"):
        try:
            from PIL import Image
        except ImportError:
            sys.exit("read_store.py: maps in PNG need Pillow: python3 -m pip install pillow")

        picture = np.asarray(Image.open(io.BytesIO(content)))
        stored = picture[None] if picture.ndim == 2 else picture.transpose(2, 0, 1)
    else:
        stored = np.load(io.BytesIO(content))
    return (stored.astype(np.float32) - entry.get("zero", 0)) * np.float32(entry.get("scale", 1))


def maps(sample):
    """(entry, map) of each map of a sample."""
    for entry in sample["json"]["maps"]:
        yield entry, decode(sample[entry["file"].split(".", 1)[1]], entry)


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: read_store.py STORE")
    store = pathlib.Path(sys.argv[1])
    if not (store / "store.json").is_file():
        sys.exit(f"read_store.py: {store}: no store of spade annotate: it has no store.json")
    if not any(store.glob("shard-*.done.json")):
        sys.exit(f"read_store.py: {store}: no shard is finished yet")
    for sample in samples(store):
        record = sample["json"]
        if "error" in record:
            print(sample["__key__"], record["image"], "failed:", record["error"])
            continue
        dense = record["dense"]
        described = "; ".join(
            f"{entry['method']} of {entry['name']}, {entry['network']}, {values.shape} |max| {np.abs(values).max():.3g}" for entry, values in maps(sample)
        )
        print(sample["__key__"], record["image"], f"{dense['name']} {dense['score']:.3f};", described)


if __name__ == "__main__":
    try:
        main()
    except (OSError, tarfile.TarError) as error:  # BrokenPipeError too: whoever reads on has seen enough
        sys.stdout = None
        sys.exit(0 if isinstance(error, BrokenPipeError) else f"read_store.py: {error}; spade merge says what is wrong")
