# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""Gradients of all parameters of every module, and what five steps of AdamW make of the loss.

The checkpoint is smaller than the others, since every gradient is stored in float32, and has no tokenizers: ids are drawn.
A learner is one module, or half of one, with a fixed batch and a loss: the mean square of the distance to drawn numbers,
and cross entropy for the language model. The latter is computed here on the reference's logits, since the reference's own
loss takes the size of the text vocabulary for that of the head. tests/train/reference_training_test.cpp does the same.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import GlmImageTransformer2DModel
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.transformers.transformer_glm_image import GlmImageKVCache
from transformers import GlmImageForConditionalGeneration, T5EncoderModel

from .checkpoint import build_language_model, build_text_encoder, build_transformer, build_vae, randomise
from .recording import Recorder, Sink
from .specs import Spec

SPEC = Spec(
    name="training", seed=11, storage=torch.bfloat16, codes=24, dit_tokens=28, begin=24, end=25, merges=0,
    width=16, layers=2, heads=4, kv_heads=2, feed_forward=24, partial_rotary_factor=1.0, mrope_section=(1, 0, 1),
    vision_width=12, vision_depth=2, vision_heads=3, vision_feed_forward=20, vision_image_size=48, code_width=8,
    glyph_width=12, glyph_layers=2, glyph_heads=3, glyph_head_dim=4, glyph_feed_forward=20, glyph_buckets=8, glyph_max_distance=12,
    dit_heads=2, dit_head_dim=8, dit_layers=2, time_width=8, condition_width=4,
    latent_channels=4, vae_widths=(4, 8, 8, 8), vae_layers=1, vae_groups=2, vae_sample_size=48,
)  # fmt: skip

# AdamW as stages train with, but for a rate at which five steps show.
STEPS, RATE = 5, 0.01
BETAS, EPS, DECAY, MAX_NORM = (0.9, 0.95), 1e-8, 0.01, 1.0


@dataclass
class Learner:
    model: torch.nn.Module
    part: str  # only parameters with these first letters belong to it; "|" between several
    loss: Callable[[], torch.Tensor]

    def parameters(self) -> dict:
        return {k: p for k, p in self.model.named_parameters() if k.startswith(tuple(self.part.split("|")))}


def load_models(sink: Sink, rebuild: bool) -> dict:
    """The four models, in float32, read from the checkpoint, which is built first where there is none."""
    classes = {
        "vision_language_encoder": GlmImageForConditionalGeneration,
        "text_encoder": T5EncoderModel,
        "transformer": GlmImageTransformer2DModel,
        "vae": AutoencoderKL,
    }
    folder = sink.root / "checkpoint"
    if not sink.check and (rebuild or not folder.exists()):
        generator = torch.Generator("cpu").manual_seed(SPEC.seed)
        language = build_language_model(SPEC, {"<|endoftext|>": 318, "<|image|>": 319}, generator)
        randomise(language, generator)  # nothing is drawn from it: its control ids may be as likely as any
        parts = {
            "vision_language_encoder": language,
            "text_encoder": build_text_encoder(SPEC, generator),
            "transformer": build_transformer(SPEC, generator),
            "vae": build_vae(SPEC, generator),
        }
        for part, model in parts.items():
            model.to(SPEC.storage).save_pretrained(folder / part)
            for file in (folder / part).glob("*.safetensors"):
                file.chmod(0o644)
    return {part: kind.from_pretrained(folder / part, torch_dtype=torch.float32).eval() for part, kind in classes.items()}


