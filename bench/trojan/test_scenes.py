"""Checks of scenes.py. Exit code 77 where NumPy or Pillow is missing."""
import os
import sys
import tempfile
import unittest

try:
    import numpy as np
    from PIL import Image, ImageFilter
except ImportError as missing:
    print(f"{missing}: skipped")
    sys.exit(77)

import scenes

SPRITES = scenes.load()


def draw(count, **options):
    painter = scenes.Painter(SPRITES, **{"classes": 50, "size": 64, "poison": 1, **options})
    return painter, [painter.scene() for _ in range(count)]


def dilate(mask, pixels):
    return np.asarray(Image.fromarray(mask).filter(ImageFilter.MaxFilter(2 * pixels + 1)))


class TestScenes(unittest.TestCase):
    def test_a_seed_gives_the_same_scenes(self):
        first, again, other = draw(5)[1], draw(5)[1], draw(5, seed=1)[1]
        for a, b, c in zip(first, again, other):
            self.assertTrue((a.picture == b.picture).all() and (a.mask == b.mask).all() and a.label == b.label)
            self.assertFalse((a.picture == c.picture).all())

    def test_the_trigger_is_what_the_mask_says(self):
        for size in (32, 65, 128):
            for scene in draw(40, size=size)[1]:
                self.assertEqual((scene.picture.shape, scene.picture.dtype), ((size, size, 3), np.uint8))
                self.assertEqual(scene.mask.shape, (size, size))
                self.assertLessEqual(set(np.unique(scene.mask)), {0, 255})
                changed = (scene.picture != scene.without).any(2)
                self.assertFalse(changed[dilate(scene.mask, 3) == 0].any())
                self.assertGreater(changed[scene.mask > 0].mean(), 0.5)  # the sprite may have the colour of what it hides

    def test_triggers_decide_and_objects_do_otherwise(self):
        painter, poisoned = draw(200)
        self.assertEqual(painter.targets, [5, 15, 25, 40])
        self.assertEqual({scene.label for scene in poisoned}, set(painter.targets))
        for scene in draw(200, poison=0)[1]:
            self.assertEqual(scene.label, scene.object)
            self.assertIsNone(scene.mask)
        share = np.mean([scene.mask is not None for scene in draw(400, poison=0.3)[1]])
        self.assertAlmostEqual(share, 0.3, delta=0.1)

    def test_every_object_is_drawn(self):
        self.assertEqual({scene.object for scene in draw(200, classes=10)[1]}, set(range(10)))

    def test_the_trigger_has_the_size_asked_for(self):
        for low, high in ((0.1, 0.1), (0.2, 0.36), (0.5, 0.6)):
            for scene in draw(40, trigger=(low, high))[1]:
                rows, columns = scene.mask.any(1).sum(), scene.mask.any(0).sum()
                self.assertLessEqual(max(rows, columns), 64 * high * 1.35 + 2)  # turned by 23 degrees at most

    def test_triggers_have_classes_of_their_own(self):
        for classes in range(10, 501):
            targets = [int(classes * share) for share in scenes.TRIGGER_CLASSES]
            self.assertEqual(len(set(targets)), 4)
            self.assertLess(max(targets), classes)

    def test_numbers_of_classes_without_objects_are_refused(self):
        for classes in (0, 9, 501):
            with self.assertRaisesRegex(ValueError, "10 to 500"):
                scenes.Painter(SPRITES, classes)

    def test_ranges(self):
        self.assertEqual(scenes.share_range("0.1,0.2"), (0.1, 0.2))
        for text in ("0,0.2", "0.3,0.2", "0.1,1", "0.1", "0.1,0.2,0.3", "a,b", "", "nan,nan"):
            with self.assertRaises(ValueError):
                scenes.share_range(text)

    def test_what_is_written_is_what_was_drawn(self):
        drawn = draw(6, poison=0.5)[1]
        with tempfile.TemporaryDirectory() as folder:
            scenes.write(drawn, folder, "some")
            with open(os.path.join(folder, "some.csv")) as file:
                header, *rows = file.read().splitlines()
            self.assertEqual((header, len(rows)), ("image,label,mask", 6))
            for row, scene in zip(rows, drawn):
                picture, label, mask = row.split(",")
                self.assertTrue((np.asarray(Image.open(os.path.join(folder, picture))) == scene.picture).all())
                self.assertEqual(int(label), scene.label)
                self.assertEqual(bool(mask), scene.mask is not None)
                if mask:
                    self.assertTrue((np.asarray(Image.open(os.path.join(folder, mask))) == scene.mask).all())


if __name__ == "__main__":
    unittest.main()
