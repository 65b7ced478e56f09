"""What spade makes of an exported network, against onnxruntime and PyTorch. Every check gives a short text, and whether it is right."""
import json
import pathlib
import subprocess
import tempfile

import numpy as np

LOGITS_LIMIT = 1e-4    # relative, against onnxruntime; where that is beyond it, four times its own error against PyTorch in float64
GRADIENT_LIMIT = 1e-5  # relative, against PyTorch in float64; or four times PyTorch's own error in float32
VARIANTS = 2
PICTURES = 4


class Refused(Exception):
    """spade's own message."""


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise Refused((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return done.stdout


def spade_explain(spade, model, x, *options, maps=None):
    """results.json of pictures that are normalised already; maps: a list that each picture's map is appended to."""
    with tempfile.TemporaryDirectory(prefix="zoo") as folder:
        out = pathlib.Path(folder) / "out"
        np.save(f"{folder}/x.npy", x)
        run(spade, "explain", model, f"{folder}/x.npy", "-o", out, "--resize", "0", "--device", "cpu", "--variants", VARIANTS,
            "--no-report", *([] if "--sparsity" in options else ["--no-trace"]), *options)
        results = json.loads((out / "results.json").read_text())
        for item in results["inputs"] if maps is not None else []:
            maps.append(np.load(out / item["name"] / "dense_input_x_gradient.npy"))
        return results


def relative_error(values, expected):
    """The largest difference, as a share of the largest value."""
    values, expected = np.asarray(values, np.float64), np.asarray(expected, np.float64)
    return float(np.abs(values.reshape(expected.shape) - expected).max() / np.abs(expected).max())


class Checks:
    """Of one file, and of the network that it was exported from (a function that makes it; None: not known)."""

    def __init__(self, spade, path, make_network):
        self.spade, self.path, self.make_network = spade, path, make_network
        self.session = self.open_session(path)
        shape = [d if isinstance(d, int) else 224 for d in self.session.get_inputs()[0].shape]
        self.one_by_one = isinstance(self.session.get_inputs()[0].shape[0], int)
        random = np.random.default_rng(0)
        numbers = random.standard_normal([PICTURES, *shape[1:]], np.float32)
        self.x = np.copysign(np.abs(numbers) + np.float32(0.1), numbers)  # away from zero: maps are divided by it

    @staticmethod
    def open_session(path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def expected_logits(self, session, x):
        parts = np.split(x, len(x)) if self.one_by_one else [x]
        return np.concatenate([session.run(None, {session.get_inputs()[0].name: part})[0] for part in parts])

    def logits(self):
        """Of all pictures."""
        results = spade_explain(self.spade, self.path, self.x)
        logits = [item["dense"]["logits"] for item in results["inputs"]]
        expected = self.expected_logits(self.session, self.x)
        error = relative_error(logits, expected)
        if error <= LOGITS_LIMIT or not self.make_network:
            return f"{error:.1e}", error <= LOGITS_LIMIT
        exact = self.exact_logits()  # a network may lose more than that to float32, in onnxruntime too
        error, theirs = relative_error(logits, exact), relative_error(expected, exact)
        return f"{error:.1e} of float64 (onnxruntime {theirs:.1e})", error <= max(LOGITS_LIMIT, 4 * theirs) and theirs < 0.01

    def exact_logits(self):
        """PyTorch's, in float64."""
        import torch

        with torch.no_grad():
            return self.make_network().double()(torch.from_numpy(self.x).double()).numpy()

    def gradients(self):
        """Of the first class's logit by one picture. A rectifier's input within rounding of zero makes one picture's gradient
        differ; a wrong rule is wrong on every picture: a picture that differs is followed by another."""
        for x in np.split(self.x, len(self.x)):
            maps = []
            spade_explain(self.spade, self.path, x, "--method", "input_x_gradient", "--class", "0", maps=maps)
            exact, logits = self.torch_gradient(x.astype(np.float64))
            if relative_error(self.expected_logits(self.session, x), logits) > 1e-3:
                return "the file has other weights: export it again", False
            error = relative_error(maps[0].astype(np.float64) / x[0], exact)
            own = relative_error(self.torch_gradient(x)[0], exact)
            if error <= max(GRADIENT_LIMIT, 4 * own):
                return f"{error:.1e} (PyTorch {own:.1e})", True
        return f"{error:.1e} (PyTorch {own:.1e})", False

    def torch_gradient(self, x):
        import torch

        # twice the picture: on the CPU, PyTorch's BatchNorm takes one picture's gradient in the channels' order for one in the rows'
        x = torch.from_numpy(np.concatenate([x, x])).requires_grad_()
        network = self.make_network().to(x.dtype)
        logits = network(x)
        gradient, = torch.autograd.grad(logits[0, 0], x)
        return gradient[0].numpy(), logits[:1].detach().numpy()

    def layers(self):
        """Their names, in order."""
        import torch
        from layers import add_in_projections, find_wrong, layer_names

        names = [layer["name"] for layer in json.loads(run(self.spade, "info", self.path, "--json"))["layers"]]
        expected = layer_names(self.make_network(), torch.from_numpy(self.x[:1]), names)
        wrong = find_wrong(names, add_in_projections(expected, self.path))
        return (str(len(names)), True) if wrong is None else (f"{wrong} of {len(names)}", False)

    def sparse(self):
        """onnxruntime's logits of the file that `spade trace` writes are the trace's."""
        x, options = self.x[:1], ["--sparsity", "0.5"]
        results = spade_explain(self.spade, self.path, x, "--no-dense", *options)
        with tempfile.TemporaryDirectory(prefix="zoo") as folder:
            np.save(f"{folder}/x.npy", x)
            run(self.spade, "trace", self.path, f"{folder}/x.npy", "-o", f"{folder}/sparse.onnx", "--resize", "0", "--device", "cpu",
                "--variants", VARIANTS, *options)
            expected = self.expected_logits(self.open_session(f"{folder}/sparse.onnx"), x)
        error = relative_error(results["inputs"][0]["trace"]["logits"], expected)
        if error <= LOGITS_LIMIT or not self.make_network:
            return f"{error:.1e}", error <= LOGITS_LIMIT
        rounding = relative_error(self.expected_logits(self.session, self.x), self.exact_logits())
        return f"{error:.1e} (onnxruntime's dense network {rounding:.1e})", error <= rounding < 0.01


CHECKS = {"logits": Checks.logits, "gradients": Checks.gradients, "layers": Checks.layers, "sparse": Checks.sparse}
NEED_THE_NETWORK = ("gradients", "layers")
