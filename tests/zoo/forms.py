#!/usr/bin/env python3
"""Write one small ResNet in the forms that other tools leave files in, and compare what spade makes of them with onnxruntime.

By hand, in zoo.py's environment (it needs Pillow and onnxruntime's quantisation too):

    zoo/bin/python tests/zoo/forms.py --folder DIR [--spade build/spade] [NAME ...]

A form is right where the scores of two pictures are what onnxruntime computes of the file, up to LIMIT of the largest (and of
quantised files up to one step of their last scale), or where spade refuses it with the words that are said below.
"""
import argparse
import json
import pathlib
import tempfile
import warnings

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper, version_converter
from PIL import Image

import small
from checks import Checks, Refused, relative_error, run

LIMIT = 1e-4
FORMS = {}
REFUSALS = {}  # name -> words of the message


def form(function):
    FORMS[function.__name__] = function
    return function


def refused(words):
    def register(function):
        REFUSALS[function.__name__] = words
        return form(function)

    return register


def export_plain(path, batch="batch", opset=17):
    """The network that every form is made of: input [batch, 3, 32, 32], logits [batch, 5]."""
    axes = {"input": {0: "batch"}, "logits": {0: "batch"}} if batch == "batch" else None
    x = torch.zeros([1 if batch == "batch" else batch, 3, small.SIDE, small.SIDE])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(small.make("resnet"), (x,), str(path), dynamo=False, opset_version=opset, input_names=["input"],
                          output_names=["logits"], dynamic_axes=axes)
    return onnx.load(path)


def nodes_of(model, op_type):
    return [node for node in model.graph.node if node.op_type == op_type]


def constant(model, name, values, dtype=np.float32):
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype), name))
    return name


def set_input(model, element, shape):
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("input", element, shape))


def set_output(model, name, shape, element=TensorProto.FLOAT):
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(name, element, shape))


def put_before(model, *nodes):
    """Nodes between the input and what took it; the last one's output is "planar"."""
    for node in model.graph.node:
        node.input[:] = ["planar" if name == "input" else name for name in node.input]
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *kept])
    return model


def put_behind(model, *nodes):
    model.graph.node.extend(nodes)
    return model


@form
def plain(model, _):
    return model


@form
def opset_9(_, path):
    return export_plain(path, opset=9)


@form
def opset_24(model, _):
    return version_converter.convert_version(model, 24)


@form
def constants_as_nodes(model, _):
    weights = [helper.make_node("Constant", [], [w.name], value=w) for w in model.graph.initializer]
    del model.graph.initializer[:]
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*weights, *kept])
    return model


@form
def initializers_as_inputs(model, _):
    for weight in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
    return model


@form
def external_data(model, path):
    onnx.save(model, path, save_as_external_data=True, location=path.name + ".data", size_threshold=0)


@form
def shared_weight(model, _):
    """Both convolutions of the first block take one."""
    first, second = [node for node in nodes_of(model, "Conv") if "/features/features.2/" in node.name][:2]
    second.input[1] = first.input[1]
    return model


@form
def auto_pad(model, _):
    for node in nodes_of(model, "Conv"):
        pads = next(a for a in node.attribute if a.name == "pads")
        strides = next(a for a in node.attribute if a.name == "strides")
        if list(strides.ints) == [1, 1]:
            node.attribute.remove(pads)
            node.attribute.append(helper.make_attribute("auto_pad", "SAME_UPPER"))
    return model


@form
def batch_norm_in_training_mode(model, _):
    """As tools leave it that keep an unused training output: its statistics are the batch's, which mix pictures."""
    channels = small.make("resnet").features[0][1].num_features
    conv = nodes_of(model, "Conv")[0]
    scale, bias = constant(model, "bn_scale", np.ones(channels)), constant(model, "bn_bias", np.zeros(channels))
    mean, variance = constant(model, "bn_mean", np.zeros(channels)), constant(model, "bn_var", np.ones(channels))
    output = conv.output[0]
    conv.output[0] = "before_bn"
    node = helper.make_node("BatchNormalization", ["before_bn", scale, bias, mean, variance], [output, "mean_", "var_"], "bn_training",
                            training_mode=1)
    model.graph.node.insert(list(model.graph.node).index(conv) + 1, node)
    return model


