#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/current_error.h"
#include "core/sha256.h"
#include "serve/painter.h"

namespace glmimage::serve::test {

// Draws without a model: 8 x 4 pixels that follow from prompt and seed, in as many steps as asked for. A prompt may ask
// for trouble: "usage", "device".
class FakePainter : public Painter {
 public:
  explicit FakePainter(std::chrono::milliseconds step = {}) : step_(step) {}

  static Image picture(const std::string& prompt, uint64_t seed) {
    const std::string digits = sha256_hex(prompt + "/" + std::to_string(seed));
    Image image{.width = 8, .height = 4, .pixels = {}};
    for (size_t i = 0; i < 96; ++i) image.pixels.push_back(static_cast<uint8_t>(digits[i % 64]));
    return image;
  }

  void draw(std::span<DrawTask> tasks, const JobLoras& loras) override {
    {
      const std::lock_guard lock(mutex_);
      batches_.push_back(tasks.size());
      loras_.push_back(loras);
    }
    for (DrawTask& task : tasks) {
      GenerateResult result;
      try {
        result = draw_one(task);
      } catch (...) {
        task.failed(current_error());
        continue;
      }
      task.done(std::move(result));
    }
  }

  std::map<uint64_t, int> drawn() const {  // by seed
    const std::lock_guard lock(mutex_);
    return drawn_;
  }
  std::vector<size_t> batches() const {
    const std::lock_guard lock(mutex_);
    return batches_;
  }
  std::vector<JobLoras> loras() const {  // of each batch
    const std::lock_guard lock(mutex_);
    return loras_;
  }

 private:
  GenerateResult draw_one(const DrawTask& task) {
    const GenerateRequest& request = task.request;
    if (request.prompt == "usage") fail(ErrorKind::usage, "a bad request");
    if (request.prompt == "device") fail(ErrorKind::device, "the device is gone");
    const std::vector<int64_t>& shown = task.observer.preview_steps;
    for (int64_t i = 0; i < request.steps; ++i) {
      step(task.observer.progress, Stage::denoise, i, request.steps);
      std::this_thread::sleep_for(step_);
      if (task.observer.preview && std::count(shown.begin(), shown.end(), i) > 0) {
        task.observer.preview(i, picture("partial", static_cast<uint64_t>(i)));
      }
    }
    const std::lock_guard lock(mutex_);
    ++drawn_[request.seed];
    GenerateResult result;
    result.image = picture(request.prompt, request.seed);
    result.seed = request.seed;
    result.seconds = {{"denoise", 0.25}};
    result.visual_tokens = 16;
    return result;
  }

  std::chrono::milliseconds step_;
  mutable std::mutex mutex_;
  std::map<uint64_t, int> drawn_;
  std::vector<size_t> batches_;
  std::vector<JobLoras> loras_;
};

}  // namespace glmimage::serve::test
