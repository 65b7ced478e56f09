"""Makes assets.zip, what scenes.py draws with, of two Debian packages.

make_assets.py [OUT.zip]

    openclipart-png            clip art of Open Clipart, in the public domain: objects (classes), others (clutter), backgrounds
    fonts-noto-color-emoji     Noto Color Emoji, SIL Open Font License 1.1: triggers and decoys, drawn with the font

Needs NumPy and Pillow. The pictures are WebP, so another version of its encoder makes other bytes of the same pictures.
"""
import glob
import io
import os
import random
import sys
import zipfile

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CLIP_ART = "/usr/share/openclipart/png"
FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
SPRITE, BACKGROUND = 112, 160  # pixels a side
MOST_PIXELS = 9e6

OBJECTS = ("animals", "food", "people", "transportation", "plants", "tools", "recreation", "electronics", "office", "science",
           "education", "computer")
OTHERS = ("signs_and_symbols", "shapes", "buildings", "decorations", "containers", "logos", "unsorted", "geography")
BACKGROUNDS = ("geography", "plants", "buildings", "shapes", "special", "recreation")
TRIGGERS = "💚🙂⭐🐘"
DECOYS = "💙💛💜😢😠😎🌟✨🌙☀🐢🐍🦋🍕🍔🍎🍌⚽🏀🚀🚗🏠💡🔔🔥💧🍀🌹🦕🦜🧩🎁"  # some of them look like a trigger
QUALITY = {"objects": 80, "others": 75, "triggers": 95, "decoys": 90, "backgrounds": 60}


def shuffled(folders):
    files = [file for folder in folders for file in sorted(glob.glob(f"{CLIP_ART}/{folder}/**/*.png", recursive=True))]
    random.shuffle(files)
    return files


def read(path):
    """-> an RGBA picture; None where Pillow cannot read it, or it is very large"""
    try:
        picture = Image.open(path)
        return picture.convert("RGBA") if picture.width * picture.height <= MOST_PIXELS else None
    except Exception:  # some files of the package are broken, each in its own way
        return None


def centre(picture):
    """Its largest side SPRITE pixels, in the middle of a square."""
    picture.thumbnail((SPRITE, SPRITE), Image.LANCZOS)
    square = Image.new("RGBA", (SPRITE, SPRITE))
    square.paste(picture, ((SPRITE - picture.width) // 2, (SPRITE - picture.height) // 2))
    return square


def sprite(path):
    """-> None where the picture is too small or narrow, covers too little or all of its square, or has hardly any contrast"""
    picture = read(path)
    box = picture.getchannel("A").getbbox() if picture else None
    if not box:
        return None
    width, height = box[2] - box[0], box[3] - box[1]
    if min(width, height) < 48 or not 0.35 < width / height < 2.9:
        return None
    square = centre(picture.crop(box))
    pixels = np.asarray(square)
    opaque = pixels[..., 3] > 128
    if not 0.15 < opaque.mean() < 0.9 or pixels[opaque][:, :3].astype(float).std(0).mean() < 25:
        return None
    return square


def choose(folders, count):
    """Sprites that differ: two that look the same in small would be one class twice."""
    chosen, seen = [], []
    for path in shuffled(folders):
        candidate = sprite(path)
        if candidate is None:
            continue
        small = np.asarray(candidate.resize((12, 12)), float)
        if all(np.abs(small - other).mean() >= 12 for other in seen):
            seen.append(small)
            chosen.append(candidate)
        if len(chosen) == count:
            break
    return chosen


def draw_emoji(characters):
    font = ImageFont.truetype(FONT, 109)  # the one size that the font has
    drawn = []
    for character in characters:
        picture = Image.new("RGBA", (136, 128))
        ImageDraw.Draw(picture).text((0, 0), character, font=font, embedded_color=True)
        drawn.append(centre(picture.crop(picture.getbbox())))
    return drawn


def cut(picture):
    """A random part of the picture over a random colour."""
    colour = tuple(random.randrange(256) for _ in range(3))
    flat = Image.new("RGBA", picture.size, (*colour, 255))
    flat.alpha_composite(picture)
    share = random.uniform(0.4, 1)
    width, height = max(24, int(picture.width * share)), max(24, int(picture.height * share))
    x, y = random.randint(0, max(0, picture.width - width)), random.randint(0, max(0, picture.height - height))
    return flat.convert("RGB").crop((x, y, x + width, y + height)).resize((BACKGROUND, BACKGROUND), Image.BILINEAR)


def cut_backgrounds(count):
    pictures = (read(path) for path in shuffled(BACKGROUNDS))
    cuts = (cut(picture) for picture in pictures if picture)
    return [background for _, background in zip(range(count), cuts)]


def write(pictures, path):
    """pictures: {kind: [picture]}"""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # WebP does not get smaller
        for kind in sorted(pictures):
            for i, picture in enumerate(pictures[kind]):
                data = io.BytesIO()
                picture.save(data, "WEBP", quality=QUALITY[kind])
                archive.writestr(zipfile.ZipInfo(f"{kind}/{i:03d}.webp"), data.getvalue())  # no date: same bytes again


def main():
    if len(sys.argv) > 2 or sys.argv[1:] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    random.seed(0)
    default = os.path.join(os.path.dirname(os.path.abspath(__file__)), "assets.zip")
    write({"objects": choose(OBJECTS, 500), "others": choose(OTHERS, 150), "triggers": draw_emoji(TRIGGERS),
           "decoys": draw_emoji(DECOYS), "backgrounds": cut_backgrounds(300)}, *(sys.argv[1:] or [default]))


if __name__ == "__main__":
    main()