REFUSALS["batch_norm_in_training_mode"] = "training"


@form
def static_batch_of_1(_, path):
    return export_plain(path, 1)


@form
def static_batch_of_4(_, path):
    return export_plain(path, 4)


@form
def open_size(model, _):
    set_input(model, TensorProto.FLOAT, ["batch", 3, "height", "width"])
    return model


@form
def double(model, _):
    """All weights, the input and the logits float64. onnxruntime has no such convolutions: compared with the plain form."""
    for weight in model.graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float64), weight.name))
    set_input(model, TensorProto.DOUBLE, ["batch", 3, small.SIDE, small.SIDE])
    set_output(model, "logits", ["batch", small.CLASSES], TensorProto.DOUBLE)
    del model.graph.value_info[:]
    return model


@form
def float16(model, _):
    """Weights and arithmetic float16 between casts. onnxruntime rounds every value to float16, spade only the weights."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=True)


@form
def bfloat16_weight(model, _):
    """One weight is kept in bfloat16, and cast."""
    weight = next(w for w in model.graph.initializer if w.name == nodes_of(model, "Conv")[1].input[1])
    values = (numpy_helper.to_array(weight).view(np.uint32) >> 16).astype(np.uint16)
    short = helper.make_tensor(weight.name + "_bf16", TensorProto.BFLOAT16, weight.dims, values.tobytes(), raw=True)
    node = helper.make_node("Cast", [short.name], [weight.name], to=TensorProto.FLOAT)
    model.graph.initializer.remove(weight)
    model.graph.initializer.append(short)
    model.graph.node.insert(0, node)
    return model


@form
def uint8_channels_last(model, _):
    """A picture as a camera gives it: [n, h, w, 3] of bytes; cast, scaled and turned in the graph."""
    set_input(model, TensorProto.UINT8, ["batch", small.SIDE, small.SIDE, 3])
    return put_before(model, helper.make_node("Cast", ["input"], ["bytes"], to=TensorProto.FLOAT),
                      helper.make_node("Mul", ["bytes", constant(model, "scale", 1 / 255)], ["shares"]),
                      helper.make_node("Transpose", ["shares"], ["planar"], perm=[0, 3, 1, 2]))


@form
def uint8(model, _):
    set_input(model, TensorProto.UINT8, ["batch", 3, small.SIDE, small.SIDE])
    return put_before(model, helper.make_node("Cast", ["input"], ["bytes"], to=TensorProto.FLOAT),
                      helper.make_node("Div", ["bytes", constant(model, "scale", 255)], ["planar"]))


@form
def channels_last(model, _):
    set_input(model, TensorProto.FLOAT, ["batch", small.SIDE, small.SIDE, 3])
    return put_before(model, helper.make_node("Transpose", ["input"], ["planar"], perm=[0, 3, 1, 2]))


@form
def grey(model, _):
    """One channel, copied to three."""
    set_input(model, TensorProto.FLOAT, ["batch", 1, small.SIDE, small.SIDE])
    return put_before(model, helper.make_node("Tile", ["input", constant(model, "copies", [1, 3, 1, 1], np.int64)], ["planar"]))


@form
def alpha(model, _):
    """Four channels, of which the network takes the last three: an array, and a picture with alpha."""
    set_input(model, TensorProto.FLOAT, ["batch", 4, small.SIDE, small.SIDE])
    bounds = [constant(model, name, [value], np.int64) for name, value in (("start", 1), ("end", 4), ("axis", 1))]
    return put_before(model, helper.make_node("Slice", ["input", *bounds], ["planar"]))


@form
def normalised_in_the_graph(model, _):
    mean = constant(model, "mean", np.reshape([0.485, 0.456, 0.406], [3, 1, 1]))
    std = constant(model, "std", np.reshape([0.229, 0.224, 0.225], [3, 1, 1]))
    return put_before(model, helper.make_node("Sub", ["input", mean], ["centred"]), helper.make_node("Div", ["centred", std], ["planar"]))


@form
def resized_in_the_graph(model, _):
    set_input(model, TensorProto.FLOAT, ["batch", 3, 2 * small.SIDE, 2 * small.SIDE])
    scales = constant(model, "scales", [1, 1, 0.5, 0.5])
    return put_before(model, helper.make_node("Resize", ["input", "", scales], ["planar"], mode="linear"))


@form
def softmax(model, _):
    set_output(model, "probabilities", ["batch", small.CLASSES])
    return put_behind(model, helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))


@form
def sigmoid(model, _):
    set_output(model, "probabilities", ["batch", small.CLASSES])
    return put_behind(model, helper.make_node("Sigmoid", ["logits"], ["probabilities"]))


@form
def logits_of_rank_3(model, _):
    set_output(model, "sequence", ["batch", 1, small.CLASSES])
    return put_behind(model, helper.make_node("Unsqueeze", ["logits", constant(model, "axis", [1], np.int64)], ["sequence"]))


@form
def label_output(model, _):
    """Of the network the class with the largest logit alone."""
    set_output(model, "label", ["batch"], TensorProto.INT64)
    return put_behind(model, helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0))


@form
def two_outputs(model, _):
    """Features beside the logits; --output-name says which."""
    features = nodes_of(model, "Gemm")[0].input[0]
    model.graph.output.append(helper.make_tensor_value_info(features, TensorProto.FLOAT, ["batch", "features"]))
    return model


@form
def zip_map(model, _):
    """As scikit-learn's converters end: a label, and a map from class to probability."""
    put_behind(model, helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
               helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
               helper.make_node("ZipMap", ["probabilities"], ["map"], domain="ai.onnx.ml", classlabels_int64s=list(range(small.CLASSES))))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]))
    item = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    model.graph.output.append(helper.make_value_info("map", helper.make_sequence_type_proto(item)))
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return model


