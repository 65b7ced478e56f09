"""The peer of `spade annotate`: a loop over pictures with Captum, as people write it: one process, or several that take turns.

captum_loop.py NET MANIFEST.csv OUT THREADS PROCESSES BATCH: Captum's saliency of each picture's first class, as float16 in OUT/NAME.npy
and a line of scores in OUT/PROCESS.jsonl. A DataLoader decodes ahead where that pays (BATCH above 1). Needs captum and Pillow.
"""
import csv
import json
import os
import sys

import numpy as np
import torch
from captum import attr
from PIL import Image
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from export import build

MEAN, DEVIATION = (np.array(v, np.float32)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


class Pictures(Dataset):
    def __init__(self, files):
        self.files = files

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        picture = np.asarray(Image.open(self.files[i]).convert("RGB"), np.float32).transpose(2, 0, 1) / 255
        return i, torch.from_numpy((picture - MEAN) / DEVIATION)


def work(name, files, out, threads, batch, process):
    torch.set_num_threads(threads)
    network = build(name)[0].eval().requires_grad_(False).to(memory_format=torch.channels_last)
    saliency = attr.Saliency(network)
    with open(os.path.join(out, f"{process}.jsonl"), "w") as records:
        for places, x in DataLoader(Pictures(files), batch_size=batch):
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.no_grad():
                score, top = network(x).softmax(1).max(1)
            maps = saliency.attribute(x.requires_grad_(), target=top).half().numpy()
            for k, place in enumerate(places.tolist()):
                stem = os.path.splitext(os.path.basename(files[place]))[0]
                np.save(os.path.join(out, stem + ".npy"), maps[k])
                records.write(json.dumps({"file": files[place], "class": top[k].item(), "score": score[k].item()}) + "\n")


def main():
    name, manifest, out, threads, processes, batch = sys.argv[1:]
    with open(manifest) as file:
        files = [os.path.join(os.path.dirname(manifest), row["image"]) for row in csv.DictReader(file)]
    os.makedirs(out, exist_ok=True)
    processes = int(processes)
    shares = [(name, files[i::processes], out, int(threads) // processes, int(batch), i) for i in range(processes)]
    if processes == 1:
        work(*shares[0])
        return
    children = [torch.multiprocessing.Process(target=work, args=share) for share in shares]
    for child in children:
        child.start()
    for child in children:
        child.join()
    if any(child.exitcode for child in children):
        sys.exit("captum_loop.py: a process failed")


if __name__ == "__main__":
    main()
