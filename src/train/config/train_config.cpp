#include "train/config/train_config.h"

#include <limits>
#include <map>
#include <set>

namespace glmimage::train {
namespace {

constexpr int64_t kMany = std::numeric_limits<int32_t>::max();
constexpr double kLarge = 1e6;

struct StageDefaults {
  double learning_rate;
  int64_t batch;
  double ema_decay;
};

const std::map<std::string, StageDefaults>& stage_defaults() {
  static const std::map<std::string, StageDefaults> table = {
      {"vae", {1e-3, 8, 0.998}},   {"tokenizer", {1e-3, 64, 0.998}}, {"dit", {1e-3, 32, 0.999}},
      {"ar", {2e-3, 64, 0.998}},   {"nft", {1e-4, 32, 0.9}},         {"flow-grpo", {3e-5, 32, 0.9}},
      {"grpo-ar", {3e-5, 32, 0.9}}};
  return table;
}

void add_run_fields(FieldList& list, TrainConfig& c) {
  list.add("stage", c.stage, "vae, tokenizer, dit, ar, nft, flow-grpo or grpo-ar");
  list.add("preset", c.preset, "sizes of a model trained from nothing: tiny, mini or published");
  list.add("seed", c.seed, "of weights, data and noise");
  list.add("steps", c.steps, "updates in all", 1, kMany);
  list.add("batch", c.batch, "pictures of one pass", 1, kMany);
  list.add("accumulate", c.accumulate, "passes of one update", 1, kMany);
  list.add("learning_rate", c.learning_rate, "peak of the learning rate", 0, kLarge);
  list.add_choice("schedule", c.schedule, "of the learning rate: cosine or constant");
  list.add("warmup", c.warmup, "updates until the peak is reached", 0, kMany);
  list.add("final_rate", c.final_rate, "share of the peak at which a cosine ends", 0, 1);
  list.add("ema_decay", c.ema_decay, "of the average of weights that is exported; 0: the last weights", 0, 1);
  list.add_choice("precision", c.precision, "of the arithmetic: float32 or bfloat16; weights stay float32");
  list.add("recompute", c.recompute, "compute blocks again in the backward pass: less memory, more time");
  list.add("skipped_in_a_row", c.skipped_in_a_row, "updates without finite gradients that end the run", 1, kMany);
  list.add("spike", c.spike, "deviations above its late mean at which a loss is called out; 0: never", 0, kLarge);
  list.add("workers", c.workers, "threads that read pictures", 1, 256);
  list.add("save_every", c.save_every, "updates between saved states; 0: at the end alone", 0, kMany);
  list.add("keep_last", c.keep_last, "saved states that are kept", 1, kMany);
  list.add("log_every", c.log_every, "updates between lines on the screen", 1, kMany);
  list.add("held_out_every", c.held_out_every, "updates between held-out losses; 0: at the end alone", 0, kMany);
  list.add("held_out", c.held_out, "pictures kept from training; at most an eighth of all", 0, kMany);
  list.add("sample_every", c.sample_every, "updates between sample pictures; 0: none", 0, kMany);
  list.add("prompts", c.prompts, "of the sample pictures; none: held-out pictures are drawn again");
  list.add("data", c.data, "sources: folders, .jsonl lists, .tar shards, synthetic");
  list.add("cache", c.cache, "folder of encoded pictures, which runs may share; empty: cache/ in the run's own");
}

void add_optimiser_fields(FieldList& list, AdamWOptions& o) {
  list.add("optimiser.beta1", o.beta1, "of AdamW", 0, 1);
  list.add("optimiser.beta2", o.beta2, "of AdamW", 0, 1);
  list.add("optimiser.eps", o.eps, "of AdamW", 0, 1);
  list.add("optimiser.weight_decay", o.weight_decay, "of matrices and larger", 0, kLarge);
  list.add("optimiser.max_grad_norm", o.max_grad_norm, "gradients are clipped to it; 0: never", 0, kLarge);
}

void add_distributed_fields(FieldList& list, DistributedSettings& d) {
  list.add_choice("distributed.sharding", d.sharding, "among processes: none, zero1, zero2 or zero3");
  list.add("distributed.sequence_parallel", d.sequence_parallel,
           "processes that share the tokens of a pass (Ulysses); their number is a multiple of it", 1, 1024);
  list.add("distributed.bucket_mib", d.bucket_mib, "MiB of gradients that are sent together", 0.001, 4096);
  list.add("distributed.timeout", d.timeout, "seconds until a process that does not answer ends the run", 1, 1e6);
}

void add_stage_fields(FieldList& list, TrainConfig& c) {
  const auto weight = [&](const char* name, double& value, const char* help) {
    list.add(name, value, help, 0, kLarge);
  };
  weight("vae.l1", c.vae.l1, "weight of the absolute error");
  weight("vae.l2", c.vae.l2, "weight of the square error");
  weight("vae.gradient", c.vae.gradient, "weight of the error of differences of neighbours");
  weight("vae.kl", c.vae.kl, "weight of the latents' divergence from a normal distribution");
  weight("vae.adversarial", c.vae.adversarial, "weight of passing for a picture; 0: no discriminator");
  list.add("vae.adversarial_from", c.vae.adversarial_from, "update at which that and the discriminator begin", 0,
           kMany);
  list.add("vae.discriminator_width", c.vae.discriminator_width, "its channels; a multiple of 4", 4, 4096);
  list.add("vae.discriminator_depth", c.vae.discriminator_depth, "how often it halves the sides", 1, 8);
  weight("tokenizer.name_alone", c.tokenizer.name_alone, "weight of naming a cell by its code (synthetic world)");
  weight("tokenizer.name", c.tokenizer.name, "weight of naming a cell by all codes (synthetic world)");
  weight("tokenizer.part", c.tokenizer.part, "weight of telling the part of the object (synthetic world)");
  weight("tokenizer.background", c.tokenizer.background, "weight of telling the background (synthetic world)");
  weight("tokenizer.look", c.tokenizer.look, "weight of the coarse look of a cell");
  weight("tokenizer.pixels", c.tokenizer.pixels, "weight of the pixels of a cell (pictures that are not synthetic)");
  weight("tokenizer.commit", c.tokenizer.commit, "weight of features staying near their codes");
  weight("tokenizer.codebook", c.tokenizer.codebook, "weight of codes moving to their features");
  list.add("tokenizer.soft_share", c.tokenizer.soft_share, "share of the steps before codes are used", 0, 1);
  weight("ar.draft_weight", c.ar.draft_weight, "weight of a draft token, against 1 for the picture's");
  list.add_choice("dit.density", c.dit.density, "of the times learned at: towards_noise, uniform or logit_normal");
  list.add("dit.drop", c.dit.drop, "share of pictures without visual tokens and glyphs", 0, 1);
  list.add("dit.tell_crop", c.dit.tell_crop, "the transformer is told where a picture was cut");
  list.add("dit.train_text_encoder", c.dit.train_text_encoder, "the glyph encoder learns too");
  list.add("dit.new_glyph_attention", c.dit.new_glyph_attention,
           "the attention of the glyph encoder in --init begins anew");
  list.add("dit.glyph_place", c.dit.glyph_place, "weight of glyphs telling their places in their string", 0, 100);
  list.add("lora.rank", c.lora.rank, "train an adapter of this rank; 0: the weights", 0, 4096);
  list.add("lora.alpha", c.lora.alpha, "strength of the adapter; 0: its rank", 0, kLarge);
  list.add("lora.targets", c.lora.targets, "ends of the names of its modules; none: the attention's projections");
}

void check_vae(const VaeSettings& vae, int64_t steps) {
  if (vae.discriminator_width % 4 != 0) {
    fail(ErrorKind::usage, "vae.discriminator_width is ", vae.discriminator_width, "; expected a multiple of 4");
  }
  if (vae.adversarial == 0 && vae.adversarial_from > 0) {
    fail(ErrorKind::usage, "vae.adversarial_from says when a term begins, and vae.adversarial, its weight, is 0");
  }
  if (vae.adversarial > 0 && vae.adversarial_from >= steps) {
    fail(ErrorKind::usage, "vae.adversarial_from is ", vae.adversarial_from, ", and the run ends after ", steps,
         " steps: the term would never count");
  }
}

}  // namespace

const std::vector<std::pair<const char*, Schedule>> EnumNames<Schedule>::names = {{"cosine", Schedule::cosine},
                                                                                  {"constant", Schedule::constant}};
const std::vector<std::pair<const char*, Precision>> EnumNames<Precision>::names = {{"float32", Precision::float32},
                                                                                    {"bfloat16", Precision::bfloat16}};
const std::vector<std::pair<const char*, Sharding>> EnumNames<Sharding>::names = {
    {"none", Sharding::none}, {"zero1", Sharding::zero1}, {"zero2", Sharding::zero2}, {"zero3", Sharding::zero3}};
const std::vector<std::pair<const char*, Density>> EnumNames<Density>::names = {
    {"towards_noise", Density::towards_noise}, {"uniform", Density::uniform}, {"logit_normal", Density::logit_normal}};

TrainConfig TrainConfig::of_stage(const std::string& stage) {
  const auto found = stage_defaults().find(stage);
  if (found == stage_defaults().end()) {
    fail(ErrorKind::usage, "there is no stage '", stage,
         "'; expected vae, tokenizer, dit, ar, nft, flow-grpo or grpo-ar");
  }
  TrainConfig config;
  config.stage = stage;
  config.learning_rate = found->second.learning_rate;
  config.batch = found->second.batch;
  config.ema_decay = found->second.ema_decay;
  if (is_rl_stage(stage)) {  // a few hundred large updates
    config.schedule = Schedule::constant;
    config.warmup = 5;
    config.optimiser.weight_decay = 0;
    config.save_every = 20;
    config.log_every = 1;
  }
  DataConfig& data = config.data_config;
  if (stage == "vae") data.fit = Fit::window, data.crop = CropAt::random;
  if (stage == "vae" || stage == "tokenizer") data.captions = CaptionRule::optional;  // they do not read them
  return config;
}

FieldList TrainConfig::fields() {
  FieldList list;
  add_run_fields(list, *this);
  add_optimiser_fields(list, optimiser);
  add_distributed_fields(list, distributed);
  data_config.add_fields(list, "data_config.");
  add_stage_fields(list, *this);
  add_rl_fields(list, *this);
  return list;
}

void TrainConfig::check() const {
  data_config.check();
  if (stage == "vae") check_vae(vae, steps);
  if (is_rl_stage(stage)) check_rl(*this);
  if (lora.rank > 0 && (stage == "vae" || stage == "tokenizer")) {
    fail(ErrorKind::usage, "lora.rank is ", lora.rank, ", and stage ", stage, " has no adapters; dit and ar have");
  }
  if (lora.rank == 0 && (lora.alpha > 0 || !lora.targets.empty())) {
    fail(ErrorKind::usage, "lora.alpha and lora.targets say what an adapter is like, and lora.rank is 0: no adapter");
  }
  if (sample_every == 0 && !prompts.empty()) {
    fail(ErrorKind::usage, "prompts are of sample pictures, and sample_every is 0: none are drawn");
  }
  if (recompute && stage == "vae") {
    fail(ErrorKind::usage, "recompute is on, and stage vae has no blocks that could be computed again");
  }
  const int64_t sharing = distributed.sequence_parallel;
  if (sharing > 1 && stage != "dit" && stage != "ar") {
    fail(ErrorKind::usage, "distributed.sequence_parallel is ", sharing, ", and stage ", stage,
         " has no long sequences to divide; dit and ar have");
  }
  if (sharing > 1 && sample_every > 0) {
    fail(ErrorKind::usage, "sample_every draws pictures with whole sequences, and distributed.sequence_parallel is ",
         sharing, ": draw them with `generate` from a saved checkpoint");
  }
  if (data.empty()) fail(ErrorKind::usage, "there is no data: --data SRC");
}

std::vector<std::string> settings_that_differ(TrainConfig a, TrainConfig b) {
  // May change when a run goes on. The learning rate's curve follows the new number of steps.
  static const std::set<std::string> free = {"steps",
                                             "save_every",
                                             "keep_last",
                                             "log_every",
                                             "held_out_every",
                                             "sample_every",
                                             "prompts",
                                             "workers",
                                             "skipped_in_a_row",
                                             "cache",
                                             "spike",
                                             "learning_rate",
                                             "schedule",
                                             "warmup",
                                             "final_rate",
                                             "recompute",
                                             "distributed.sharding",
                                             "distributed.sequence_parallel",
                                             "distributed.bucket_mib",
                                             "distributed.timeout"};
  const FieldList left = a.fields(), right = b.fields();
  std::vector<std::string> out;
  for (size_t i = 0; i < left.fields().size(); ++i) {
    const Field &one = left.fields()[i], &other = right.fields()[i];
    if (!free.contains(one.name) && one.get() != other.get()) {
      out.push_back(concat(one.name, " (", one.get().dump(), " -> ", other.get().dump(), ")"));
    }
  }
  return out;
}

}  // namespace glmimage::train
