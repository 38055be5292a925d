#include "pipeline/step_cache.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/lerp.h>

#include <utility>

namespace glmimage {

// One branch's: when a step must be computed, and how many were not.
class StepCache::Memory : public BlockCache {
 public:
  Memory(int64_t interval, int64_t steps) : interval_(interval), last_step_(steps - 1) {}
  void begin(int64_t step) { step_ = step; }
  int64_t reused() const { return reused_; }

  at::Tensor shortcut(int64_t block, const at::Tensor& image) final {
    at::Tensor out = guess(block, image);
    if (out.defined()) {
      reused_ += 1;
      reused_in_a_row_ += 1;
    }
    return out;
  }
  void computed(const at::Tensor& image) final {
    reused_in_a_row_ = 0;
    learn(image);
  }

 protected:
  // As BlockCache::shortcut and computed.
  virtual at::Tensor guess(int64_t block, const at::Tensor& image) = 0;
  virtual void learn(const at::Tensor& image) = 0;

  int64_t step() const { return step_; }
  bool must_compute() const { return step_ == last_step_ || reused_in_a_row_ + 1 >= interval_; }

 private:
  int64_t interval_, last_step_, step_ = 0, reused_in_a_row_ = 0, reused_ = 0;
};

class StepCache::FirstBlock final : public Memory {
 public:
  FirstBlock(double threshold, int64_t interval, int64_t steps) : Memory(interval, steps), threshold_(threshold) {}

 private:
  at::Tensor guess(int64_t block, const at::Tensor& image) override {
    if (block == 0) entering_ = image;
    if (block != 1) return {};
    at::Tensor first = image - entering_;  // (B, N, D)
    if (rest_.defined() && !must_compute() && change(first) < threshold_) return image + rest_;
    first_ = std::move(first);
    behind_first_ = image;
    return {};
  }

  void learn(const at::Tensor& image) override {
    if (behind_first_.defined()) rest_ = image - behind_first_;  // undefined in a model of one block
    entering_ = behind_first_ = at::Tensor();
  }

  // Not a number, so never small, where the first block added nothing then and adds nothing now.
  double change(const at::Tensor& first) const {
    const at::Tensor difference = (first - first_).abs().flatten(1).mean(1, false, at::kFloat);  // (B)
    const at::Tensor size = first_.abs().flatten(1).mean(1, false, at::kFloat);                  // (B)
    return (difference / size).max().item<double>();
  }

  double threshold_;
  at::Tensor first_, rest_;             // what the first block and the others added in the last full step
  at::Tensor entering_, behind_first_;  // of the running step
};

class StepCache::Taylor final : public Memory {
 public:
  Taylor(int64_t interval, int64_t steps) : Memory(interval, steps) {}

 private:
  // What all blocks added in a full step.
  struct Added {
    int64_t step = 0;
    at::Tensor value;  // (B, N, D)
  };

  at::Tensor guess(int64_t block, const at::Tensor& image) override {
    if (block != 0) return {};
    if (newest_.value.defined() && !must_compute()) return image + expected();
    entering_ = image;
    return {};
  }

  void learn(const at::Tensor& image) override {
    older_ = std::exchange(newest_, {step(), image - entering_});
    entering_ = at::Tensor();
  }

  at::Tensor expected() const {
    if (!older_.value.defined()) return newest_.value;
    const double along = static_cast<double>(step() - older_.step) / static_cast<double>(newest_.step - older_.step);
    return at::lerp(older_.value, newest_.value, along);
  }

  Added newest_, older_;
  at::Tensor entering_;
};

StepCache::StepCache(const CachePolicy& policy, int64_t steps) {
  const CachePolicy full = policy.with_defaults();
  for (std::unique_ptr<Memory>& branch : branches_) {
    switch (full.method) {
      case CacheMethod::none: break;
      case CacheMethod::first_block:
        branch = std::make_unique<FirstBlock>(*full.threshold, *full.interval, steps);
        break;
      case CacheMethod::taylor: branch = std::make_unique<Taylor>(*full.interval, steps); break;
    }
  }
}

StepCache::~StepCache() = default;

BlockCache* StepCache::pass(int64_t step, Branch branch) {
  passes_ += 1;
  Memory* memory = branches_.at(static_cast<size_t>(branch)).get();
  if (memory) memory->begin(step);
  return memory;
}

PassCount StepCache::count() const {
  PassCount out{.passes = passes_};
  for (const std::unique_ptr<Memory>& branch : branches_) out.reused += branch ? branch->reused() : 0;
  return out;
}

}  // namespace glmimage
