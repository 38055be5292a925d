#!/usr/bin/env python3
"""Random weights of the published size in the published layout: for timings on machines that have no checkpoint.

    published_checkpoint.py OUT [--ar-layers 40] [--dit-layers 30] [--device cuda]

36 GB at full depth. Drawing takes as long as with the published weights; the picture means nothing. The tokenizer is a
small one with the published ids of visual tokens.
"""
import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/tools"))
from reference.processor import write_processor  # noqa: E402
from reference.specs import Spec  # noqa: E402

SHARD_BYTES = 2 << 30


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--ar-layers", type=int, default=40)
    parser.add_argument("--dit-layers", type=int, default=30)
    parser.add_argument("--device", default="cpu", help="where the random numbers are drawn")
    return parser.parse_args()


def published(arguments) -> Spec:
    return Spec(
        name="published", codes=16384, dit_tokens=16512, begin=16384, end=16385, merges=200, storage=torch.bfloat16,
        width=4096, layers=arguments.ar_layers, heads=32, kv_heads=2, feed_forward=13696, mrope_section=(8, 12, 12),
        vision_width=1536, vision_depth=40, vision_heads=16, vision_feed_forward=6144, vision_image_size=2048, code_width=2048,
        min_pixels=512 * 512, published_preprocessing=True,
        glyph_width=1472, glyph_layers=12, glyph_heads=6, glyph_head_dim=64, glyph_feed_forward=3584,
        dit_heads=32, dit_head_dim=128, dit_layers=arguments.dit_layers, time_width=512, condition_width=256,
        latent_channels=16, vae_widths=(128, 512, 1024, 1024), vae_layers=3, vae_groups=32, vae_sample_size=1024,
    )  # fmt: skip


def randomise(name: str, tensor: torch.Tensor, device: str, dtype: torch.dtype) -> torch.Tensor:
    if tensor.ndim == 1:
        value = torch.ones(tensor.shape, device=device) if name.endswith("weight") else torch.zeros(tensor.shape, device=device)
    else:
        scale = 1.0 if "embed" in name or "shared" in name else tensor[0].numel() ** -0.5
        value = torch.randn(tensor.shape, device=device).mul_(scale)
    return value.to(dtype)


def never_draw_control_ids(name: str, value: torch.Tensor, codes: int) -> None:
    """Channel 0 carries a constant through all layers, and the rows of ids that are no codes look at it alone."""
    if name.endswith("embed_tokens.weight"):
        value[:, 0] = 2.0
    elif name.endswith(("post_self_attn_layernorm.weight", "post_mlp_layernorm.weight")):
        value[0] = 0.02
    elif name == "lm_head.weight":
        value[codes:] = 0.0
        value[codes:, 0] = -60.0


def save(model, folder: Path, file: str, device: str, dtype: torch.dtype, codes: int, pool) -> list:
    """-> what is still being written"""
    names = [name for name in model.state_dict() if name != "encoder.embed_tokens.weight"]  # a table that is stored once
    shards, size = [[]], 0
    for name in names:
        count = model.state_dict()[name].numel() * dtype.itemsize
        if size + count > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += count
    files = [f"{file}.safetensors"]
    if len(shards) > 1:
        files = [f"{file}-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
        index = {"metadata": {}, "weight_map": {name: f for f, shard in zip(files, shards) for name in shard}}
        (folder / f"{file}.safetensors.index.json").write_text(json.dumps(index))
    writing = []
    for shard, target in zip(shards, files):
        tensors = {}
        for name in shard:
            value = randomise(name, model.state_dict()[name], device, dtype)
            never_draw_control_ids(name, value, codes)
            tensors[name] = value.cpu()
        writing.append(pool.submit(save_file, tensors, folder / target, metadata={"format": "pt"}))
    return writing


def main() -> None:
    arguments = parse()
    spec = published(arguments)
    import reference.checkpoint as checkpoint

    checkpoint.randomise = lambda model, generator: None
    special_ids = write_processor(spec, arguments.out / "processor")
    generator = torch.Generator()
    with torch.device("meta"):
        parts = {
            "vision_language_encoder": checkpoint.build_language_model(spec, special_ids, generator),
            "text_encoder": checkpoint.build_text_encoder(spec, generator),
            "transformer": checkpoint.build_transformer(spec, generator),
            "vae": checkpoint.build_vae(spec, generator),
        }
    with ThreadPoolExecutor(8) as pool:
        writing = []
        for part, model in parts.items():
            folder = arguments.out / part
            folder.mkdir(parents=True, exist_ok=True)
            in_transformers = part in ("vision_language_encoder", "text_encoder")
            dtype = torch.float32 if part == "text_encoder" else torch.bfloat16
            model.config.save_pretrained(folder) if in_transformers else model.save_config(folder)
            if hasattr(model, "generation_config") and model.generation_config is not None:
                model.generation_config.save_pretrained(folder)
            file = "model" if in_transformers else "diffusion_pytorch_model"
            writing += save(model, folder, file, arguments.device, dtype, spec.codes, pool)
        for each in writing:
            each.result()
    checkpoint.write_companions(spec, arguments.out)


if __name__ == "__main__":
    main()
