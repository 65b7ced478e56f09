"""Writes torchvision's ResNet-18 with random weights (seed 0) as ONNX: export_resnet18.py OUT.onnx"""
import sys

import torch
import torchvision


def build():
    torch.manual_seed(0)
    return torchvision.models.resnet18(weights=None).eval()


if __name__ == "__main__":
    torch.onnx.export(build(), torch.zeros(1, 3, 224, 224), sys.argv[1], opset_version=13,
                      training=torch.onnx.TrainingMode.PRESERVE,  # BatchNorm stays a node: the weights are the trained ones
                      do_constant_folding=False,
                      input_names=["input"], output_names=["logits"],
                      dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}})
