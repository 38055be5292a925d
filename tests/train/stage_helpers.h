#pragma once

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "core/encode_image.h"
#include "core/error.h"
#include "core/image.h"
#include "core/safetensors.h"
#include "train/stages/stages.h"

namespace glmimage::train {

// A folder below the build folder, not there yet.
inline std::filesystem::path fresh_folder(const std::string& name) {
  const std::filesystem::path folder = std::filesystem::path(GLM_IMAGE_BINARY_DIR) / "scratch" / "train" / name;
  std::filesystem::remove_all(folder);
  return folder;
}

// A short run that watches and saves nothing before its end.
inline StageOptions tiny_run(const std::filesystem::path& out, int64_t steps, const TrainConfig& config = {}) {
  StageOptions options;
  options.config = config;
  options.config.steps = steps;
  options.config.batch = 2;
  options.config.warmup = 2;
  options.config.save_every = 0;
  options.config.log_every = 1000;
  options.out = out;
  return options;
}

// The same of a stage, with the smallest preset: a few milliseconds a step.
inline StageOptions tiny_stage(const std::string& stage, const std::filesystem::path& out, int64_t steps) {
  StageOptions options = tiny_run(out, steps, TrainConfig::of_stage(stage));
  options.config.preset = "tiny";
  options.config.data = {"synthetic:64"};
  return options;
}

// What `action` throws, which is of this kind.
inline std::string message_of(const std::function<void()>& action, ErrorKind kind) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "nothing was thrown";
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

// A picture as a camera would not take it: a disc of one colour on a ground of another, by number.
inline Image disc_picture(int64_t width, int64_t height, int number) {
  Image image{width, height, {}};
  const auto shade = [](int value) { return static_cast<uint8_t>(40 + value * 61 % 200); };
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const double dx = static_cast<double>(x) / static_cast<double>(width) - 0.3 - 0.1 * (number % 5),
                   dy = static_cast<double>(y) / static_cast<double>(height) - 0.3 - 0.1 * (number / 5 % 5);
      const bool inside = dx * dx + dy * dy < 0.06;
      for (int c = 0; c < 3; ++c) image.pixels.push_back(shade(inside ? number * 3 + c : number + 7 * c));
    }
  }
  return image;
}

// A folder of pictures of three shapes with captions beside them, as a stranger has it.
inline std::filesystem::path album(const std::filesystem::path& folder, int count) {
  std::filesystem::create_directories(folder);
  const std::vector<std::pair<int64_t, int64_t>> shapes = {{80, 80}, {128, 72}, {70, 120}};
  for (int i = 0; i < count; ++i) {
    const auto [width, height] = shapes[static_cast<size_t>(i) % shapes.size()];
    const std::string name = concat("photo", 1000 + i);
    save_image(folder / (name + ".png"), disc_picture(width, height, i));
    std::ofstream(folder / (name + ".txt")) << "disc number " << i << " of \"HI\"";
  }
  return folder;
}

// A list of editing pairs: pictures of the album, each with its neighbour as the picture before the edit.
inline std::filesystem::path editing_list(const std::filesystem::path& album, int count) {
  std::ofstream list(album / "pairs.jsonl");
  for (int i = 0; i < count; ++i) {
    list << R"({"image": "photo)" << 1000 + i << R"(.png", "source": "photo)" << 1000 + (i + 3) % count
         << R"(.png", "caption": "one disc less"})" << '\n';
  }
  return album / "pairs.jsonl";
}

// The lines of a run's metrics.jsonl.
inline std::vector<nlohmann::json> metrics_of(const std::filesystem::path& run) {
  std::ifstream stream(run / "metrics.jsonl");
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

// The numbers of this name in those that have it.
inline std::vector<double> metrics(const std::filesystem::path& run, const std::string& field) {
  std::vector<double> values;
  for (const nlohmann::json& line : metrics_of(run)) {
    if (line.contains(field)) values.push_back(line[field].get<double>());
  }
  return values;
}

// The mean of the first or the last `count` of them.
inline double mean_of(std::vector<double> values, int64_t count) {
  if (count < 0)
    values.erase(values.begin(), values.end() + count);
  else
    values.resize(static_cast<size_t>(count));
  double sum = 0;
  for (double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

}  // namespace glmimage::train
