#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/config/distributed_settings.h"
#include "train/config/fields.h"
#include "train/config/rl_settings.h"
#include "train/data/data_config.h"
#include "train/optim/adam_w.h"

namespace glmimage::train {

enum class Schedule { cosine, constant };    // of the learning rate, after the warm-up
enum class Precision { float32, bfloat16 };  // of the arithmetic; weights, moments and averages stay float32
enum class Density { towards_noise, uniform, logit_normal };  // of the times the DiT learns at, before the shift

template <>
struct EnumNames<Schedule> {
  static const std::vector<std::pair<const char*, Schedule>> names;
};
template <>
struct EnumNames<Precision> {
  static const std::vector<std::pair<const char*, Precision>> names;
};
template <>
struct EnumNames<Density> {
  static const std::vector<std::pair<const char*, Density>> names;
};

// Weights of the VAE's losses (docs/training.md), and the discriminator of the adversarial one.
struct VaeSettings {
  double l1 = 1, l2 = 0.5, gradient = 1, kl = 2e-4;
  double adversarial = 0;        // 0: no discriminator
  int64_t adversarial_from = 0;  // update at which the term and the discriminator's learning begin, as in VQGAN
  int64_t discriminator_width = 32, discriminator_depth = 3;
};

// Weights of the tokenizer's losses.
struct TokenizerSettings {
  double name_alone = 1, name = 0.5, part = 1, background = 0.3, look = 1;  // heads dropped at export
  double pixels = 1;                                                        // of pictures nobody labelled
  double commit = 0.25, codebook = 1;
  double soft_share = 0.1;  // of the steps at the beginning that do not use the codes yet
};

struct ArSettings {
  double draft_weight = 1;  // of the draft's tokens in the loss, against 1 for the picture's
};

struct DitSettings {
  Density density = Density::towards_noise;
  double drop = 0.1;  // share of pictures without prior ids and glyphs
  // The transformer is told what a picture lost at the top and on the left; drawing says that nothing was.
  bool tell_crop = false;
  bool train_text_encoder = true;
  bool new_glyph_attention = false;  // of a trained glyph encoder (stages/positional_heads.h)
  double glyph_place = 0;            // weight of glyphs telling their places in their string (losses/glyph_places.h)
};

// An adapter trained in place of the weights. Stages ar and dit.
struct LoraSettings {
  int64_t rank = 0;                  // 0: none, train the weights
  double alpha = 0;                  // 0: as large as the rank
  std::vector<std::string> targets;  // ends of names of modules; empty: the attention's projections
};

// Everything a run is told that changes what comes out, and how it is watched. The command line, a file (--config) and
// --set name=value fill it; the run's folder keeps it as config.json.
struct TrainConfig {
  std::string stage;  // vae, tokenizer, dit, ar, nft, flow-grpo or grpo-ar
  std::string preset = "mini";
  uint64_t seed = 1;
  int64_t steps = 1000;
  int64_t batch = 32;      // pictures of one pass
  int64_t accumulate = 1;  // passes of one update
  double learning_rate = 1e-3;
  Schedule schedule = Schedule::cosine;
  int64_t warmup = 100;      // updates
  double final_rate = 0.02;  // the cosine ends at this share of the peak
  AdamWOptions optimiser;
  double ema_decay = 0.999;  // 0: the last weights are exported instead
  Precision precision = Precision::float32;
  bool recompute = false;  // blocks are computed again in the backward pass instead of kept: less memory, more time
  int64_t skipped_in_a_row = 10;  // updates with non-finite gradients that end the run
  DistributedSettings distributed;
  double spike = 6;  // losses this many deviations above their late mean are called out; 0: never

  std::vector<std::string> data = {"synthetic"};  // --data
  DataConfig data_config;
  int64_t workers = 1;  // threads that read pictures
  std::string cache;    // folder of encoded pictures, which runs may share; empty: cache/ in the run's own

  int64_t save_every = 500, keep_last = 2, log_every = 20;
  int64_t held_out_every = 0, sample_every = 0;  // 0: at the end alone, never
  std::vector<std::string> prompts;              // of the sample pictures; none: held-out ones
  int64_t held_out = 512;                        // pictures kept from training to measure on; at most an eighth

  VaeSettings vae;
  TokenizerSettings tokenizer;
  ArSettings ar;
  DitSettings dit;
  LoraSettings lora;
  RlSettings rl;
  NftSettings nft;
  FlowGrpoSettings flow_grpo;
  GrpoArSettings grpo_ar;

  // The defaults of a stage. Throws ErrorKind::usage for a stage there is not.
  static TrainConfig of_stage(const std::string& stage);
  // Its settings by name. Points into this object.
  FieldList fields();
  // Throws ErrorKind::usage for settings that contradict each other.
  void check() const;
};

// The names of the settings in which two runs differ and must not when one goes on from the other's state: all but
// those that say how long it runs and how it is watched.
std::vector<std::string> settings_that_differ(TrainConfig a, TrainConfig b);

}  // namespace glmimage::train
