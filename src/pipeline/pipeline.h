#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/image.h"
#include "core/safetensors.h"
#include "pipeline/memory_limit.h"
#include "pipeline/progress.h"
#include "pipeline/request.h"
#include "pipeline/step_cache.h"

namespace glmimage {

// An adapter to draw with.
struct LoraChoice {
  std::filesystem::path file;  // or a folder, see LoraFile::open
  double scale = 1;            // 0: as without it; below 0: away from what it was trained for
};

// What became of one.
struct LoraUse {
  LoraChoice choice;
  int64_t matrices = 0;                // of both models that it changes
  std::vector<std::string> unmatched;  // names of the file that fit no matrix
};

struct PipelineOptions {
  std::filesystem::path model;               // a folder in the published layout
  at::Device device = at::Device(at::kCPU);  // its library is already loaded (core/device.h)
  std::optional<at::ScalarType> dtype;       // float32, bfloat16, float16; unset: chosen by device and memory
  std::vector<LoraChoice> loras;             // merged into the weights, in float32, all at once
  MemoryLimit memory = {};
  RequestOutline largest = {};  // the largest request memory is planned for
};

// What a caller may want to see of one request, beside its result. All members are optional.
struct RequestObserver {
  Progress* progress = nullptr;   // stages, steps, cancellation
  NamedTensors* trace = nullptr;  // every stage's tensors, on the CPU, in the order they were made
  std::function<void(int64_t step, const Image&)> preview;  // the picture as estimated after a denoising step
  std::vector<int64_t> preview_steps = {};  // those to show, each of which costs a pass of the VAE; empty: every one
};

struct GenerateResult {
  Image image;  // as asked for, 8-bit RGB
  uint64_t seed = 0;
  std::map<std::string, double> seconds;  // per stage
  int64_t visual_tokens = 0;              // written by the autoregressive model
  PassCount transformer;                  // passes of the denoising steps
};

// One of several pictures to draw, and whom to tell: exactly one of `done` and `failed` is called, from the thread that
// draws.
struct GenerateTask {
  GenerateRequest request;
  RequestObserver observer = {};
  std::function<void(GenerateResult)> done;
  std::function<void(const Error&)> failed;  // ErrorKind::cancelled among others
};

// From one request to one picture. The models are const after loading; each request has its own state.
// Reference: diffusers 0.39.0 GlmImagePipeline.
class Pipeline {
 public:
  // Reads configurations and adapters, then maps the weights. Throws ErrorKind::checkpoint.
  static Pipeline open(const PipelineOptions& options, Progress* progress = nullptr);
  Pipeline(Pipeline&&) noexcept;
  ~Pipeline();

  // Draws. The same request gives the same picture on the same device, type and build. Throws ErrorKind::usage,
  // ErrorKind::cancelled, ErrorKind::out_of_memory.
  GenerateResult generate(const GenerateRequest& request, const RequestObserver& observer = {}) const;

  // Draws several, each as it would be drawn alone, and tells of each as soon as it is finished; a fault of one does
  // not touch the others. Their visual tokens are written as batches where that changes no bit (prior_batch.h), then
  // they are painted one after the other. A batch has as many as memory was planned for (RequestOutline::batch,
  // MemoryUse::together). `seconds` shares the time of a batch out among its pictures.
  void generate(std::span<GenerateTask> tasks) const;

  // The picture through the VAE and back: the sharpest this checkpoint could draw it. Both sides must be multiples of
  // the VAE's scale (8 pixels). Throws ErrorKind::usage.
  Image reconstruct(const Image& picture) const;

  int64_t default_size() const;  // pixels a side, the VAE's sample_size
  at::ScalarType dtype() const;
  int64_t weight_bytes() const;               // of all parts, in the type they are held in
  const MemoryUse& memory() const;            // what was planned for
  const std::vector<LoraUse>& loras() const;  // as in the options
  // The matrices of floats of the language model, the glyph encoder and the transformer by their names in the
  // checkpoint, (out, in) each, as they lie in memory: not to be written to.
  // Throws ErrorKind::out_of_memory where weights come and go.
  NamedTensors matrices() const;

 private:
  struct Parts;    // parts.h
  struct Request;  // one request's way through the stages
  struct Drawing;  // one of several
  void draw_visual_tokens(const std::vector<std::unique_ptr<Drawing>>& drawings) const;
  explicit Pipeline(std::unique_ptr<const Parts> parts);
  std::unique_ptr<const Parts> parts_;
};

}  // namespace glmimage
