# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""The adversarial term of the VAE's training: a patch discriminator and both sides' gradients.

No reference package has the discriminator as a class, so it is put together here from torch's own modules, and its losses are
written as the field trains with them: two backward passes, one with the discriminator held still, one with what was decoded
detached. tests/train/discriminator_test.cpp does both in one pass.
"""

import torch
import torch.nn.functional as F

from .recording import Recorder, Sink

WIDTH, DEPTH, GROUP = 4, 2, 8


class Discriminator(torch.nn.Module):
    def __init__(self):
        super().__init__()
        widths = [3] + [WIDTH * min(2**i, 8) for i in range(DEPTH + 1)] + [1]
        strides = [2] * DEPTH + [1, 1]
        self.convolutions = torch.nn.ModuleList(
            torch.nn.Conv2d(a, b, 4, stride, 1) for a, b, stride in zip(widths[:-1], widths[1:], strides, strict=True)
        )
        self.norms = torch.nn.ModuleList(torch.nn.GroupNorm(width // GROUP, width) for width in widths[2:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.leaky_relu(self.convolutions[0](x), 0.2)
        for convolution, norm in zip(self.convolutions[1:-1], self.norms, strict=True):
            x = F.leaky_relu(norm(convolution(x)), 0.2)
        return self.convolutions[-1](x)


def write_discriminator(sink: Sink) -> None:
    """training/discriminator.safetensors: weights, pictures, logits, losses, `grad.<parameter>` and `grad.decoded`"""
    rec = Recorder(3003, with_gradients=True)
    model = Discriminator()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = rec.normal(*parameter.shape)
            scale = 2 * parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.2
            parameter.copy_(drawn * scale + (1.0 if name.startswith("norms") and name.endswith("weight") else 0.0))
            rec.tensors[f"discriminator.{name}"] = parameter.clone()
    # Sides that are no multiples of the strides.
    pixels = rec.normal(3, 3, 20, 26).clamp(-1, 1)
    decoded = (0.5 * pixels + 0.3 * rec.normal(*pixels.shape)).requires_grad_(True)
    rec.tensors |= {"pixels": pixels, "decoded": decoded.detach().clone()}

    model.requires_grad_(False)
    generator = -model(decoded).mean()
    generator.backward()
    rec.tensors |= {"loss.generator": generator, "grad.decoded": decoded.grad.clone()}

    model.requires_grad_(True)
    real, fake = model(pixels), model(decoded.detach())
    hinge = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
    hinge.backward()
    rec.tensors |= {"logits.real": real, "logits.fake": fake, "loss.discriminator": hinge}
    rec.tensors |= {f"grad.discriminator.{name}": p.grad.clone() for name, p in model.named_parameters()}
    sink.tensors("discriminator.safetensors", rec.tensors)
