#pragma once

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "core/safetensors.h"
#include "train/stages/stages.h"

namespace glmimage::train {

// A folder below the build folder, not there yet.
inline std::filesystem::path fresh_folder(const std::string& name) {
  const std::filesystem::path folder = std::filesystem::path(GLM_IMAGE_BINARY_DIR) / "scratch" / "train" / name;
  std::filesystem::remove_all(folder);
  return folder;
}

// A run of the smallest preset: a few milliseconds a step.
inline StageOptions tiny_stage(const std::filesystem::path& out, int64_t steps) {
  StageOptions options;
  options.out = out;
  options.config.preset = "tiny";
  options.config.steps = steps;
  options.config.batch = 2;
  options.config.warmup = 2;
  options.config.save_every = 0;
  options.config.log_every = 1000;
  return options;
}

// The first difference between two weight files, by name; empty when they are equal bit for bit.
inline std::string first_difference(const std::filesystem::path& a, const std::filesystem::path& b) {
  const SafetensorsFile left = SafetensorsFile::open(a), right = SafetensorsFile::open(b);
  if (left.tensors().size() != right.tensors().size()) return "the number of tensors";
  for (const TensorInfo& info : left.tensors()) {
    if (!right.find(info.name) || !at::equal(left.tensor(info.name), right.tensor(info.name))) return info.name;
  }
  return "";
}

}  // namespace glmimage::train