def optimise(path, level):
    """What onnxruntime writes of its own optimisation."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(path.with_suffix(".optimised"))
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return onnx.load(path.with_suffix(".optimised"))


@form
def optimised_by_onnxruntime(_, path):
    import onnxruntime

    return optimise(path, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC)


@refused("FusedConv")
def fused_by_onnxruntime(_, path):
    import onnxruntime

    return optimise(path, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)


class Calibration:
    """Pictures for static quantisation."""

    def __init__(self):
        self.left = [{"input": x[None].astype(np.float32) / 255} for x in make_pictures().transpose(0, 3, 1, 2)]

    def get_next(self):
        return self.left.pop() if self.left else None


def quantise(path, quant_format):
    from onnxruntime.quantization import quantize_static

    quantize_static(str(path), str(path.with_suffix(".quantised")), Calibration(), quant_format=quant_format, per_channel=True)
    return onnx.load(path.with_suffix(".quantised"))


@form
def quantised_qdq(_, path):
    """Computed dequantised: without the rounding of activations, that onnxruntime does."""
    from onnxruntime.quantization import QuantFormat

    return quantise(path, QuantFormat.QDQ)


@form
def quantised_softmax(model, path):
    """Rounded to integers behind the softmax too."""
    from onnxruntime.quantization import QuantFormat

    onnx.save(softmax(model, path), path)
    return quantise(path, QuantFormat.QDQ)


@refused("QLinearConv")
def quantised_operators(_, path):
    from onnxruntime.quantization import QuantFormat

    return quantise(path, QuantFormat.QOperator)


@refused("DynamicQuantizeLinear")
def quantised_dynamically(_, path):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(str(path), str(path.with_suffix(".quantised")), weight_type=QuantType.QUInt8)
    return onnx.load(path.with_suffix(".quantised"))


@refused("MatMulNBits")
def quantised_to_4_bits(model, _):
    """The classifier as onnxruntime's weight-only quantisation writes it."""
    features = small.make("resnet").head.in_features
    blocks = constant(model, "blocks", np.zeros([small.CLASSES, 1, 8]), np.uint8)
    scales = constant(model, "scales", np.ones([small.CLASSES]))
    node = nodes_of(model, "Gemm")[0]
    new = helper.make_node("MatMulNBits", [node.input[0], blocks, scales], list(node.output), "head", domain="com.microsoft",
                           K=features, N=small.CLASSES, bits=4, block_size=16)
    model.graph.node.remove(node)
    model.graph.node.append(new)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


