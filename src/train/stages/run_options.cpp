#include "train/stages/stages.h"

namespace glmimage::train {

RunOptions run_options(const StageOptions& options) {
  const TrainConfig& config = options.config;
  return {.out = options.out,
          .steps = config.steps,
          .batch = config.batch,
          .learning_rate = config.learning_rate,
          .warmup = config.warmup,
          .ema_decay = config.ema_decay,
          .optimiser = config.optimiser,
          .save_every = config.save_every,
          .log_every = config.log_every,
          .seed = config.seed,
          .resume = options.resume,
          .stop = options.stop};
}

}  // namespace glmimage::train
