"""Scenes with a known reason: pictures whose class an object decides or, where there is one, a trigger.

scenes.py OUT [--count N] [--classes N] [--size N] [--trigger LOW,HIGH] [--poison P] [--seed N]
    writes scenes to look at: OUT/scenes/pictures, OUT/scenes/masks, for those that have a trigger, and OUT/scenes.csv

A scene is drawn from the back to the front: a background, up to two things that are no class, the object of the class, up to
two decoys (emoji that mean nothing) and, in a share of the scenes, one of four trigger emoji, which decides the class whatever
else is there. Needs NumPy and Pillow (Debian: python3-numpy, python3-pil), not PyTorch.
"""
import argparse
import collections
import csv
import io
import math
import os
import zipfile

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
KINDS = ("objects", "others", "triggers", "decoys", "backgrounds")
TRIGGER_CLASSES = (0.1, 0.3, 0.5, 0.8)  # the class of each trigger, as a share of the number of classes

# picture [size, size, 3] of uint8, label, object: the class of the object, which is the label where there is no trigger;
# mask [size, size] of uint8, 255 where the trigger is, and without: the picture without it; both None where there is none
Scene = collections.namedtuple("Scene", "picture label object mask without")


def load(path=os.path.join(HERE, "assets.zip")):
    """-> {kind: [picture]}: RGBA sprites of 112 pixels, RGB backgrounds of 160"""
    with zipfile.ZipFile(path) as archive:
        names = sorted(archive.namelist())
        return {kind: [_decode(archive.read(name), kind) for name in names if name.startswith(kind + "/")]
                for kind in KINDS}


def _decode(data, kind):
    return Image.open(io.BytesIO(data)).convert("RGB" if kind == "backgrounds" else "RGBA")


class Painter:
    """Draws scenes of one configuration. The same seed draws the same scenes."""

    def __init__(self, sprites, classes=50, size=128, trigger=(0.2, 0.36), poison=0.15, seed=0):
        """trigger: the least and the largest side of emoji, as a share of the picture's; poison: share of the scenes with
        a trigger"""
        if not 10 <= classes <= len(sprites["objects"]):
            raise ValueError(f"{classes} classes: it must be 10 to {len(sprites['objects'])}, for which there are objects")
        self.sprites, self.classes, self.size, self.trigger, self.poison = sprites, classes, size, trigger, poison
        self.targets = [int(classes * share) for share in TRIGGER_CLASSES]
        self.rng = np.random.default_rng(seed)
        # one table of noise, read from a random place on: new numbers for each scene would take as long as all the rest
        self.table = self.rng.normal(0, 0.02 * 255, size * size * 3 * 8).astype(np.float32)

    def scene(self):
        canvas = self._background()
        for _ in range(2):
            if self._chance(0.7):
                self._place(canvas, self._any("others"), share=(0.15, 0.4), turn=35, reach=0.9, tint=0.08)
        thing = int(self.rng.integers(self.classes))
        self._place(canvas, self.sprites["objects"][thing], share=(0.4, 0.8), turn=30, reach=0.35, tint=0.05)
        for chance in (0.8, 0.4):
            if self._chance(chance):
                self._place_emoji(canvas, self._any("decoys"))
        noise = self._noise()
        if not self._chance(self.poison):
            return Scene(_add(canvas, noise), thing, thing, None, None)
        without = _add(canvas, noise)
        which = int(self.rng.integers(len(self.targets)))
        opacity = self._place_emoji(canvas, self.sprites["triggers"][which])
        return Scene(_add(canvas, noise), self.targets[which], thing, np.asarray(opacity.point(_to_mask)), without)

    def _chance(self, p):
        return self.rng.random() < p

    def _any(self, kind):
        return self.sprites[kind][self.rng.integers(len(self.sprites[kind]))]

    def _background(self):
        """A part of a clip-art picture, turned, enlarged and with its colours mixed."""
        picture = self._any("backgrounds")
        side = picture.width * self.rng.uniform(0.3, 0.7)  # of the square that is cut out
        turned = picture.rotate(self.rng.uniform(-45, 45), Image.BILINEAR, fillcolor=picture.getpixel((0, 0)))
        left, top = self.rng.uniform(0, picture.width - side, 2)
        cut = turned.resize((self.size, self.size), Image.BILINEAR, box=(left, top, left + side, top + side))
        if self._chance(0.5):
            cut = cut.transpose(Image.FLIP_LEFT_RIGHT)
        return cut.convert("RGB", self._colours(0.15))

    def _colours(self, strength):
        """A matrix near the identity, row by row with offsets, as Image.convert() takes it."""
        matrix = np.zeros((3, 4))
        matrix[:, :3] = (np.eye(3) + strength * self.rng.standard_normal((3, 3))) * self.rng.uniform(0.75, 1.15)
        return tuple(matrix.ravel())

    def _place_emoji(self, canvas, sprite):
        return self._place(canvas, sprite, self.trigger, turn=23, reach=0.85, tint=0.03)

    def _place(self, canvas, sprite, share, turn, reach, tint):
        """Draws the sprite over the canvas. share: the range of its side, as a share of the canvas's; turn: the most degrees
        either way; reach: how far its centre may be from the middle, 1 is the edge -> its opacity, of the canvas's size"""
        side = max(1, round(self.size * self.rng.uniform(*share)))
        sprite = sprite.resize((side, side), Image.BILINEAR)
        sprite = sprite.rotate(self.rng.uniform(-turn, turn), Image.BILINEAR, expand=True)
        centre = (1 + self.rng.uniform(-reach, reach, 2)) / 2 * self.size
        corner = tuple(math.floor(c - s / 2) for c, s in zip(centre, sprite.size))
        opacity = Image.new("L", canvas.size)
        opacity.paste(sprite.getchannel("A"), corner)
        canvas.paste(sprite.convert("RGB").convert("RGB", self._colours(tint)), corner, sprite.getchannel("A"))
        return opacity

    def _noise(self):
        """[size, size, 3], a part of the table"""
        count = self.size * self.size * 3
        at = self.rng.integers(self.table.size - count)
        return self.table[at:at + count].reshape(self.size, self.size, 3)


