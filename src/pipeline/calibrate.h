#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "pipeline/pipeline.h"
#include "pipeline/progress.h"
#include "pipeline/request.h"

namespace glmimage {

// What the matrices of a checkpoint are multiplied with while it draws.
struct Calibration {
  int64_t pictures = 0, steps = 0;
  // By the matrix's name: the mean square of each of its inputs, (in) float32 on the CPU. A matrix that was not used is
  // not there.
  std::map<std::string, at::Tensor> input_squares;
};

// Draws the requests and takes the means over all tokens that pass: of the language model's prompts and drawn ids, of
// quoted strings, of all denoising steps with and without the prompt. Sums in float64 of sums in float32 over a
// product's tokens. `progress` follows each request and stops it; `drawn` is told how many are done.
// Throws what Pipeline::generate() throws, and ErrorKind::checkpoint for inputs that are no numbers.
Calibration calibrate(const Pipeline& pipeline, const std::vector<GenerateRequest>& requests,
                      Progress* progress = nullptr, const std::function<void(int64_t done)>& drawn = {});

}  // namespace glmimage
