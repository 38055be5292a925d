#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "models/tokens.h"
#include "models/vae/vae.h"
#include "models/visual_tokenizer/visual_tokenizer.h"
#include "train/data/data_set.h"

namespace glmimage::train {

Grid grid_of(const Bucket& bucket);                   // visual tokens
Grid draft_grid_of(Grid target, int64_t draft_size);  // of the draft before it

// A finished, frozen part that turns the pictures of a record into numbers, one row a record. Its weights are read when
// the first picture is to be encoded: with a full cache never. May be called from many threads.
class PictureEncoder {
 public:
  virtual ~PictureEncoder() = default;
  virtual at::ScalarType type() const = 0;  // of the rows
  // What rows depend on beside the pictures: the weights (hash_weights) and settings.
  virtual const std::string& key() const = 0;
  // The records of a batch, all of the same shapes -> (B, n), the target first, then the references.
  virtual at::Tensor encode(const DataBatch& batch) const = 0;
};

// Visual ids, int32: of the target, of its draft (records without references alone), of the references.
class TokenEncoder : public PictureEncoder {
 public:
  TokenEncoder(const std::filesystem::path& folder, const PreprocessConfig& preprocess, int64_t draft_size);
  at::ScalarType type() const override { return at::kInt; }
  const std::string& key() const override { return key_; }
  at::Tensor encode(const DataBatch& batch) const override;
  int64_t draft_size() const { return draft_size_; }
  const VisualTokenizerConfig& config() const { return config_; }

 private:
  const VisualTokenizer& model() const;
  std::filesystem::path folder_;
  VisualTokenizerConfig config_;
  PreprocessConfig preprocess_;
  int64_t draft_size_;
  std::string key_;
  mutable std::once_flag loaded_;
  mutable std::optional<VisualTokenizer> model_;
};

// Normalised latents (the distribution's mean), bfloat16 to halve their room: of the target, of the references.
class LatentEncoder : public PictureEncoder {
 public:
  explicit LatentEncoder(const std::filesystem::path& folder);
  at::ScalarType type() const override { return at::kBFloat16; }
  const std::string& key() const override { return key_; }
  at::Tensor encode(const DataBatch& batch) const override;
  const VaeConfig& config() const { return config_; }

 private:
  const Vae& model() const;
  std::filesystem::path folder_;
  VaeConfig config_;
  std::string key_;
  mutable std::once_flag loaded_;
  mutable std::optional<Vae> model_;
};

}  // namespace glmimage::train
