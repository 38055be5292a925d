#include "pipeline/scheduler.h"

#include <ATen/ops/empty.h>

#include <cmath>

#include "core/error.h"

namespace glmimage {

SchedulerConfig SchedulerConfig::from_json(const JsonObject& json) {
  const std::string kind = json.text("_class_name");
  if (kind != "FlowMatchEulerDiscreteScheduler") {
    json.reject("_class_name", concat("is '", kind, "', only 'FlowMatchEulerDiscreteScheduler' is supported"));
  }
  for (const char* flag :
       {"invert_sigmas", "stochastic_sampling", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"}) {
    if (json.boolean_or(flag, false)) json.reject(flag, "is true, which is not supported");
  }
  if (!json.boolean("use_dynamic_shifting")) json.reject("use_dynamic_shifting", "is false, which is not supported");
  const std::string type = json.text("time_shift_type");
  if (type != "linear") json.reject("time_shift_type", concat("is '", type, "', only 'linear' is supported"));
  if (json.number_or("shift_terminal", 0) != 0) json.reject("shift_terminal", "is set, which is not supported");

  SchedulerConfig c;
  c.train_timesteps = json.positive("num_train_timesteps");
  // Both are floats in the reference: larger label counts or sizes would lose whole numbers.
  if (c.train_timesteps > (1 << 24)) json.reject("num_train_timesteps", "is more than 16777216");
  c.base_image_tokens = json.positive("base_image_seq_len");
  c.base_shift = json.number("base_shift");
  c.max_shift = json.number("max_shift");
  if (!(c.base_shift >= 0) || !(c.max_shift >= 0) || !(c.base_shift + c.max_shift > 0)) {
    json.reject("max_shift",
                concat("and 'base_shift' should not be negative nor both zero: ", c.max_shift, ", ", c.base_shift));
  }
  return c;
}

nlohmann::json SchedulerConfig::to_json() const {
  return {
      {"_class_name", "FlowMatchEulerDiscreteScheduler"},
      {"_diffusers_version", "0.39.0"},
      {"base_image_seq_len", base_image_tokens},
      {"base_shift", base_shift},
      {"invert_sigmas", false},
      {"max_image_seq_len", 4096},  // unused by GLM-Image
      {"max_shift", max_shift},
      {"num_train_timesteps", train_timesteps},
      {"shift", 1.0},
      {"shift_terminal", nullptr},
      {"stochastic_sampling", false},
      {"time_shift_type", "linear"},
      {"use_beta_sigmas", false},
      {"use_dynamic_shifting", true},
      {"use_exponential_sigmas", false},
      {"use_karras_sigmas", false},
  };
}

double resolution_shift(const SchedulerConfig& config, int64_t image_tokens) {
  const double ratio = static_cast<double>(image_tokens) / static_cast<double>(config.base_image_tokens);
  return std::pow(ratio, 0.5) * config.max_shift + config.base_shift;
}

Schedule make_schedule(const SchedulerConfig& config, int64_t steps, int64_t image_tokens) {
  if (steps < 1 || steps > config.train_timesteps) {
    fail(ErrorKind::usage, "steps should be 1 to ", config.train_timesteps, ", not ", steps);
  }
  if (image_tokens < 1) fail(ErrorKind::internal, "schedule: ", image_tokens, " image tokens");
  const auto options = at::TensorOptions().dtype(at::kFloat);
  Schedule out = {at::empty({steps + 1}, options), at::empty({steps}, options)};
  auto sigmas = out.sigmas.accessor<float, 1>();
  auto timesteps = out.timesteps.accessor<float, 1>();

  const auto whole = static_cast<double>(config.train_timesteps);
  const double spacing = (1.0 - whole) / static_cast<double>(steps);
  const auto mu = static_cast<float>(resolution_shift(config, image_tokens));
  for (int64_t i = 0; i < steps; ++i) {
    // Rounded before the addition, never fused with it: labels are truncated, and a last bit would show as a whole
    // step.
    const volatile double offset = static_cast<double>(i) * spacing;
    const auto label = static_cast<float>(static_cast<int64_t>(offset + whole));
    const float sigma = label / static_cast<float>(config.train_timesteps);
    timesteps[i] = label;
    sigmas[i] = mu / (mu + (1.0f / sigma - 1.0f));
  }
  sigmas[steps] = 0.0f;
  return out;
}

}  // namespace glmimage
