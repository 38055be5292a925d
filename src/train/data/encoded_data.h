#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "train/data/data_set.h"
#include "train/data/picture_encoder.h"
#include "train/data/record_cache.h"

namespace glmimage::train {

// B pictures of one shape as the later stages read them.
struct EncodedPictures {
  Grid grid;           // visual tokens
  at::Tensor ids;      // (B, grid.count()) int64
  at::Tensor latents;  // (B, C, H/8, W/8) float32, normalised; undefined where no VAE was asked for
};

struct EncodedBatch {
  std::vector<std::string> captions;
  std::vector<Framing> framings;
  EncodedPictures target;
  Grid draft_grid;
  at::Tensor draft_ids;                     // (B, draft_grid.count()) int64; undefined where there are references
  std::vector<EncodedPictures> references;  // in prompt order, each of B pictures; of editing pairs

  int64_t size() const { return static_cast<int64_t>(captions.size()); }
};

struct EncodedOptions {
  std::filesystem::path cache;  // folder of what was encoded; may be shared by runs and by processes
  int64_t workers = 1;          // threads that read pictures
  const std::atomic<bool>* stop = nullptr;
};

// A data set behind the frozen parts that encode its pictures. Where every visit of a picture is the same (centre
// crops, no mirroring), each is encoded once and kept in a cache; otherwise every batch is encoded as it comes.
class EncodedData {
 public:
  // Fills the cache where there is one. Records whose pixels turn out to be broken are left out of `data`, which stays
  // the caller's. `latents` may be null.
  EncodedData(DataSet& data, std::unique_ptr<TokenEncoder> tokens, std::unique_ptr<LatentEncoder> latents,
              const EncodedOptions& options);

  // False when options.stop cut the encoding short: what is there is kept.
  bool complete() const { return complete_; }
  // The batch of a step, without padding. A pure function of the step; may be called from many threads.
  EncodedBatch batch(int64_t step) const;
  // These records, of one shape; empty when all of them are broken.
  EncodedBatch at(const std::vector<int64_t>& records) const;

 private:
  void fill(const PictureEncoder& encoder, std::unique_ptr<RecordCache>& cache, const char* name,
            const EncodedOptions& options, std::set<int64_t>& broken);
  at::Tensor rows(const PictureEncoder& encoder, const RecordCache* cache, const DataBatch& batch) const;
  EncodedBatch encoded(const DataBatch& batch) const;

  const DataSet& data_;
  std::unique_ptr<TokenEncoder> tokens_;
  std::unique_ptr<LatentEncoder> latents_;
  bool cached_ = false, complete_ = true;
  std::unique_ptr<RecordCache> token_cache_, latent_cache_;
  std::vector<TextHash> keys_;  // of the records
};

}  // namespace glmimage::train