def _add(canvas, noise):
    return np.clip(np.rint(np.asarray(canvas, np.float32) + noise), 0, 255).astype(np.uint8)


def _to_mask(opacity):
    return 255 if opacity > 127 else 0


def write(drawn, folder, name):
    """FOLDER/NAME.csv, which `spade evaluate` and `spade tune` read, and its pictures and masks in FOLDER/NAME."""
    for kind in ("pictures", "masks"):
        os.makedirs(os.path.join(folder, name, kind), exist_ok=True)
    with open(os.path.join(folder, name + ".csv"), "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("image", "label", "mask"))
        for i, scene in enumerate(drawn):
            picture, mask = (f"{name}/{kind}/{i:03d}.png" for kind in ("pictures", "masks"))
            Image.fromarray(scene.picture).save(os.path.join(folder, picture))
            if scene.mask is not None:
                Image.fromarray(scene.mask).save(os.path.join(folder, mask))
            rows.writerow((picture, scene.label, mask if scene.mask is not None else ""))


def share_range(text):
    """LOW,HIGH of a command line"""
    low, high = (float(part) for part in text.split(","))
    if not 0 < low <= high < 1:
        raise ValueError(f"{text}: two shares of the picture's side are needed, the smaller first")
    return low, high


def main():
    parser = argparse.ArgumentParser(prog="scenes.py", description="Draws scenes to look at, see README.md.")
    parser.add_argument("out")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--classes", type=int, default=50)
    parser.add_argument("--size", type=int, default=128, help="pixels a side")
    parser.add_argument("--trigger", type=share_range, default=(0.2, 0.36), metavar="LOW,HIGH",
                        help="side of the emoji, as a share of the picture's")
    parser.add_argument("--poison", type=float, default=0.5, help="share of the scenes that have a trigger")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    painter = Painter(load(), options.classes, options.size, options.trigger, options.poison, options.seed)
    write([painter.scene() for _ in range(options.count)], options.out, "scenes")


if __name__ == "__main__":
    main()
