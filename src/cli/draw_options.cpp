#include "cli/draw_options.h"

#include <algorithm>
#include <cstdio>

#include "cli/lora_option.h"
#include "cli/memory_option.h"
#include "core/device.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/listing.h"
#include "core/safetensors.h"
#include "hub/pulled.h"

namespace glmimage::cli {

void add_draw_options(CLI::App& command, DrawOptions& options) {
  command.add_option("-m,--model", options.model, "Folder of a checkpoint, or the name of a pulled one")
      ->capture_default_str();
  command.add_option("--lora", options.loras,
                     "FILE[:SCALE]: an adapter and how strongly it works (1; may be negative); several times");
  command.add_option("--steps", options.steps, "Denoising steps")->capture_default_str();
  command.add_option("--guidance", options.guidance, "Guidance scale; 1 or less: none")->capture_default_str();
  command.add_option("--temperature", options.temperature,
                     "Of the visual tokens; default: the checkpoint's; 0: greedy");
  command.add_option("--top-p", options.top_p, "Nucleus of the visual tokens; default: the checkpoint's");
  command
      .add_option("--cache", options.cache,
                  "Spare steps what earlier ones computed: none, first-block or taylor; faster, other pictures")
      ->capture_default_str();
  command.add_option("--cache-threshold", options.cache_threshold,
                     concat("Of first-block: change of the first block below which the others are reused [",
                            kDefaultCacheThreshold, "]"));
  command.add_option("--cache-interval", options.cache_interval,
                     concat("Every so many steps one is computed in full [taylor: ", kDefaultTaylorInterval,
                            "], or earlier [first-block: ", kDefaultFirstBlockInterval, "]"));
  command.add_option("--dtype", options.dtype, "auto, float32, bfloat16 or float16")->capture_default_str();
  command.add_option("--device", options.device, "cpu, cuda[:n] or npu[:n]")->capture_default_str();
  command.add_option("--memory", options.memory, "auto, low, or at most so much, like 6GiB: weights come and go")
      ->capture_default_str();
  command.add_option("--threads", options.threads, "Processor threads; 0: one a core")
      ->capture_default_str()
      ->check(CLI::Range(0, 4096));
  command.add_flag("--json", options.json, "Print the result, or the error, as JSON");
  command.add_flag("-q,--quiet", options.quiet, "Print errors only");
}

PipelineOptions prepare(const DrawOptions& options) {
  set_threads(options.threads);
  const at::Device device = open_device(parse_device(options.device));
  PipelineOptions out{
      .model = hub::find_model(options.model), .device = device, .dtype = parse_dtype(options.dtype), .loras = {}};
  out.memory = parse_memory(options.memory);
  out.largest.guidance_scale = options.guidance;
  for (const std::string& each : options.loras) out.loras.push_back(parse_lora(each));
  return out;
}

GenerateRequest request_of(const DrawOptions& options) {
  GenerateRequest request;
  request.steps = options.steps;
  request.guidance_scale = options.guidance;
  request.temperature = options.temperature;
  request.top_p = options.top_p;
  request.cache = {.method = parse_cache_method(options.cache),
                   .threshold = options.cache_threshold,
                   .interval = options.cache_interval};
  return request;
}

void warn_of_unmatched(const std::vector<LoraUse>& uses) {
  for (const LoraUse& use : uses) {
    if (use.unmatched.empty()) continue;
    std::vector<std::string> names;
    for (const std::string& name : use.unmatched) names.push_back(quoted_name(name));
    std::fprintf(stderr, "glm-image: warning: %s: %zu of its tensors fit no matrix of the model and are not used: %s\n",
                 use.choice.file.c_str(), names.size(), listed(names, 4).c_str());
  }
}

}  // namespace glmimage::cli