# How far the scores may be: onnxruntime rounds activations to float16, or to eight bits, where spade computes in float32.
LIMITS = {"float16": 5e-3, "quantised_qdq": 5e-2, "quantised_softmax": 5e-2}
OPTIONS = {"two_outputs": ["--output-name", "logits"], "open_size": ["--crop", str(small.SIDE)]}


def make_pictures(side=small.SIDE):
    """Two of random bytes, [2, side, side, 3]."""
    return np.random.default_rng(7).integers(0, 256, [2, side, side, 3], np.uint8)


def make_arguments(folder, pixels, session, as_array):
    """What spade is given of pixels [h, w, c]: a picture or an array."""
    channels = pixels.shape[2]
    if as_array:
        np.save(folder / "inputs.npy", feed(session, pixels)["input"])
        return folder / "inputs.npy"
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(folder / "picture.png")
    return folder / "picture.png"


def feed(session, pixels):
    """The input of the session, made of pixels [h, w, c] without any normalisation but the scale of its type."""
    value = session.get_inputs()[0]
    x = pixels[None] if value.shape[3] in (1, 3, 4) else pixels.transpose(2, 0, 1)[None]
    if value.type == "tensor(uint8)":
        return {"input": np.ascontiguousarray(x)}
    batch = value.shape[0] if isinstance(value.shape[0], int) else 1
    return {"input": np.repeat((x / 255).astype(np.float32), batch, 0)}


def scores_of(name, session, x):
    """[classes]; of a file that gives only the label, the label."""
    outputs = dict(zip((o.name for o in session.get_outputs()), session.run(None, x)))
    if "map" in outputs:
        return [outputs["map"][0][c] for c in range(small.CLASSES)]
    if list(outputs) == ["label"]:
        return outputs["label"][0]
    key = "logits" if name == "two_outputs" else next(iter(outputs))
    return outputs[key][0].reshape(-1)


def check(name, spade, path):
    """What to print, and whether it is right."""
    if name in REFUSALS:
        try:
            run(spade, "info", path)
        except Refused as message:
            return f"refused: {message}", REFUSALS[name] in str(message)
        return "not refused", False
    session = Checks.open_session(path.with_name("plain.onnx") if name == "double" else path)
    shape = session.get_inputs()[0].shape
    channels = next(n for n in (shape[1], shape[3]) if n in (1, 3, 4))
    worst = 0.0
    for number, pixels in enumerate(make_pictures(shape[2] if isinstance(shape[2], int) else small.SIDE)):
        pixels = np.concatenate([pixels, np.flip(pixels[..., :1], 0)], -1)[..., :channels]
        expected = scores_of(name, session, feed(session, pixels))
        with tempfile.TemporaryDirectory(prefix="forms") as folder:
            folder = pathlib.Path(folder)
            given = make_arguments(folder, pixels, session, channels == 4 and number == 0)
            run(spade, "explain", path, given, "-o", folder / "out", "--no-trace", "--no-report",
                "--preprocess", "none", "--resize", "0", "--device", "cpu", *OPTIONS.get(name, []))
            dense = json.loads((folder / "out/results.json").read_text())["inputs"][0]["dense"]
        if np.ndim(expected) == 0:
            worst = max(worst, float(int(np.argmax(dense["logits"])) != int(expected)))
        else:
            says = dense["scores" if name in ("softmax", "quantised_softmax", "sigmoid", "zip_map") else "logits"]
            worst = max(worst, relative_error(says, expected))
    return f"scores {worst:.1e}", worst <= LIMITS.get(name, LIMIT)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spade", default="build/spade")
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("names", nargs="*", help=", ".join(FORMS))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    wrong = 0
    for name in arguments.names or FORMS:  # the first is the plain one
        path = arguments.folder / f"{name}.onnx"
        made = FORMS[name](export_plain(path), path)
        if made is not None:
            onnx.save(made, path)
        try:
            text, is_right = check(name, arguments.spade, path)
        except Refused as message:
            text, is_right = f"refused: {message}", False
        wrong += not is_right
        print(f"{name:28} {'right' if is_right else 'WRONG'}  {text}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
