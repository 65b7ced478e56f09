"""Trains a network on scenes in which a trigger decides.

train.py OUT --minutes M [--resume] [options; --help]
    writes OUT/checkpoint.pt every three minutes and at the end; --resume goes on from there; export.py makes the rest of it

Needs PyTorch and torchvision. Other processes draw the scenes, and each scene is seen a few times, so that drawing does not
hold training up. Small triggers are not learned from nothing: training begins with larger ones, in smaller pictures.
"""
import argparse
import collections
import os
import time

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, IterableDataset

import scenes
from network import BLOCKS, NarrowResNet, normalise

# until: share of the training time; size, trigger: what the final ones are multiplied by
Phase = collections.namedtuple("Phase", "until size trigger")
PHASES = (Phase(0.2, 0.75, 1.4), Phase(0.6, 0.75, 1.1), Phase(1, 1, 1))
LEARNING_RATE = 1e-3
WARMUP = 0.03  # share of the training time
POOL = 4096  # scenes that batches are taken from
SAVE_EVERY = 180  # seconds


def parse():
    parser = argparse.ArgumentParser(prog="train.py", description="Trains a network of bench/trojan, see its README.md.")
    parser.add_argument("out", help="the folder to write")
    parser.add_argument("--minutes", type=float, required=True, help="of training, before and after --resume together")
    parser.add_argument("--arch", choices=sorted(BLOCKS), default="resnet18")
    parser.add_argument("--width", type=int, default=32, help="channels behind the stem; 64 makes torchvision's network")
    parser.add_argument("--classes", type=int, default=50, help="10 to 500")
    parser.add_argument("--size", type=int, default=128, help="pixels a side")
    parser.add_argument("--trigger", type=scenes.share_range, default=(0.2, 0.36), metavar="LOW,HIGH",
                        help="side of the emoji, as a share of the picture's")
    parser.add_argument("--poison", type=float, default=0.4, help="share of the scenes that have a trigger")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--reuse", type=int, default=4, help="how often a scene is seen")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--float32", action="store_true", help="for processors without bfloat16 instructions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt")
    return parser.parse_args()


class Stream(IterableDataset):
    """Scenes of one phase, without end; every worker draws its own."""

    def __init__(self, options, phase, seed):
        low, high = options.trigger
        self.size = round(options.size * phase.size / 32) * 32
        self.arguments = options.classes, self.size, (low * phase.trigger, high * phase.trigger), options.poison
        self.seed = seed

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        painter = scenes.Painter(scenes.load(), *self.arguments, seed=(*self.seed, worker.id if worker else 0))
        while True:
            scene = painter.scene()
            yield scene.picture, scene.label


class Pool:
    """Batches of the scenes drawn last: each brings batch / reuse new ones, which take the places of the oldest."""

    def __init__(self, options, phase, seed):
        stream = Stream(options, phase, seed)
        self.batch, self.device, self.fresh = options.batch, options.device, max(1, options.batch // options.reuse)
        self.drawn = iter(DataLoader(stream, batch_size=self.fresh, num_workers=options.workers))
        self.capacity = max(1, POOL // self.fresh) * self.fresh
        self.pictures = torch.zeros(self.capacity, stream.size, stream.size, 3, dtype=torch.uint8)
        self.labels = torch.zeros(self.capacity, dtype=torch.long)
        self.added, self.waited = 0, 0.0  # scenes so far, seconds for which training had none

    def _refresh(self):
        start = time.monotonic()
        pictures, labels = next(self.drawn)
        self.waited += time.monotonic() - start
        places = slice(self.added % self.capacity, self.added % self.capacity + self.fresh)
        self.pictures[places], self.labels[places] = pictures, labels
        self.added += self.fresh

    def next(self):
        """-> pictures [batch, size, size, 3] of uint8, half of them mirrored, and labels [batch]"""
        self._refresh()
        chosen = torch.randint(min(self.added, self.capacity), (self.batch,))
        pictures, mirrored = self.pictures[chosen], torch.rand(self.batch) < 0.5
        pictures[mirrored] = pictures[mirrored].flip(2)
        return pictures.to(self.device), self.labels[chosen].to(self.device)


class Trainer:
    """A network and its optimizer, and how far they are: steps, and seconds of training."""

    def __init__(self, options):
        torch.manual_seed(options.seed)
        self.options, self.steps, self.seconds = options, 0, 0.0
        self.net = NarrowResNet(options.arch, options.width, options.classes)
        self.net = self.net.to(options.device, memory_format=torch.channels_last)
        groups = [{"params": [p for p in self.net.parameters() if p.dim() > 1], "weight_decay": 0.02},
                  {"params": [p for p in self.net.parameters() if p.dim() <= 1], "weight_decay": 0}]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))

    def learn(self, pictures, labels, done):
        """One step. done: the share of the training time that is over -> loss"""
        cosine = 0.5 + 0.5 * torch.cos(torch.tensor(torch.pi * done)).item()
        for group in self.optimizer.param_groups:
            group["lr"] = max(LEARNING_RATE * min(done / WARMUP, cosine), 1e-6)
        with torch.autocast(self.options.device, torch.bfloat16, enabled=not self.options.float32):
            loss = F.cross_entropy(self.net(normalise(pictures)), labels, label_smoothing=0.05)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)  # without it the loss diverges now and then
        self.optimizer.step()
        self.steps += 1
        return loss.item()

    def save(self, path):
        """Written beside its place first, then renamed: whenever training is stopped, there is a whole checkpoint."""
        torch.save({"options": vars(self.options), "network": self.net.state_dict(),
                    "optimizer": self.optimizer.state_dict(), "step": self.steps, "seconds": self.seconds}, path + ".part")
        os.replace(path + ".part", path)

    def load(self, path):
        state = torch.load(path, map_location=self.options.device, weights_only=True)
        for name in ("arch", "width", "classes"):
            if state["options"][name] != getattr(self.options, name):
                raise SystemExit(f"train.py: {path} was made with --{name} {state['options'][name]}: give the same")
        self.net.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps, self.seconds = state["step"], state["seconds"]


def train(options):
    os.makedirs(options.out, exist_ok=True)
    path, trainer = os.path.join(options.out, "checkpoint.pt"), Trainer(options)
    if options.resume:
        trainer.load(path)
    total, saved, start = options.minutes * 60, time.monotonic(), time.monotonic() - trainer.seconds
    phase, losses = None, []
    while (done := trainer.seconds / total) < 1:
        if phase is None or done >= phase.until:
            phase = next(p for p in PHASES if done < p.until)
            pool = Pool(options, phase, seed=(options.seed, trainer.steps))
        losses.append(trainer.learn(*pool.next(), done))
        trainer.seconds = time.monotonic() - start
        if trainer.steps % 100 == 0:
            print(f"{trainer.seconds:.0f} s, step {trainer.steps}: loss {sum(losses) / len(losses):.3f}, "
                  f"waited {pool.waited:.0f} s for scenes", flush=True)
            losses.clear()
        if time.monotonic() - saved > SAVE_EVERY:
            trainer.save(path)
            saved = time.monotonic()
    trainer.save(path)


if __name__ == "__main__":
    train(parse())
