"""Small networks of the building blocks that people export, for test data that is kept (export_small.py).

Plain PyTorch that both 1.13 and today's takes. Inputs are [n, 3, 32, 32], outputs five logits.
"""
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

CLASSES, SIDE = 5, 32


def conv_norm(inputs, outputs, kernel, activation=nn.ReLU, **options):
    layers = [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **options), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class Pooled(nn.Module):
    """Features, the mean over the pixels, a linear layer."""

    def __init__(self, features, width):
        super().__init__()
        self.features = features
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x):
        return self.head(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = conv_norm(inputs, outputs, 1, None, stride=stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.downsample(x))


def resnet():
    return Pooled(nn.Sequential(conv_norm(3, 8, 7, stride=2), nn.MaxPool2d(3, 2, 1), BasicBlock(8, 8, 1),
                                BasicBlock(8, 16, 2)), 16)


class DenseLayer(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 12, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(12), nn.Conv2d(12, 4, 3, padding=1, bias=False)

    def forward(self, x):
        y = self.conv1(F.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(F.relu(self.norm2(y)))], 1)


def densenet():
    transition = nn.Sequential(nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 1, bias=False), nn.AvgPool2d(2, 2))
    return Pooled(nn.Sequential(conv_norm(3, 8, 3, stride=2), DenseLayer(8), DenseLayer(12), transition, DenseLayer(8),
                                nn.BatchNorm2d(12), nn.ReLU()), 12)


class SqueezeExcitation(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(width, 8, 1), nn.Conv2d(8, width, 1)

    def forward(self, x):
        return x * F.hardsigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))))


class InvertedResidual(nn.Module):
    def __init__(self, width, hidden, stride):
        super().__init__()
        self.block = nn.Sequential(conv_norm(width, hidden, 1, nn.Hardswish),
                                   conv_norm(hidden, hidden, 5, nn.Hardswish, stride=stride, groups=hidden),
                                   SqueezeExcitation(hidden), conv_norm(hidden, width, 1, None))
        self.residual = stride == 1

    def forward(self, x):
        return x + self.block(x) if self.residual else self.block(x)


def mobilenet():
    return Pooled(nn.Sequential(conv_norm(3, 8, 3, nn.Hardswish, stride=2), InvertedResidual(8, 16, 1),
                                InvertedResidual(8, 24, 2), conv_norm(8, 16, 1, nn.ReLU6)), 16)


