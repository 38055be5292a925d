# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""Tokenizer, chat template, ByT5 and glyph-string cases."""

from pathlib import Path

import torch
from diffusers import GlmImagePipeline

from .pictures import read_picture
from .processor import dit_token
from .recording import Sink, wrapped
from .specs import Spec

TEXTS = [
    "", " ", "  ", "\n", "\t", "\r\n", "a", "A", " a", "a ", "  a  b   c", "\n\n a\n \n", "trailing blanks   ", "   leading",
    "tab\tand\t\ttabs",
    "line one\nline two\r\nline three\rfour", " \n \n", "x \n", "Hello, world!", "The quick brown fox jumps over the lazy dog.",
    "don't can't WE'LL i'm they'Ve it's 'S he'D", "1", "12", "123", "1234", "1234567890", "3.14159", "1,000,000", "v1.2.3-rc4",
    "0x1F", "½ ² Ⅷ ٣٤٥ １２３",
    "你好，世界！", "「你好」和“世界”", "一只红色的苹果放在桌子上", "こんにちは世界", "カタカナ ﾊﾝｶｸ", "안녕하세요", "Привет, мир", "مرحبا بالعالم", "שלום",
    "नमस्ते दुनिया", "ไทย",
    "naïve café", "cafe\u0301 e\u0301\u0323", "Å Å ﬁ ﬀ", "ＨＥＬＬＯ ｗｏｒｌｄ", "ß ẞ İ ı ſ", "😀", "😀😃 🙂", "👩‍👩‍👧‍👦", "👍🏽 ❤️ 🇨🇳 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "a\u200db\u200c\u200b\ufeffc",
    "\u00a0non\u00a0breaking\u2003em\u3000wide\u2028line\u2029para\x85nel", "\x00\x01\x1f\x7f", "\u0378 \ufffd \uffff",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠀀𪚥", "int main() { return a[i]+=2; } // ok",
    "x = y+1;\n\tif (x)\n\t\treturn;\n", "#include <vector>\n", "https://example.com/a?b=c&d=%20", "C:\\path\\file.txt",
    "!!!???...", "---===***", "a-b_c", "'''\"\"\"```", "$100 €5 £3 ¥7",
    "<sop>3 4<eop>", "<|image|>", "a <|image|> b", "<|dit_token_3|><|dit_token_64|>", "<|dit_token_999999|>", "<|endoftext|>x",
    "[gMASK]<sop>", "[MASK", "<|user|>\nhi<|assistant|>",
    "<think>why</think>", "<<sop>>", "<|image|", "the the the the", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "red apple" * 8,
    "苹果" * 12,
    " 1 2  3", "a1b2c3", "第1章", "３D", "e=mc²", "don’t", "_under_score_", "\u202eright to left\u202c", "ǅ ǆ ʰ ˀ",
    "a\u0300\u0301\u0302", "١٢٣٤", "𝟙𝟚𝟛𝟜",
]  # fmt: skip

BYTE_TEXTS = [
    "", "a", "OPEN", "你好", "é", "e\u0301", "😀", "👩‍👩‍👧‍👦", " spaces  kept ", "\n\t", "\x00\x7f", "</s>", "a</s>", "a </s> b",
    "a  </s>  </s> b", "<pad>", "x <pad> y", "<unk>", "a <unk>\nb",
    "<extra_id_0>", "a <extra_id_7> b", "<extra_id_124>", "<extra_id_125>", "</S>", "< /s>", "<s>", "</s></s>", "𠀀", "x" * 2047,
    "é" * 1100,
]  # fmt: skip

GLYPH_PROMPTS = [
    "no quotes", "", "a sign \"OPEN\" and “CLOSED”", "don't say 'hi' or \"yo\"", "\"a 'b' c\"", "“x “y” z”", "'' and \"\"",
    "「你好」和“世界”", "「a「b」c」", "‘no’ 『no』 «no» `no` ＂no＂",
    "'a' \"b\" “c” 「d」", "'a' 'b' \"c\"", "'line\nbreak'", "\"one", "it's", "it's John's", "“a” “bc” “def” 'gh' \"\" 「ij」",
    "\"</s>\" '<pad> x'", "“<extra_id_3>”", "\"“a”\"", "““a””", "「」", "\"  \"", "'😀👩‍👩‍👧‍👦'",
]  # fmt: skip


