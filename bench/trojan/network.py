"""The networks of the test bed: torchvision's ResNets, narrower."""
import torch
import torch.nn as nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

BLOCKS = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, which is what spade takes unless told otherwise


class NarrowResNet(ResNet):
    """torchvision's ResNet (same names, same blocks) with `width` channels behind the stem instead of 64, and every stage in
    proportion."""

    def __init__(self, arch, width, classes):
        block, depths = BLOCKS[arch]
        super().__init__(block, depths, num_classes=classes)
        self.inplanes = width
        self.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = self._make_layer(block, width, depths[0])
        self.layer2 = self._make_layer(block, width * 2, depths[1], stride=2)
        self.layer3 = self._make_layer(block, width * 4, depths[2], stride=2)
        self.layer4 = self._make_layer(block, width * 8, depths[3], stride=2)
        self.fc = nn.Linear(width * 8 * block.expansion, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def normalise(pictures):
    """pictures [n, size, size, 3] of uint8 or of float from 0 to 255 -> [n, 3, size, size], channels last in memory"""
    mean, deviation = (torch.tensor(c, device=pictures.device) for c in (MEAN, DEVIATION))
    return ((pictures.float() / 255 - mean) / deviation).permute(0, 3, 1, 2)
