#include <c10/core/InferenceMode.h>

#include "bench/layers.h"
#include "core/error.h"
#include "models/layers/layers.h"

namespace glmimage::bench {
namespace {

// Products that run one after another, each with an input of its own.
struct Work {
  std::string key, text;
  int64_t tokens;
  std::vector<Linear> matrices;
};

void time_products(Report& report, Work work, const Format& format, Repeats repeats) {
  ParameterList parameters;
  for (Linear& matrix : work.matrices) matrix.list(parameters, "layer");
  fill(parameters, format);
  const int64_t weights = count_elements(parameters);
  quantise_layers(parameters, format);
  std::vector<at::Tensor> inputs;
  for (const Linear& matrix : work.matrices) inputs.push_back(noise({1, work.tokens, matrix.in}, format));
  if (work.tokens == 1) {
    repeats.warm_up *= 4;
    repeats.measured *= 4;
  }
  report.add(work.key, work.text, time_runs(repeats, [&] {
               for (size_t i = 0; i < inputs.size(); ++i) work.matrices[i](inputs[i]);
             }));
  if (work.tokens == 1) {
    report.set(work.key, "bytes", bytes_of(parameters));
  } else {
    report.set(work.key, "flops", 2 * work.tokens * weights);
  }
}

}  // namespace

// Matrices that read the same input are joined, in the AR layer because it runs so, in the DiT layer to be fair to who
// can join them. As in bench/compare/reference_layers.py and bench/compare/ggml/bench_ggml.cpp.
void bench_products(Report& report, const LayerSizes& sizes, const Format& format, Repeats repeats) {
  const c10::InferenceMode inference;
  const int64_t d = sizes.ar_width, f = sizes.ar_feed_forward, kv = sizes.ar_width / sizes.ar_heads * sizes.ar_kv_heads;
  const int64_t w = sizes.dit_heads * sizes.dit_head_dim, image = sizes.image_tokens + sizes.glyph_tokens;
  const std::vector<Linear> ar = {
      {d, d + 2 * kv, Bias::none}, {d, d, Bias::none}, {d, 2 * f, Bias::none}, {f, d, Bias::none}};
  const std::vector<Linear> dit = {
      {w, 3 * w, Bias::none}, {w, w, Bias::none}, {w, 4 * w, Bias::none}, {4 * w, w, Bias::none}};
  time_products(report, {"products.ar_1", "1 token through the matrices of an AR layer", 1, ar}, format, repeats);
  time_products(report,
                {"products.ar_many", concat(sizes.prompt_tokens, " tokens through the matrices of an AR layer"),
                 sizes.prompt_tokens, ar},
                format, repeats);
  time_products(report, {"products.dit_many", concat(image, " tokens through the matrices of a DiT layer"), image, dit},
                format, repeats);
}

}  // namespace glmimage::bench
