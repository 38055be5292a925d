# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""The reference pictures of the editing cases: smooth and flat regions, sharp edges, no symmetry."""

import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

PICTURES = {
    "square64": (64, 64), "wide96x64": (96, 64), "tall64x128": (64, 128), "square96": (96, 96),
    "square512": (512, 512), "wide640x512": (640, 512), "odd101x77": (101, 77),
}  # fmt: skip


def draw_picture(name: str) -> Image.Image:
    width, height = PICTURES[name]
    draw = random.Random(name)
    steps = 12 if width > 256 else 256  # few levels keep the large files small
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    mix = [draw.uniform(-1, 1) for _ in range(6)]
    channels = [0.5 + 0.5 * np.sin(3 * (mix[2 * c] * across + mix[2 * c + 1] * down) + c) for c in range(3)]
    levels = np.floor(np.stack(channels, -1) * (steps - 1)) * (255 // (steps - 1))
    picture = Image.fromarray(levels.astype(np.uint8), "RGB")
    pen = ImageDraw.Draw(picture)
    for shape in ("ellipse", "rectangle", "ellipse"):
        x, y = draw.uniform(0, 0.6) * width, draw.uniform(0, 0.6) * height
        box = (x, y, x + draw.uniform(0.2, 0.5) * width, y + draw.uniform(0.2, 0.5) * height)
        getattr(pen, shape)(box, fill=tuple(draw.randrange(256) for _ in range(3)))
    pen.line((0, height - 1, width - 1, 0), fill=(255, 255, 0), width=max(1, width // 40))
    return picture


def write_pictures(root: Path) -> None:
    (root / "pictures").mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        draw_picture(name).save(root / "pictures" / f"{name}.png", optimize=True)


def read_picture(root: Path, name: str) -> Image.Image:
    return Image.open(root / "pictures" / f"{name}.png").convert("RGB")