def write_tokenizer_cases(sink: Sink, spec: Spec, pipe: GlmImagePipeline) -> None:
    """`ids`: special tokens in the text are parsed (the reference's way); `ids_plain`: they are text like any other."""
    tokenizer = pipe.processor.tokenizer
    entries = []
    for text in TEXTS + [dit_token(spec.begin), f"a {dit_token(spec.end)}\n<eop>"]:
        ids, plain = (tokenizer(text, split_special_tokens=split)["input_ids"] for split in (False, True))
        entries.append(
            {"text": text, "ids": ids, "ids_plain": plain, "decoded": tokenizer.decode(ids, skip_special_tokens=False)}
        )
    sink.json("tokenizer_cases.json", entries)


def write_chat_cases(sink: Sink, spec: Spec, pipe: GlmImagePipeline, root: Path) -> None:
    """`template`: what the Jinja file makes of the messages; `rendered`: that with sizes and placeholders; `ids` of it."""
    large = spec.published_preprocessing
    sources = {
        0: (),
        1: ("square512",) if large else ("square64",),
        2: ("wide640x512", "square512") if large else ("wide96x64", "square64"),
    }
    wanted = [
        ("a cat", 1024, 1024, 0), ("a cat", 992, 768, 0), ("", 32, 32, 0), ("一只猫", 2048, 512, 0), ("x 1 2", 32, 2048, 0),
        ("trailing ", 96, 128, 0), ("line\n", 64, 96, 0),
        ("with <sop>1 2<eop> inside", 64, 64, 0), ("blue", 1024, 1024, 1), ("", 64, 32, 1), ("put both together", 64, 96, 2),
        (" 1", 1152, 768, 2),
    ]  # fmt: skip
    entries = []
    for prompt, height, width, count in wanted:
        if large and count and len(prompt) < 3:
            continue  # long ids, nothing new
        content = [{"type": "image", "image": read_picture(root, name)} for name in sources[count]] + [
            {"type": "text", "text": prompt}
        ]
        messages = [[{"role": "user", "content": content}]]
        inputs = pipe.processor.apply_chat_template(
            messages, tokenize=True, target_h=height, target_w=width, return_dict=True, return_tensors="pt"
        )
        template = pipe.processor.apply_chat_template([[{"role": "user", "content": content}]], tokenize=False)[0]
        ids = inputs["input_ids"][0].tolist()
        entries.append({
            "prompt": prompt, "height": height, "width": width, "pictures": [f"pictures/{name}.png" for name in sources[count]],
            "template": template, "rendered": pipe.processor.tokenizer.decode(ids, skip_special_tokens=False), "ids": ids,
            "grids": inputs["image_grid_thw"][:, 1:].tolist(),
        })  # fmt: skip
    sink.json("chat_cases.json", entries)


def write_glyph_cases(sink: Sink, pipe: GlmImagePipeline) -> None:
    sink.json("byte_cases.json", [
        {"text": text, "ids": pipe.tokenizer([text], max_length=2048,
        truncation=True).input_ids[0]} for text in BYTE_TEXTS])  # fmt: skip
    entries = []
    for prompt in GLYPH_PROMPTS:
        seen = {}
        with (
            wrapped(
                pipe.text_encoder,
                "forward",
                lambda _, ids, attention_mask, seen=seen: seen.update(ids=ids, mask=attention_mask),
            ),
            torch.no_grad(),
        ):
            rows = pipe._get_glyph_embeds(prompt).shape[1]
        ids = [row[mask.bool()].tolist() for row, mask in zip(seen["ids"], seen["mask"], strict=True)]
        entries.append({"prompt": prompt, "strings": pipe.get_glyph_texts(prompt)[0], "ids": ids, "rows": rows})
    sink.json("glyph_cases.json", entries)
