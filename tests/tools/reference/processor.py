# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""processor/: a small byte-level BPE tokenizer, the chat template and the picture settings."""

import json
import random
from pathlib import Path

import tokenizers

from .recording import write_json
from .specs import Spec

TRAINING_TEXT = """
A red apple on a wooden table, soft morning light, high detail. The sign above the door says "OPEN" and "CLOSED".
Draw a picture of a small white cat with blue eyes; the cat is sitting on the window. Don't touch it, they're sleeping, we'll see.
An astronaut riding a horse on mars, photograph, 1024 by 768, in the style of an oil painting. The quick brown fox jumps over the lazy dog.
一只红色的苹果放在桌子上，旁边写着「你好，世界」。一块写着“欢迎光临”的牌子，背景是蓝色的天空和白色的云。请画一只可爱的猫。
可爱的小狗在草地上奔跑，阳光明媚，高清照片。中国风的山水画，远处有一座红色的桥。这是一张海报，标题是“人工智能”。
Ein kleines Mädchen läuft über die Straße. Un café à la crème, s'il vous plaît. Привет, мир! こんにちは世界。 안녕하세요
😀 😃 🙂 🐱 🐶 🍎 🚗 👩‍👩‍👧‍👦 🇨🇳 ❤️ 👍🏽   int main() { return 0; }   x = y + 1;  for (int i = 0; i < n; ++i) sum += a[i];
"""

# The split of the GLM-4 tokenizer: contractions, words with one leading sign, up to three digits, signs, line ends, blanks.
PRE_TOKENIZER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIALS = [
    "<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>", "<|user|>", "<|assistant|>",
    "<|observation|>", "<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>", "<|image|>",
    "<|video|>",
]  # fmt: skip

CHAT_TEMPLATE = """{%- for message in messages -%}
{%- if message['content'] is string -%}
{{ message['content'] }}
{%- else -%}
{%- for item in message['content'] -%}
{%- if item['type'] == 'image' -%}
BEGIN<|image|>END
{%- elif item['type'] == 'text' -%}
{{ item['text'] }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endfor -%}
"""


def dit_token(index: int) -> str:
    return f"<|dit_token_{index}|>"


def build_tokenizer(spec: Spec) -> tuple[dict, dict]:
    """-> (tokenizer.json, {special token: id}); ids: dit tokens from 0, then text and specials in the order asked for."""
    byte_level = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Split(tokenizers.Regex(PRE_TOKENIZER), "isolated"),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    trained = tokenizers.Tokenizer(tokenizers.models.BPE())
    trained.pre_tokenizer = byte_level
    trained.decoder = tokenizers.decoders.ByteLevel()
    trained.post_processor = tokenizers.processors.ByteLevel(add_prefix_space=False, trim_offsets=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=256 + spec.merges, min_frequency=1, show_progress=False, initial_alphabet=sorted(alphabet)
    )
    trained.train_from_iterator(TRAINING_TEXT.splitlines(), trainer)
    described = json.loads(trained.to_str())

    text = [t for t, _ in sorted(described["model"]["vocab"].items(), key=lambda item: item[1])]
    specials = SPECIALS + ["<think>", "</think>"]
    if spec.shuffle_specials:
        random.Random(spec.seed).shuffle(specials)
    dits = [dit_token(i) for i in range(spec.dit_tokens)]
    order = dits + (specials + text if spec.specials_first else text + specials)
    ids = {token: i for i, token in enumerate(order)}

    # As in the published file the dit tokens are part of the vocabulary as well as added tokens: only so may they come
    # first. Specials behind the text exist as added tokens alone.
    in_vocabulary = order if spec.specials_first else dits + text
    described["model"]["vocab"] = {token: ids[token] for token in in_vocabulary}
    described["model"]["ignore_merges"] = spec.ignore_merges
    if spec.legacy_merges:
        described["model"]["merges"] = [" ".join(pair) for pair in described["model"]["merges"]]
    described["added_tokens"] = [
        {"id": ids[token], "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": "think" not in token}
        for token in sorted(dits + specials, key=ids.get)
    ]  # fmt: skip
    return described, {token: ids[token] for token in specials}


def write_processor(spec: Spec, folder: Path) -> dict:
    """Writes processor/ and returns the ids of the special tokens."""
    folder.mkdir(parents=True)
    described, special_ids = build_tokenizer(spec)
    begin, end = dit_token(spec.begin), dit_token(spec.end)
    settings = {
        "added_tokens_decoder": {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in described["added_tokens"]},
        "bos_token": begin,
        "clean_up_tokenization_spaces": False,
        "do_lower_case": False,
        "eos_token": end,
        "extra_special_tokens": {"image_token": "<|image|>", "grid_bos_token": "<sop>", "grid_eos_token": "<eop>"},
        "grid_bos_token": "<sop>",
        "grid_eos_token": "<eop>",
        "image_token": "<|image|>",
        "model_max_length": 128000,
        "pad_token": end,
        "padding_side": "left",
        "processor_class": "GlmImageProcessor",
        "remove_space": False,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    pictures = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "GlmImageImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "max_pixels": spec.max_pixels,
        "merge_size": 1,
        "min_pixels": spec.min_pixels,
        "patch_size": 16,
        "processor_class": "GlmImageProcessor",
        "resample": 3,
        "rescale_factor": 1 / 255,
        "temporal_patch_size": 1,
    }
    write_json(folder / "tokenizer.json", described)
    write_json(folder / "tokenizer_config.json", settings)
    write_json(folder / "preprocessor_config.json", pictures)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE.replace("BEGIN", begin).replace("END", end), encoding="utf-8")
    return special_ids
