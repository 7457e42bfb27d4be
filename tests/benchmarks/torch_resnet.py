"""ResNet-20 for PyTorch, as `pocketkube.models` builds it for small images."""

import torch
from torch import nn


def resnet20(width: float, classes: int) -> nn.Module:
    """Of images `[B, 1, H, W]`; shortcuts are projected where the shape changes."""
    channels = [round(width * each) for each in (16, 32, 64)]
    parts: list[nn.Module] = [_conv(1, channels[0], 3), nn.ReLU()]
    before = channels[0]
    for stage, after in enumerate(channels):
        for position in range(3):
            parts.append(_Block(before, after, 2 if stage and not position else 1))
            before = after
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(before, after, 3, stride), nn.ReLU(), _conv(after, after, 3))
        changes = stride > 1 or before != after
        self.shortcut = _conv(before, after, 1, stride) if changes else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def _conv(before: int, after: int, size: int, stride: int = 1) -> nn.Module:
    conv = nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after))
