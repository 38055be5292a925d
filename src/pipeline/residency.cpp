#include "pipeline/residency.h"

#include <algorithm>
#include <utility>

#include "core/memory.h"
#include "models/layers/layer_turn.h"

namespace glmimage {
namespace {

// Parameters that come and go together.
class WeightUnit {
 public:
  WeightUnit(ParameterList list, const ParameterList& sketch, const LowRankMap& pairs, at::Device device)
      : list_(std::move(list)), pairs_(pairs), device_(device) {
    for (size_t i = 0; i < list_.size(); ++i) {
      Source source{.tensor = *list_[i].tensor, .dtype = at::kFloat, .scale = {}, .scale_dtype = at::kFloat};
      if (source.tensor.defined()) source.dtype = sketch[i].tensor->scalar_type();
      if (list_[i].quantised()) {
        source.scale = *list_[i].scale;
        source.scale_dtype = sketch[i].scale->scalar_type();
      }
      sources_.push_back(std::move(source));
    }
    release();
  }

  // Whether a tensor is the file's own bytes.
  bool maps(const at::Tensor& tensor) const {
    return std::any_of(sources_.begin(), sources_.end(), [&](const Source& source) {
      return source.tensor.defined() && source.tensor.is_alias_of(tensor);
    });
  }

  void bring() {
    for (size_t i = 0; i < list_.size(); ++i) {
      const Source& source = sources_[i];
      if (!source.tensor.defined()) continue;
      *list_[i].tensor = source.tensor.to(device_, source.dtype);
      if (source.scale.defined()) *list_[i].scale = source.scale.to(device_, source.scale_dtype);
    }
    if (!pairs_.empty()) merge_lora(list_, pairs_);
  }

  void release() noexcept {
    for (const Parameter& p : list_) {
      *p.tensor = at::Tensor();
      if (p.scale) *p.scale = at::Tensor();
      if (p.low_rank) *p.low_rank = LowRank();
    }
  }

  void read_ahead() const {
    for (const Source& source : sources_) {
      if (source.tensor.defined()) glmimage::read_ahead(source.tensor.const_data_ptr(), source.tensor.nbytes());
    }
  }

 private:
  struct Source {
    at::Tensor tensor;     // as the file has it
    at::ScalarType dtype;  // as it is to be
    at::Tensor scale;
    at::ScalarType scale_dtype;
  };
  ParameterList list_;
  std::vector<Source> sources_;
  const LowRankMap& pairs_;
  at::Device device_;
};

}  // namespace

// One part, whose layers beyond the first `held` are there only while they run.
class StreamedPart : public LayerListener {
 public:
  StreamedPart(const PartLists& lists, const PartLists& sketch, LowRankMap pairs, const PartPlan& plan,
               at::Device device)
      : pairs_(std::move(pairs)), plan_(plan), frame_(lists.frame, sketch.frame, pairs_, device) {
    for (size_t i = 0; i < lists.layers.size(); ++i) {
      layers_.emplace_back(lists.layers[i], sketch.layers[i], pairs_, device);
    }
  }

  // The language model joins matrices of its layers (ArModel::fuse). Only those that are copies anyway.
  void join_attention(ArModel& model) { joined_ = &model; }

  void enter() {
    if (users_++ > 0) return;
    try {
      frame_.bring();
      for (size_t i = 0; i < plan_.held; ++i) bring(i);
    } catch (...) {  // what came is given back: the device may be full
      leave();
      throw;
    }
  }

  void leave() noexcept {
    if (--users_ > 0) return;
    frame_.release();
    for (size_t i = 0; i < layers_.size(); ++i) release(i);
  }

  void before(size_t layer) override {
    if (layer < plan_.held) return;
    bring(layer);
    // The next one's bytes are on their way from the disk while this one computes; after the last comes the first.
    const size_t next = layer + 1 < layers_.size() ? layer + 1 : plan_.held;
    if (next != layer) layers_[next].read_ahead();
  }

  void after(size_t layer) noexcept override {
    if (layer >= plan_.held) release(layer);
  }

 private:
  void bring(size_t layer) {
    layers_[layer].bring();
    if (!joined_) return;
    ArAttention& attention = joined_->layers[layer].attention;
    for (const Linear* part : {&attention.q, &attention.k, &attention.v}) {
      if (layers_[layer].maps(part->weight)) return;
    }
    attention.fuse();
  }

  void release(size_t layer) noexcept {
    layers_[layer].release();
    if (joined_) joined_->layers[layer].attention.qkv = Linear();
  }

  LowRankMap pairs_;
  PartPlan plan_;
  WeightUnit frame_;
  std::vector<WeightUnit> layers_;
  ArModel* joined_ = nullptr;
  int users_ = 0;
};

Residency::Residency() = default;
Residency::Residency(Residency&&) noexcept = default;
Residency& Residency::operator=(Residency&&) noexcept = default;
Residency::~Residency() = default;

Residency::Residency(Models& models, Models& sketch, Adapters adapters, const MemoryPlan& plan, at::Device device)
    : turn_(std::make_unique<std::mutex>()) {
  const AllLists lists = part_lists(models), wanted = part_lists(sketch);
  const LowRankMap none;
  WeightUnit constant(constant_list(models), constant_list(sketch), none, device);
  constant.bring();
  for (size_t i = 0; i < kWeightParts; ++i) {
    LowRankMap pairs;
    if (i == static_cast<size_t>(WeightPart::ar)) pairs = std::move(adapters.ar);
    if (i == static_cast<size_t>(WeightPart::dit)) pairs = std::move(adapters.dit);
    parts_[i] = std::make_unique<StreamedPart>(lists[i], wanted[i], std::move(pairs), plan.parts[i], device);
  }
  const auto part = [&](WeightPart which) { return parts_[static_cast<size_t>(which)].get(); };
  part(WeightPart::ar)->join_attention(models.ar);
  models.ar.listener = part(WeightPart::ar);
  models.dit.listener = part(WeightPart::dit);
  models.glyph.listener = part(WeightPart::glyph);
  models.visual_tokenizer.tower.listener = part(WeightPart::visual_tokenizer);
  for (size_t i = 0; i < kWeightParts; ++i) {
    if (plan.parts[i].stays) parts_[i]->enter();
  }
}

Residency::Lease::~Lease() {
  for (auto part = parts_.rbegin(); part != parts_.rend(); ++part) (*part)->leave();
}

Residency::Lease Residency::lend(const std::vector<WeightPart>& parts) const {
  Lease lease;
  for (WeightPart part : parts) {
    StreamedPart* const streamed = parts_[static_cast<size_t>(part)].get();
    if (!streamed) continue;
    streamed->enter();
    lease.parts_.push_back(streamed);
  }
  return lease;
}

std::unique_lock<std::mutex> Residency::take_turn() const {
  return turn_ ? std::unique_lock(*turn_) : std::unique_lock<std::mutex>();
}

}  // namespace glmimage
