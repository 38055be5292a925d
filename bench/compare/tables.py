# Copyright 2025 the glm-image.cpp authors
# SPDX-License-Identifier: Apache-2.0
"""What was measured as markdown: limits, single parts against every peer, and whole pictures put together from them."""

from schedule import COMPILED, EAGER, GGML, OURS, PEERS
from turns import text_of

AR_LAYERS, DIT_LAYERS, GLYPH_LAYERS, STEPS, PASSES = 40, 30, 12, 50, 2
VISUAL_TOKENS = {512: 512, 1024: 1280}  # draft and picture


class Measured:
    """All turns, by what they were about."""

    def __init__(self, turns):
        self.turns = turns
        self.all_threads = max((turn["result"]["threads"] for turn in turns), default=0)

    def entries(self, peer, key, dtype, threads=None):
        threads = threads or self.all_threads
        return [
            (turn["result"]["results"][key], turn["result"]["peak_bytes"]) for turn in self.turns
            if turn["peer"] == peer and turn["dtype"] == dtype and turn["result"]["threads"] == threads
            and key in turn["result"]["results"]
        ]  # fmt: skip

    def seconds(self, peer, key, dtype, threads=None):
        """The fastest of all runs, or None."""
        return min((entry["min"] for entry, _ in self.entries(peer, key, dtype, threads)), default=None)

    def rate(self, key, dtype, threads=None):
        """Bytes or operations a second, by us."""
        entries = self.entries(OURS, key, dtype, threads)
        amount = next((e.get("flops", e.get("bytes")) for e, _ in entries), None)
        return amount / min(e["min"] for e, _ in entries) if amount else None

    def memory(self, peer, key, dtype):
        return min((peak for _, peak in self.entries(peer, key, dtype)), default=None)

    def skipped(self, peer, key, dtype):
        for turn in self.turns:
            if turn["peer"] == peer and turn["dtype"] == dtype and key in turn["result"]["skipped"]:
                return turn["result"]["skipped"][key]
        return None

    def rows(self):
        """(key, dtype, work) as they were measured first."""
        found = {}
        for turn in self.turns:
            if turn["peer"] == OURS and turn["result"]["threads"] == self.all_threads:
                for key, entry in turn["result"]["results"].items():
                    found.setdefault((key, turn["dtype"]), entry["work"])
        return [(key, dtype, work) for (key, dtype), work in found.items()]


def is_limit(key):
    return key.startswith(("limits.", "gemm."))


def share_of_limit(measured, key, dtype):
    """How much of what the machine can do at most: reading where each weight is used once, else its product of two
    square matrices, for few bits that of bytes."""
    entries = measured.entries(OURS, key, dtype)
    rate, entry = measured.rate(key, dtype), entries[0][0]
    if "bytes" in entry:
        limit, what = max((measured.rate("limits.read", t) or 0 for t in ("float32", "bfloat16", "int8")), default=0), "read"
    elif "flops" in entry:
        gemm = next((k for k, _, _ in measured.rows() if k.startswith("gemm.")), "")
        limit, what = measured.rate(gemm, "int8" if dtype.startswith("int") else dtype), "gemm"
    else:
        return "–"
    return f"{rate / limit:.0%} {what}" if limit else "–"


def ratio_cell(measured, peer, key, dtype, ours):
    theirs, remark = measured.seconds(peer, key, dtype), ""
    if theirs is None and dtype.startswith("int") and peer != GGML:  # what its users would run instead
        theirs, remark = measured.seconds(peer, key, "bfloat16"), " (bfloat16)"
    if theirs is None:
        why = measured.skipped(peer, key, dtype) or ""
        return "does not compile" if why.startswith("does not compile") else "–"
    return f"{theirs / ours:.2f}{remark}"


def memory_text(peak):
    return f"{peak / 2**20:,.0f} MiB" if peak else "–"


