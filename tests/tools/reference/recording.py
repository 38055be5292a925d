# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""Where goldens go, and how values are taken out of the reference without computing them anew."""

import contextlib
import json
import platform
from pathlib import Path

import diffusers
import numpy
import PIL
import safetensors.torch
import tokenizers
import torch
import transformers


def versions() -> dict:
    packages = [torch, transformers, diffusers, tokenizers, safetensors, numpy, PIL]
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{package.__name__: package.__version__ for package in packages},
    }


def write_json(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, list):  # one entry a line
        text = "[\n" + ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in content) + "\n]"
    else:
        text = json.dumps(content, ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


class Sink:
    """Writes golden files under `root`; with `check` compares them instead and collects the differences."""

    def __init__(self, root: Path, check: bool):
        self.root, self.check, self.differences, self.files = root, check, [], 0

    def tensors(self, name: str, content: dict) -> None:
        content = {key: value.detach().contiguous().clone() for key, value in content.items()}
        path = self.root / name
        self.files += 1
        if not self.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            safetensors.torch.save_file(dict(sorted(content.items())), path)
            path.chmod(0o644)
            return
        stored = safetensors.torch.load_file(path)
        for key in sorted(stored.keys() ^ content.keys()):
            self.differences.append(f"{name}: {key} is in one of the two only")
        for key in sorted(stored.keys() & content.keys()):
            old, new = stored[key], content[key]
            if old.shape != new.shape or old.dtype != new.dtype:
                self.differences.append(f"{name}: {key} was {old.dtype}{list(old.shape)}, is {new.dtype}{list(new.shape)}")
            elif not torch.allclose(old.double(), new.double(), rtol=1e-4, atol=1e-5 if new.is_floating_point() else 0):
                self.differences.append(f"{name}: {key} differs by up to {(old.double() - new.double()).abs().max():.3g}")

    def json(self, name: str, content) -> None:
        path = self.root / name
        self.files += 1
        if not self.check:
            write_json(path, content)
        elif json.loads(path.read_text(encoding="utf-8")) != json.loads(json.dumps(content)):
            self.differences.append(f"{name}: differs")


@contextlib.contextmanager
def wrapped(target, name: str, record, override=None):
    """Replaces `target.name` by itself followed by `record(result, *args, **kwargs)` for the time of the block."""
    original = getattr(target, name)

    def call(*args, **kwargs):
        kwargs.update(override or {})
        result = original(*args, **kwargs)
        record(result, *args, **kwargs)
        return result

    setattr(target, name, call)
    try:
        yield
    finally:
        delattr(target, name)  # all targets are instances: the class's own method shows again


class Recorder:
    """Collects tensors by name, module outputs by hooks, and (where wanted) gradients of a random projection."""

    def __init__(self, seed: int, with_gradients: bool):
        self.tensors, self.generator, self.with_gradients = {}, torch.Generator("cpu").manual_seed(seed), with_gradients

    def normal(self, *shape) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator)

    def integers(self, high: int, *shape, low: int = 0) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=self.generator)

    @contextlib.contextmanager
    def outputs_of(self, modules: dict):
        """{name: module}: the first call's output of each goes to `name` (a tuple's parts to `name`, `name.1`, …)."""

        def hook(name):
            def record(_, __, output):
                parts = [part for part in (output if isinstance(output, tuple) else (output,)) if torch.is_tensor(part)]
                for i, part in enumerate(parts):
                    self.tensors.setdefault(name if i == 0 else f"{name}.{i}", part.detach().clone())

            return record

        handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
        yield
        for handle in handles:
            handle.remove()

    def gradients(self, part: str, output: torch.Tensor, model: torch.nn.Module, names: list[str], inputs: dict | None = None):
        """d sum(output · projection) / d parameter as `grad.<part>.<name>`, with `grad.<part>.projection` beside them."""
        if not self.with_gradients:
            return
        projection = self.normal(*output.shape)
        self.tensors[f"grad.{part}.projection"] = projection
        model.zero_grad(set_to_none=True)
        (output * projection).sum().backward()
        parameters = dict(model.named_parameters())
        for name in names:
            self.tensors[f"grad.{part}.{name}"] = parameters[name].grad.clone()
        for name, tensor in (inputs or {}).items():
            self.tensors[f"grad.{part}.{name}"] = tensor.grad.clone()
        model.zero_grad(set_to_none=True)
