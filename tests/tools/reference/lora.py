# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""Adapters of the diffusion transformer and the language model, made, saved and run by PEFT."""

import json
import shutil
from pathlib import Path

import diffusers
import peft
import torch
from diffusers import GlmImagePipeline
from peft import LoraConfig, PeftModel, get_peft_model

from .recording import Recorder, Sink, write_json

RANK = 4
# Differing alphas, one of them by pattern, so that a scale that is not read shows.
DIT = LoraConfig(
    r=RANK,
    lora_alpha=6,
    target_modules=["attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "ff.net.0.proj", "norm_out.linear", "proj_out"],
    alpha_pattern={"attn1.to_v": 10},
)
AR = LoraConfig(
    r=RANK,
    lora_alpha=8,
    use_rslora=True,
    target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj", "lm_head"],
    exclude_modules=r".*visual.*",
)


def fill(model: PeftModel, rec: Recorder) -> None:
    """PEFT begins with B = 0; here both matrices are drawn, so that the branch is about a fifth of its layer's output."""
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            with torch.no_grad():
                parameter.copy_(rec.normal(*parameter.shape) * (0.15 if "lora_B" in name else parameter.shape[1] ** -0.5))


def save(model: PeftModel, folder: Path) -> None:
    """As PEFT does, without what differs from run to run: paths, the order of a set, the page of advice."""
    model.peft_config["default"].base_model_name_or_path = None
    model.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    write_json(folder / "adapter_config.json", {**config, "target_modules": sorted(config["target_modules"])})
    (folder / "README.md").unlink(missing_ok=True)


def write_lora(sink: Sink, pipe: GlmImagePipeline) -> None:
    """lora/{dit,ar}/ as PEFT saves them, lora/dit_diffusers/ as diffusers does, lora/outputs.safetensors."""
    rec = Recorder(77, with_gradients=False)
    folder, config = sink.root / "lora", pipe.transformer.config
    if not sink.check:
        shutil.rmtree(folder, ignore_errors=True)

    tokens, glyphs = 2 * 3, 5
    inputs = dict(
        hidden_states=rec.normal(1, config.in_channels, 4, 6),
        encoder_hidden_states=rec.normal(1, glyphs, config.text_embed_dim),
        prior_token_id=rec.integers(config.prior_vq_quantizer_codebook_size, 1, tokens),
        prior_token_drop=torch.zeros(1, tokens, dtype=torch.bool),
        timestep=torch.full((1,), 420.0),
        target_size=torch.tensor([[32.0, 48.0]]),
        crop_coords=torch.tensor([[0.0, 0.0]]),
    )
    short = {
        "hidden_states": "latents", "encoder_hidden_states": "glyphs", "prior_token_id": "prior", "prior_token_drop": "drop",
        "crop_coords": "crop",
    }  # fmt: skip
    ids = rec.integers(pipe.vision_language_encoder.config.text_config.vocab_size, 1, 9)
    positions = torch.arange(9).expand(3, 1, 9)
    rec.tensors |= {f"dit.{short.get(key, key)}": value for key, value in inputs.items()}
    rec.tensors |= {"ar.input_ids": ids, "ar.position_ids": positions}

    def run_dit(model):
        with torch.no_grad():
            return model(**inputs, return_dict=False)[0]

    def run_ar(model):
        with torch.no_grad():
            return model(input_ids=ids, position_ids=positions, use_cache=False).logits

    rec.tensors["dit.base"], rec.tensors["ar.base"] = run_dit(pipe.transformer), run_ar(pipe.vision_language_encoder)
    dit = get_peft_model(pipe.transformer, DIT).eval()
    fill(dit, rec)
    ar = get_peft_model(pipe.vision_language_encoder, AR).eval()
    fill(ar, rec)
    rec.tensors["dit.adapted"], rec.tensors["ar.adapted"] = run_dit(dit), run_ar(ar)
    if not sink.check:
        for name, model in ("dit", dit), ("ar", ar):
            save(model, folder / name)

    # The same transformer's adapter on diffusers' own way: metadata instead of a configuration beside the file.
    state = {key.removeprefix("base_model.model."): value for key, value in peft.get_peft_model_state_dict(dit).items()}
    plain = dit.unload()
    plain.load_lora_adapter(state, prefix=None, metadata=dit.peft_config["default"].to_dict())
    rec.tensors["dit.diffusers"] = run_dit(plain)
    if not sink.check:
        plain.save_lora_adapter(folder / "dit_diffusers", adapter_name=next(iter(plain.peft_config)))
        for file in folder.glob("*/*.safetensors"):
            file.chmod(0o644)
    sink.tensors("lora/outputs.safetensors", rec.tensors)
    sink.json("lora/manifest.json", {"versions": {"peft": peft.__version__, "diffusers": diffusers.__version__}, "rank": RANK})