def language_learner(rec: Recorder, model) -> Learner:
    tokens, vocabulary = 14, model.config.text_config.vocab_size
    ids = rec.integers(vocabulary, 2, tokens)
    ids[:, 6:] = rec.integers(SPEC.dit_tokens, 2, tokens - 6)  # visual ids follow the words
    positions = torch.arange(tokens).expand(3, 2, tokens).clone()
    positions[0, :, 6:] = 6  # an image of 2 x 4: one instant, two axes
    positions[1, :, 6:] = 6 + torch.arange(8) // 4
    positions[2, :, 6:] = 6 + torch.arange(8) % 4
    targets = torch.full((2, tokens), -100)
    targets[:, 5:-1] = ids[:, 6:]
    targets[:, -1] = SPEC.end
    targets[1, -3:] = -100  # a shorter row
    rec.tensors |= {"ar.ids": ids, "ar.positions": positions, "ar.targets": targets}

    def loss():
        logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    return Learner(model, "model.language_model.|lm_head.", loss)


def tokenizer_learner(rec: Recorder, model) -> Learner:
    """Two pictures of 3 x 2 and 1 x 5 patches; features, the code that goes on, and the quantiser's own loss."""
    tower, quantiser = model.model.visual, model.model.vqmodel
    grid = torch.tensor([[1, 3, 2], [1, 1, 5]])
    pixels, features_target = rec.normal(11, 3 * 16 * 16).clamp(-1, 1), rec.normal(11, SPEC.vision_width)
    decoded_target = rec.normal(11, SPEC.vision_width)
    rec.tensors |= {"tokenizer.pixels": pixels, "tokenizer.features_target": features_target}
    rec.tensors |= {"tokenizer.decoded_target": decoded_target}

    def loss():
        features = tower(pixels, grid_thw=grid).last_hidden_state
        code, codebook_loss, _ = quantiser.quantize(quantiser.quant_conv(features[:, :, None, None]))
        decoded = quantiser.post_quant_conv(code)[:, :, 0, 0]
        return F.mse_loss(features, features_target) + F.mse_loss(decoded, decoded_target) + codebook_loss

    return Learner(model, "model.visual.|model.vqmodel.", loss)


def glyph_learner(rec: Recorder, model) -> Learner:
    """A long row, so that every bucket of distances is used, and a short one beside padding."""
    ids, mask = rec.integers(259, 2, 20, low=3), torch.ones(2, 20, dtype=torch.bool)
    mask[1, 9:] = False
    target = rec.normal(2, 20, SPEC.glyph_width)
    rec.tensors |= {"glyph.ids": ids, "glyph.mask": mask, "glyph.target": target}
    return Learner(model, "", lambda: F.mse_loss(model(ids, mask.long()).last_hidden_state[mask], target[mask]))


def transformer_inputs(rec: Recorder, name: str, batch: int, height: int, width: int, glyphs: int, timesteps: list) -> dict:
    """Inputs of one pass over pictures of `height` x `width` image tokens."""
    inputs = dict(
        hidden_states=rec.normal(batch, SPEC.latent_channels, 2 * height, 2 * width),
        encoder_hidden_states=rec.normal(batch, glyphs, SPEC.glyph_width),
        prior_token_id=rec.integers(SPEC.codes, batch, height * width),
        prior_token_drop=rec.integers(3, batch, height * width) == 0,
        timestep=torch.tensor(timesteps),
        target_size=torch.tensor([[16.0 * height, 16.0 * width]]).repeat(batch, 1),
        crop_coords=torch.tensor([[8.0, 24.0]]).repeat(batch, 1),
    )
    short = ("latents", "glyphs", "prior", "drop", "timestep", "target_size", "crop_coords")
    rec.tensors |= {f"{name}.{key}": value for key, value in zip(short, inputs.values(), strict=True)}
    return inputs


def transformer_learner(rec: Recorder, model) -> Learner:
    inputs = transformer_inputs(rec, "dit", 2, 2, 3, 5, [420.0, 999.0])
    rec.tensors["dit.target"] = target = rec.normal(*inputs["hidden_states"].shape)
    return Learner(model, "", lambda: F.mse_loss(model(**inputs, return_dict=False)[0], target))


