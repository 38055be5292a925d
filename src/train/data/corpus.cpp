#include "train/data/corpus.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include <chrono>
#include <cstdio>
#include <random>

#include "core/error.h"
#include "core/image.h"
#include "core/safetensors.h"
#include "models/vae/vae.h"
#include "models/visual_tokenizer/visual_tokenizer.h"
#include "text/chat_template.h"
#include "train/data/half_size.h"
#include "train/data/prefetch.h"
#include "train/data/world_batches.h"

namespace glmimage::train {
namespace fs = std::filesystem;

namespace {

constexpr int64_t kChunk = 64;

// FNV-1a: another world has other captions.
uint64_t fingerprint(const std::vector<std::string>& captions) {
  uint64_t hash = 14695981039346656037ULL;
  for (const std::string& caption : captions) {
    for (const char byte : caption) hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211ULL;
  }
  return hash;
}

// What the corpus depends on: settings, the world (by its captions), and the weights of the parts that encode it (by
// size and time of writing).
std::string cache_key(const Preset& preset, const StageOptions& options, CorpusParts parts,
                      const std::vector<std::string>& captions) {
  std::string key =
      concat(preset.name, " ", preset.picture_size, " ", preset.draft_size, " ", preset.corpus_size, " ",
             options.config.seed, " ", parts == CorpusParts::latents ? "latents" : "ids", " ", fingerprint(captions));
  for (const fs::path& folder : {options.tokenizer, options.vae}) {
    if (folder.empty()) continue;
    const WeightFiles weights = WeightFiles::open(folder);
    for (const SafetensorsFile& file : weights.files()) {
      key += concat(" ", fs::file_size(file.path()), " ", fs::last_write_time(file.path()).time_since_epoch().count());
    }
  }
  return key;
}

struct Chunk {
  std::vector<std::string> captions;
  std::vector<Image> images;
};

}  // namespace

Corpus Corpus::build(const world::World& world, const Preset& preset, const StageOptions& options, CorpusParts parts) {
  const bool latents = parts == CorpusParts::latents;
  if (options.tokenizer.empty()) fail(ErrorKind::usage, "this stage needs a trained tokenizer: --tokenizer DIR");
  if (latents && options.vae.empty()) fail(ErrorKind::usage, "this stage needs a trained VAE: --vae DIR");
  Corpus corpus;
  const int64_t side = preset.picture_size / kPixelsPerVisualToken, count = preset.corpus_size * (latents ? 1 : 4);
  corpus.grid_ = {side, side};
  const PromptGrid draft = glmimage::draft_grid(PromptGrid{side, side}, preset.draft_size);
  corpus.draft_grid_ = {draft.height, draft.width};

  // Captions cost nothing; they are made again from the seed rather than stored.
  for (int64_t first = 0; first < count; first += kChunk) {
    for (auto& scene :
         sample_scenes(world, options.config.seed, Stream::data, first, std::min(kChunk, count - first))) {
      corpus.captions_.push_back(std::move(scene.caption));
    }
  }
  const fs::path file = options.out / "corpus.safetensors";
  const std::string key = cache_key(preset, options, parts, corpus.captions_);
  if (fs::exists(file)) {
    const SafetensorsFile cached = SafetensorsFile::open(file);
    const auto found = cached.metadata().find("key");
    if (found != cached.metadata().end() && found->second == key) {
      corpus.ids_ = cached.tensor("ids");
      corpus.draft_ids_ = cached.tensor("draft_ids");
      if (latents) corpus.latents_ = cached.tensor("latents");
      return corpus;
    }
  }

  at::NoGradGuard no_grad;
  const VisualTokenizer tokenizer = VisualTokenizer::open(options.tokenizer, {.dtype = at::kFloat});
  std::optional<Vae> vae;
  if (latents) vae = Vae::open(options.vae, {.dtype = at::kFloat});
  std::vector<at::Tensor> ids, draft_ids, latent_chunks;
  Prefetch<Chunk> chunks(
      [&](int64_t chunk) {
        Chunk out;
        const int64_t first = chunk * kChunk;
        for (const auto& scene :
             sample_scenes(world, options.config.seed, Stream::data, first, std::min(kChunk, count - first))) {
          out.images.push_back(world.render(scene));
        }
        return out;
      },
      0, (count + kChunk - 1) / kChunk);
  const auto began = std::chrono::steady_clock::now();
  for (int64_t first = 0; first < count; first += kChunk) {
    const Chunk chunk = chunks.next();
    ids.push_back(tokenizer.encode_batch(half_size_patches(chunk.images, corpus.grid_, preset.preprocess), corpus.grid_)
                      .to(at::kInt));
    draft_ids.push_back(
        tokenizer
            .encode_batch(half_size_patches(chunk.images, corpus.draft_grid_, preset.preprocess), corpus.draft_grid_)
            .to(at::kInt));
    if (latents) {
      latent_chunks.push_back(vae->normalise(vae->encode(vae_pixels(chunk.images)).mean).to(at::kBFloat16));
    }
    if ((first / kChunk) % 50 == 49) {
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
      std::fprintf(stderr, "corpus: %lld/%lld pictures, %.0f/s\n", static_cast<long long>(first + kChunk),
                   static_cast<long long>(count), static_cast<double>(first + kChunk) / seconds);
    }
  }
  corpus.ids_ = at::cat(ids);
  corpus.draft_ids_ = at::cat(draft_ids);
  NamedTensors tensors = {{"ids", corpus.ids_}, {"draft_ids", corpus.draft_ids_}};
  if (latents) {
    corpus.latents_ = at::cat(latent_chunks);
    tensors.emplace_back("latents", corpus.latents_);
  }
  fs::create_directories(options.out);
  write_safetensors(file, tensors, {{"key", key}});
  return corpus;
}

CorpusBatch Corpus::batch(uint64_t seed, int64_t step, int64_t count, int64_t held_out) const {
  std::mt19937_64 random(derive_seed(seed, Stream::data, static_cast<uint64_t>(step) + (uint64_t{1} << 40)));
  std::vector<int64_t> indices;
  const uint64_t limit = static_cast<uint64_t>(size() - held_out);
  for (int64_t i = 0; i < count; ++i) indices.push_back(static_cast<int64_t>(random() % limit));
  return at(indices);
}

CorpusBatch Corpus::at(const std::vector<int64_t>& indices) const {
  CorpusBatch out;
  for (int64_t i : indices) out.captions.push_back(captions_[static_cast<size_t>(i)]);
  const at::Tensor index = at::tensor(indices, at::kLong);
  out.ids = ids_.index_select(0, index).to(at::kLong);
  out.draft_ids = draft_ids_.index_select(0, index).to(at::kLong);
  const int64_t count = index.numel(), h = grid_.height, w = grid_.width;
  out.prior_ids = out.ids.view({count, h, 1, w, 1}).expand({count, h, 2, w, 2}).reshape({count, 4 * h * w});
  if (latents_.defined()) out.latents = latents_.index_select(0, index).to(at::kFloat);
  return out;
}

}  // namespace glmimage::train
