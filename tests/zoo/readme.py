#!/usr/bin/env python3
"""Try README's export lines word for word, with the packages there are: each network with each way of exporting it.

    readme.py [--spade build/spade] [--all]

Weights are random: nothing is downloaded. spade must load the file and give PyTorch's own logits, up to 1e-4 of the largest. Exit code 77
where PyTorch and torchvision are missing; --all insists on timm and transformers, too (they need PyPI's PyTorch).
A block of README's begins with a comment: the package it takes, or the versions of PyTorch that it is for.
"""
import argparse
import os
import pathlib
import re
import sys
import tempfile
import warnings

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
PACKAGES = ("torchvision", "timm", "transformers")


def read_blocks():
    """What a block begins with -> its lines."""
    return dict(re.findall(r"```python\n# (.*)\n((?:.*\n)*?)```", README.read_text()))


def is_for_this_version(title):
    import torch

    found = re.match(r"PyTorch (before )?(\d+)\.(\d+)", title)
    if not found:
        return False
    is_older = tuple(int(n) for n in torch.__version__.split(".")[:2]) < (int(found[2]), int(found[3]))
    return is_older == bool(found[1])


def keep_random_weights(package):
    """Where the lines ask for trained weights."""
    import torch

    if package == "torchvision":
        torch.hub.load_state_dict_from_url = lambda *_, **__: {}
        torch.nn.Module.load_state_dict = lambda *_, **__: None
        import torchvision.models._api as api

        api.load_state_dict_from_url = torch.hub.load_state_dict_from_url
    elif package == "timm":
        import timm.models._builder as builder

        builder.load_pretrained = lambda *_, **__: None
    else:
        import transformers

        def from_pretrained(_, name):
            """ViT-B/16, what README's name stands for, with fewer blocks."""
            assert name == "google/vit-base-patch16-224"
            return transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=1000, num_hidden_layers=2))

        transformers.AutoModelForImageClassification.from_pretrained = classmethod(from_pretrained)


def try_lines(spade, package, network_lines, export_lines):
    """The relative error of the logits."""
    import torch
    from checks import relative_error, spade_explain

    scope = {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        keep_random_weights(package)
        torch.manual_seed(0)
        exec(network_lines, scope)
        with torch.no_grad():
            exec(export_lines, scope)
            logits = scope["net"].eval()(scope["x"])
        results = spade_explain(spade, "net.onnx", scope["x"].numpy())
        logits = getattr(logits, "logits", logits).numpy()
        os.chdir("/")
    return relative_error([item["dense"]["logits"] for item in results["inputs"]], logits)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spade", default="build/spade", type=lambda path: str(pathlib.Path(path).resolve()))
    parser.add_argument("--all", action="store_true")
    arguments = parser.parse_args()
    try:
        import torch
        import torchvision  # noqa: F401
    except ImportError:
        print("PyTorch and torchvision are not installed: skipped")
        return 77
    blocks = read_blocks()
    missing = [p for p in PACKAGES if p not in blocks]
    exports = [title for title in blocks if is_for_this_version(title)]
    if missing or not exports:
        print(f"README has no lines for {', '.join(missing) or 'PyTorch ' + torch.__version__}")
        return 1
    wrong = 0
    for package in PACKAGES:
        try:
            __import__(package)
        except ImportError:
            print(f"{package} is not installed")
            wrong += arguments.all
            continue
        for title in exports:
            error = try_lines(arguments.spade, package, blocks[package], blocks[title])
            print(f"{package}, {title}: logits' relative error {error:.1e}", flush=True)
            wrong += not error <= 1e-4
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