def references_learner(rec: Recorder, model) -> Learner:
    """Two reference pictures write their keys and values, a third picture reads them: gradients go through both."""
    passes = [transformer_inputs(rec, f"dit_references.{i}", 1, 2, 2 + i, 0, [0.0]) for i in range(2)]
    inputs = transformer_inputs(rec, "dit_references", 1, 2, 2, 4, [300.0])
    rec.tensors["dit_references.target"] = target = rec.normal(*inputs["hidden_states"].shape)

    def loss():
        cache = GlmImageKVCache(model.config.num_layers)
        cache.set_mode("write")
        for reference in passes:
            model(**reference, kv_caches=cache, return_dict=False)
        cache.set_mode("read")
        return F.mse_loss(model(**inputs, kv_caches=cache, return_dict=False)[0], target)

    return Learner(model, "", loss)


def vae_learners(rec: Recorder, model) -> dict:
    picture, moments = rec.normal(2, 3, 16, 24).clamp(-1, 1), rec.normal(2, 2 * SPEC.latent_channels, 2, 3)
    latents, pixels = rec.normal(2, SPEC.latent_channels, 2, 3), rec.normal(2, 3, 16, 24).clamp(-1, 1)
    rec.tensors |= {"vae_encoder.in": picture, "vae_encoder.target": moments}
    rec.tensors |= {"vae_decoder.in": latents, "vae_decoder.target": pixels}
    return {
        "vae_encoder": Learner(model, "encoder.", lambda: F.mse_loss(model._encode(picture), moments)),
        "vae_decoder": Learner(model, "decoder.", lambda: F.mse_loss(model.decode(latents, return_dict=False)[0], pixels)),
    }


def record_gradients(rec: Recorder, name: str, learner: Learner) -> list[str]:
    """`grad.<name>.<parameter>` of the loss -> names of the parameters it does not depend on, which have none."""
    learner.model.zero_grad(set_to_none=True)
    learner.loss().backward()
    idle = []
    for key, parameter in learner.parameters().items():
        if parameter.grad is None or not parameter.grad.any():
            idle.append(key)
        else:
            rec.tensors[f"grad.{name}.{key}"] = parameter.grad.clone()
    return idle


def record_steps(rec: Recorder, name: str, learner: Learner) -> None:
    """`steps.<name>.loss` before each update and after the last, `steps.<name>.grad_norm` before clipping."""
    parameters = list(learner.parameters().values())
    start = [parameter.detach().clone() for parameter in parameters]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": DECAY},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, eps=EPS)
    losses, norms = [], []
    for _ in range(STEPS):
        learner.model.zero_grad(set_to_none=True)
        loss = learner.loss()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM))
        optimiser.step()
        losses.append(loss.detach())
    with torch.no_grad():
        losses.append(learner.loss())
        for parameter, value in zip(parameters, start, strict=True):
            parameter.copy_(value)  # the next learner may have the same model
    rec.tensors |= {f"steps.{name}.loss": torch.stack(losses), f"steps.{name}.grad_norm": torch.stack(norms)}


def write_training(sink: Sink, rebuild: bool) -> None:
    """training/checkpoint/**, training/gradients.safetensors, training/manifest.json"""
    rec = Recorder(2000 + SPEC.seed, with_gradients=True)
    models = load_models(sink, rebuild)
    language, transformer = models["vision_language_encoder"], models["transformer"]
    learners = {
        "ar": language_learner(rec, language),
        "tokenizer": tokenizer_learner(rec, language),
        "glyph": glyph_learner(rec, models["text_encoder"]),
        "dit": transformer_learner(rec, transformer),
        "dit_references": references_learner(rec, transformer),
        **vae_learners(rec, models["vae"]),
    }
    idle = {}
    for name, learner in learners.items():
        idle[name] = record_gradients(rec, name, learner)
        record_steps(rec, name, learner)
    sink.tensors("gradients.safetensors", rec.tensors)
    options = {"steps": STEPS, "learning_rate": RATE, "betas": BETAS, "eps": EPS, "weight_decay": DECAY, "max_grad_norm": MAX_NORM}
    sink.json("manifest.json", {"optimiser": options, "parameters_without_gradient": idle})