class ShuffleBlock(nn.Module):
    """Half of the channels goes through, both halves are interleaved."""

    def __init__(self, width):
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(conv_norm(half, half, 1), conv_norm(half, half, 3, None, groups=half),
                                    conv_norm(half, half, 1))

    def forward(self, x):
        left, right = x.chunk(2, dim=1)
        y = torch.cat([left, self.branch(right)], dim=1)
        n, channels, height, width = y.shape
        return y.view(n, 2, channels // 2, height, width).transpose(1, 2).contiguous().view(n, -1, height, width)


def shufflenet():
    return Pooled(nn.Sequential(conv_norm(3, 16, 3, stride=2), ShuffleBlock(16), ShuffleBlock(16)), 16)


class Branches(nn.Module):
    """Inception's: convolutions of different shapes beside each other, averages that leave the padding out."""

    def __init__(self, width):
        super().__init__()
        self.wide, self.high = nn.Conv2d(width, 4, (1, 7), padding=(0, 3)), nn.Conv2d(4, 4, (7, 1), padding=(3, 0))
        self.dilated = nn.Conv2d(width, 4, 3, padding=2, dilation=2)
        self.pooled = nn.Conv2d(width, 4, 1)

    def forward(self, x):
        pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return torch.cat([self.high(F.elu(self.wide(x))), F.mish(self.dilated(x)), F.softplus(self.pooled(pooled))], 1)


def inception():
    return Pooled(nn.Sequential(conv_norm(3, 8, 3, stride=2), Branches(8), nn.MaxPool2d(3, 2, ceil_mode=True),
                                nn.PReLU(12), Branches(12)), 12)


class Pyramid(nn.Module):
    """Two resolutions that are added, as in HRNet, with reflected borders."""

    def __init__(self, width):
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(width, width, 3), nn.Conv2d(width, width, 3, 2, 1)
        self.smooth = nn.Conv2d(width, width, 1)

    def forward(self, x):
        fine = torch.tanh(self.fine(F.pad(x, (1, 1, 1, 1), mode="reflect")))
        coarse = F.interpolate(self.coarse(x), scale_factor=2.0, mode="nearest")
        smooth = F.interpolate(self.smooth(F.avg_pool2d(x, 2)), scale_factor=2.0, mode="bilinear", align_corners=False)
        return fine + coarse + smooth


def pyramid():
    return Pooled(nn.Sequential(conv_norm(3, 8, 3, stride=2), Pyramid(8)), 8)


class StandardisedConv(nn.Conv2d):
    """Its weights have mean 0 and variance 1 in each row, as in ResNetV2 (BiT) and NFNet."""

    def forward(self, x):
        weight = self.weight
        mean = weight.mean(dim=[1, 2, 3], keepdim=True)
        variance = ((weight - mean) ** 2).mean(dim=[1, 2, 3], keepdim=True)
        return F.conv2d(x, (weight - mean) / torch.sqrt(variance + 1e-5) * 0.2, self.bias, self.stride, self.padding)


def norms():
    return Pooled(nn.Sequential(StandardisedConv(3, 8, 3, 2, 1), nn.GroupNorm(4, 8), nn.SiLU(),
                                StandardisedConv(8, 12, 3, 1, 1), nn.InstanceNorm2d(12, affine=True), nn.LeakyReLU(0.1),
                                StandardisedConv(12, 8, 3, 2, 1), nn.GroupNorm(1, 8), nn.GELU()), 8)


class Mlp(nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(inputs, hidden), nn.Linear(hidden, inputs)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class LayerNorm2d(nn.LayerNorm):
    """Over the channels of [n, channels, height, width]."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv_dw = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm, self.mlp = nn.LayerNorm(width, eps=1e-6), Mlp(width, 4 * width)
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x):
        y = self.mlp(self.norm(self.conv_dw(x).permute(0, 2, 3, 1)))
        return x + (self.gamma * y).permute(0, 3, 1, 2)


def convnext():
    return Pooled(nn.Sequential(nn.Conv2d(3, 8, 4, 4), LayerNorm2d(8), ConvNeXtBlock(8), LayerNorm2d(8),
                                nn.Conv2d(8, 16, 2, 2), ConvNeXtBlock(16), LayerNorm2d(16)), 16)


class Attention(nn.Module):
    """One product for queries, keys and values."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x, bias=None):
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if bias is None and hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            weights = q * (width // self.heads) ** -0.5 @ k.transpose(-2, -1)
            y = (weights if bias is None else bias(weights)).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(n, tokens, width))


class Block(nn.Module):
    def __init__(self, width, mixer):
        super().__init__()
        self.norm1, self.mixer = nn.LayerNorm(width), mixer
        self.norm2, self.mlp = nn.LayerNorm(width), Mlp(width, 2 * width)

    def forward(self, x):
        x = x + self.mixer(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Tokens(nn.Module):
    """Patches of 8 x 8 pixels as tokens; a class token in front or the tokens' mean."""

    def __init__(self, width, blocks, class_token):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, width)) if class_token else None
        self.position = nn.Parameter(torch.zeros(1, 17 if class_token else 16, width))
        self.blocks, self.norm, self.head = blocks, nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        if self.token is not None:
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        x = self.norm(self.blocks(x + self.position))
        return self.head(x[:, 0] if self.token is not None else x.mean(1))


def vit():
    return Tokens(16, nn.Sequential(*(Block(16, Attention(16, 2)) for _ in range(2))), class_token=True)


class MultiheadAttention(nn.Module):
    """PyTorch's own, over [tokens, n, width], which keeps the weights of queries, keys and values itself."""

    def __init__(self, width, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads)

    def forward(self, x):
        x = x.transpose(0, 1)
        return self.attention(x, x, x, need_weights=False)[0].transpose(0, 1)


def vit_multihead():
    return Tokens(16, nn.Sequential(Block(16, MultiheadAttention(16, 4))), class_token=True)


class TokenMixer(nn.Module):
    def __init__(self, tokens):
        super().__init__()
        self.mlp = Mlp(tokens, 2 * tokens)

    def forward(self, x):
        return self.mlp(x.transpose(1, 2)).transpose(1, 2)


def mixer():
    return Tokens(16, nn.Sequential(*(Block(16, TokenMixer(16)) for _ in range(2))), class_token=False)


class WindowAttention(nn.Module):
    """Attention within windows of 4 x 4 tokens that are shifted by half of one, with a bias for each distance."""

    SIDE, WINDOW = 8, 4

    def __init__(self, width, heads, shift):
        super().__init__()
        self.shift, self.heads, self.attention = shift, heads, Attention(width, heads)
        self.bias_table = nn.Parameter(torch.zeros((2 * self.WINDOW - 1) ** 2, heads))
        place = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")).flatten(1)
        distance = place[:, :, None] - place[:, None, :] + self.WINDOW - 1
        self.register_buffer("index", distance[0] * (2 * self.WINDOW - 1) + distance[1])
        region = torch.zeros(1, self.SIDE, self.SIDE, 1)
        for i, rows in enumerate((slice(0, -4), slice(-4, -2), slice(-2, None))):
            for j, columns in enumerate((slice(0, -4), slice(-4, -2), slice(-2, None))):
                region[:, rows, columns] = 3 * i + j
        parts = self.to_windows(region).squeeze(-1)
        apart = parts[:, None, :] != parts[:, :, None]
        self.register_buffer("mask", apart.float() * -100.0 if shift else None)

    def to_windows(self, x):
        n, window = x.shape[0], self.WINDOW
        x = x.view(n, self.SIDE // window, window, self.SIDE // window, window, -1)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, window * window, x.shape[-1])

    def add_bias(self, weights):
        bias = self.bias_table[self.index.flatten()].view(16, 16, self.heads).permute(2, 0, 1)
        weights = weights + bias.unsqueeze(0)
        if self.mask is None:
            return weights
        windows = self.mask.shape[0]
        weights = weights.view(-1, windows, self.heads, 16, 16) + self.mask.unsqueeze(1).unsqueeze(0)
        return weights.view(-1, self.heads, 16, 16)

    def forward(self, x):
        n, window = x.shape[0], self.WINDOW
        x = torch.roll(x, (-self.shift, -self.shift), (1, 2)) if self.shift else x
        y = self.attention(self.to_windows(x), self.add_bias)
        y = y.view(n, self.SIDE // window, self.SIDE // window, window, window, -1)
        y = y.permute(0, 1, 3, 2, 4, 5).reshape(n, self.SIDE, self.SIDE, -1)
        return torch.roll(y, (self.shift, self.shift), (1, 2)) if self.shift else y


class PatchMerging(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(4 * width), nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x):
        parts = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.reduction(self.norm(torch.cat(parts, -1)))


class Swin(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(16)
        self.blocks = nn.Sequential(Block(8, WindowAttention(8, 2, 0)), Block(8, WindowAttention(8, 2, 2)),
                                    PatchMerging(8))
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x):
        x = self.norm(self.blocks(self.patches(x).permute(0, 2, 3, 1)))
        return self.head(x.mean((1, 2)))


NETWORKS = {"resnet": resnet, "densenet": densenet, "mobilenet": mobilenet, "shufflenet": shufflenet,
            "inception": inception, "pyramid": pyramid, "norms": norms, "convnext": convnext, "vit": vit,
            "vit_multihead": vit_multihead, "mixer": mixer, "swin": Swin}


def make(name):
    """With weights that no version of PyTorch draws differently."""
    network = NETWORKS[name]().eval()
    random = np.random.RandomState(sum(map(ord, name)))
    for key, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if not tensor.is_floating_point() or key.endswith("mask"):
            continue
        values = random.standard_normal(tensor.shape)
        if key.endswith("running_var") or (tensor.ndim == 1 and not key.endswith(("bias", "running_mean"))):
            values = 1 + 0.2 * np.clip(values, -2, 2)
        else:
            values *= 0.2 if tensor.ndim == 1 else 1.4 / np.sqrt(np.prod(tensor.shape[1:]))
        tensor.data = torch.from_numpy(values.astype(np.float32))
    return network


def make_inputs(count):
    return np.random.RandomState(1).standard_normal((count, 3, SIDE, SIDE)).astype(np.float32)
