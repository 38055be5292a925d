// The device's collectives, as its library offers them (src/train/distributed/plugin.h): tensors go through the store
// where the processes meet, and come back added up in the order of the ranks. What is not contiguous or not on the
// device is refused, as HCCL refuses it.
#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <utility>
#include <vector>

#include "counters.h"
#include "memory.h"
#include "train/distributed/plugin.h"

namespace emulated_npu {
namespace {

using glmimage::train::kProcessGroupVersion;
using glmimage::train::ProcessGroupRequest;
using Works = c10::intrusive_ptr<c10d::Work>;

constexpr size_t kPiece = size_t{4} << 20;

// Everything is done when a collective returns.
class Done final : public c10d::Work {
 public:
  bool isCompleted() override { return true; }
  bool wait(std::chrono::milliseconds) override { return true; }
};

class Group final : public c10d::Backend {
 public:
  Group(c10::intrusive_ptr<c10d::Store> store, const ProcessGroupRequest& request)
      : c10d::Backend(request.rank, request.size), store_(std::move(store)), timeout_(request.timeout_ms) {}

  const std::string getBackendName() const override { return "emulated"; }

  Works broadcast(std::vector<at::Tensor>& tensors, const c10d::BroadcastOptions& options) override {
    at::Tensor own = host(tensors.at(0), "broadcast");
    const std::vector<at::Tensor> all = exchanged(own);
    own.copy_(all.at(static_cast<size_t>(options.rootRank)));
    return c10::make_intrusive<Done>();
  }
  Works allreduce(std::vector<at::Tensor>& tensors, const c10d::AllreduceOptions& options) override {
    require_sum(options.reduceOp);
    at::Tensor own = host(tensors.at(0), "allreduce");
    own.copy_(sum(exchanged(own)));
    return c10::make_intrusive<Done>();
  }
  Works _allgather_base(at::Tensor& output, at::Tensor& input, const c10d::AllgatherOptions&) override {
    at::Tensor all = host(output, "_allgather_base");
    const at::Tensor own = host(input, "_allgather_base");
    TORCH_CHECK(all.numel() == own.numel() * size_, "_allgather_base: output of ", all.numel(), " for ", own.numel());
    all.view({size_, -1}).copy_(at::stack(exchanged(own)).view({size_, -1}));
    return c10::make_intrusive<Done>();
  }
  Works _reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                             const c10d::ReduceScatterOptions& options) override {
    require_sum(options.reduceOp);
    at::Tensor own = host(output, "_reduce_scatter_base");
    const at::Tensor all = host(input, "_reduce_scatter_base");
    TORCH_CHECK(all.numel() == own.numel() * size_, "_reduce_scatter_base: input of ", all.numel(), " for ",
                own.numel());
    own.view({-1}).copy_(sum(exchanged(all)).view({size_, -1})[rank_]);
    return c10::make_intrusive<Done>();
  }

 private:
  static void require_sum(const c10d::ReduceOp& op) {
    TORCH_CHECK(op == c10d::ReduceOp::SUM, "the emulated device adds, and nothing else");
  }

  // The device's own view of its memory.
  at::Tensor host(const at::Tensor& tensor, const char* name) const {
    counters().add_op(std::string("group::") + name);
    TORCH_CHECK(tensor.device().is_privateuseone() && tensor.is_contiguous(), name,
                ": a contiguous tensor of the device is wanted");
    TORCH_CHECK(tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kHalf ||
                    tensor.scalar_type() == at::kBFloat16,
                name, ": no collective for ", tensor.scalar_type());
    return host_view(tensor);
  }

  // What a rank gives in a turn, in pieces: the store takes messages of at most 8 MiB.
  std::string key(int64_t turn, int rank, size_t piece) const {
    return std::to_string(turn) + "/" + std::to_string(rank) + "/" + std::to_string(piece);
  }
  static size_t pieces(size_t bytes) { return (bytes + kPiece - 1) / kPiece; }
  static size_t piece_bytes(size_t bytes, size_t piece) { return std::min(kPiece, bytes - piece * kPiece); }

  // Every rank's tensor. The last one to have read them all clears the store.
  std::vector<at::Tensor> exchanged(const at::Tensor& own) {
    const int64_t turn = turn_++;
    const size_t bytes = own.nbytes();
    const auto* mine = static_cast<const uint8_t*>(own.const_data_ptr());
    for (size_t i = 0; i < pieces(bytes); ++i) {
      const uint8_t* first = mine + i * kPiece;
      store_->set(key(turn, rank_, i), std::vector<uint8_t>(first, first + piece_bytes(bytes, i)));
    }
    std::vector<at::Tensor> out;
    for (int rank = 0; rank < size_; ++rank) {
      out.push_back(at::zeros(own.sizes(), own.options()));
      auto* theirs = static_cast<uint8_t*>(out.back().mutable_data_ptr());
      for (size_t i = 0; i < pieces(bytes); ++i) {
        store_->wait({key(turn, rank, i)}, timeout_);
        const std::vector<uint8_t> got = store_->get(key(turn, rank, i));
        TORCH_CHECK(got.size() == piece_bytes(bytes, i), "rank ", rank, " sent another number of bytes than rank ",
                    rank_);
        std::memcpy(theirs + i * kPiece, got.data(), got.size());
      }
    }
    const std::string read = std::to_string(turn) + "/read";
    if (store_->add(read, 1) == size_) {
      for (int rank = 0; rank < size_; ++rank) {
        for (size_t i = 0; i < pieces(bytes); ++i) store_->deleteKey(key(turn, rank, i));
      }
      store_->deleteKey(read);
    }
    return out;
  }

  static at::Tensor sum(const std::vector<at::Tensor>& parts) {
    at::Tensor out = parts[0].to(at::kFloat);
    for (size_t i = 1; i < parts.size(); ++i) out = out + parts[i].to(at::kFloat);
    return out.to(parts[0].scalar_type());
  }

  c10::intrusive_ptr<c10d::Store> store_;
  std::chrono::milliseconds timeout_;
  int64_t turn_ = 0;
};

}  // namespace
}  // namespace emulated_npu

extern "C" __attribute__((visibility("default"))) c10::intrusive_ptr<c10d::Backend> glm_image_process_group(
    const c10::intrusive_ptr<c10d::Store>& store, const glmimage::train::ProcessGroupRequest& request) {
  TORCH_CHECK(request.version == glmimage::train::kProcessGroupVersion, "the emulated device knows version ",
              glmimage::train::kProcessGroupVersion, " of the request, not ", request.version);
  return c10::make_intrusive<emulated_npu::Group>(store, request);
}