def work_table(measured):
    lines = [
        "| work | type | ours | of the limit | eager | compiled | ggml | memory ours | eager |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for key, dtype, work in measured.rows():
        if is_limit(key):
            continue
        ours = measured.seconds(OURS, key, dtype)
        ratios = " | ".join(ratio_cell(measured, peer, key, dtype, ours) for peer in PEERS)
        memory = " | ".join(memory_text(measured.memory(peer, key, dtype)) for peer in (OURS, EAGER))
        lines.append(f"| {work} | {dtype} | {text_of(ours)} | {share_of_limit(measured, key, dtype)} | {ratios} | {memory} |")
    return lines


def rate_text(measured, key, dtype, threads):
    rate = measured.rate(key, dtype, threads)
    if rate is None:
        return text_of(measured.seconds(OURS, key, dtype, threads))
    return f"{rate / 1e9:,.3g} {'GB/s' if 'flops' not in measured.entries(OURS, key, dtype, threads)[0][0] else 'Gop/s'}"


def thread_table(measured):
    lines = [
        f"| work | type | 1 thread | {measured.all_threads} threads | gain |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for key, dtype, work in measured.rows():
        one, all_ = (measured.seconds(OURS, key, dtype, threads) for threads in (1, measured.all_threads))
        if one is None or measured.all_threads == 1:
            if is_limit(key):
                lines.append(f"| {work} | {dtype} | – | {rate_text(measured, key, dtype, measured.all_threads)} | – |")
            continue
        texts = " | ".join(rate_text(measured, key, dtype, threads) for threads in (1, measured.all_threads))
        lines.append(f"| {work} | {dtype} | {texts} | {one / all_:.2f} |")
    return lines


def find(measured, beginning):
    return next((key for key, _, _ in measured.rows() if key.startswith(beginning)), "")


def picture_seconds(measured, peer, side, ar, dit):
    """A whole picture, put together -> seconds by stage, or None where a part is missing. What a peer did not measure of
    glyphs and pixels, its eager form did."""
    def of(key, dtype, spare=None):
        seconds = measured.seconds(peer, key, dtype)
        return measured.seconds(spare, key, dtype) if seconds is None and spare else seconds

    spare = EAGER if peer == COMPILED else None
    glyph_row = next((work for key, _, work in measured.rows() if key == "glyph_encoder"), "glyph encoder, 2 layers")
    layers = int(glyph_row.split(",")[1].split()[0])
    parts = {
        "layer": of(find(measured, "ar_layer.decode_"), ar),
        "head": of("ar_head.scores", ar),
        "glyphs": of("glyph_encoder", "bfloat16", spare),
        "step": of(f"dit_layer.step_{side}", dit),
        "pixels": of(f"vae.decode_{side}", "bfloat16", spare),
    }
    if None in parts.values():
        return None
    return {
        "visual tokens": VISUAL_TOKENS[side] * (AR_LAYERS * parts["layer"] + parts["head"]),
        "glyphs": PASSES * GLYPH_LAYERS / layers * parts["glyphs"],
        "denoising": STEPS * PASSES * DIT_LAYERS * parts["step"],
        "pixels": parts["pixels"],
    }


MIXES = (("bfloat16", "bfloat16", "bfloat16"), ("int8", "int8", "int8"), ("AR int4, DiT int8", "int4", "int8"))


def pictures(measured):
    """[{"side", "mix", "peer", "seconds": {stage: …}}] of whatever was measured."""
    found = []
    for side in VISUAL_TOKENS:
        for name, ar, dit in MIXES:
            for peer in (OURS, EAGER, COMPILED):
                if seconds := picture_seconds(measured, peer, side, ar, dit):
                    found.append({"side": side, "mix": name, "peer": peer, "seconds": seconds})
    return found


def picture_table(measured):
    found = pictures(measured)
    if not found:
        return []
    stages = list(found[0]["seconds"])
    lines = [
        "",
        "A whole picture of the published model, **extrapolated** from the rows above, not measured: "
        f"visual tokens times {AR_LAYERS} layers and the head; {STEPS} steps of {PASSES} passes through {DIT_LAYERS} layers; "
        f"{GLYPH_LAYERS} layers of the glyph encoder, twice; the VAE's decoder. Prompt, samplers and projections are left out.",
        "",
        "| picture | types | by | " + " | ".join(stages) + " | all |",
        "| --- | --- | --- |" + " ---: |" * (len(stages) + 1),
    ]
    for row in found:
        texts = [minutes_of(seconds) for seconds in [*row["seconds"].values(), sum(row["seconds"].values())]]
        lines.append(f"| {row['side']} x {row['side']} | {row['mix']} | {row['peer']} | " + " | ".join(texts) + " |")
    return lines


def minutes_of(seconds):
    return f"{seconds / 60:.3g} min" if seconds >= 120 else text_of(seconds)


def markdown(document):
    measured = Measured(document["turns"])
    lines = [f"{document['machine']}, {measured.all_threads} threads; {document['date']}."]
    if any(turn["result"]["quick"] for turn in document["turns"]):
        lines.insert(0, "**A smoke run: the numbers mean nothing.**\n")
    for peer in (OURS, *PEERS):
        versions = {turn["result"]["implementation"] for turn in document["turns"] if turn["peer"] == peer} - {""}
        lines += [f"{peer.capitalize()}: {', '.join(sorted(versions))}." for _ in versions][:1]
    lines += [f"Not measured: {peer} ({why})." for peer, why in document["missing"].items()]
    for table in (thread_table(measured), work_table(measured)):
        lines += ["", *table] if len(table) > 2 else []
    lines += picture_table(measured)
    if reasons := does_not_compile(document["turns"]):
        lines += ["", *reasons]
    return "\n".join(lines)


def does_not_compile(turns):
    return [f"{key}, {turn['dtype']}, {turn['peer']}: {why}."
            for turn in turns for key, why in turn["result"]["skipped"].items()]  # fmt: skip
