#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/launch.h"

namespace glmimage::train {

// A collective under way. Its tensors must stay as they are until wait() returns.
class Pending {
 public:
  class Work;
  Pending() = default;
  explicit Pending(std::shared_ptr<Work> work) : work_(std::move(work)) {}
  // Until the result is there (on an accelerator: until what is started next will see it). Once; nothing when there is
  // nothing to wait for. Throws as ProcessGroup says.
  void wait();
  bool waiting() const { return work_ != nullptr; }

 private:
  std::shared_ptr<Work> work_;
};

// The processes that train one model together, over LibTorch's c10d: Gloo for tensors in host memory, the device's own
// library (plugin.h) for those on the device. All processes call the same functions in the same order.
//
// `what` names in an error what was exchanged. Every function throws ErrorKind::io, in one line, when another process
// has ended, or does not answer within the time-out.
class ProcessGroup {
 public:
  struct Options {
    at::Device device = at::Device(at::kCPU);
    std::chrono::milliseconds timeout = std::chrono::minutes(10);
  };
  // Meets the others at launch.master_address:master_port; rank 0 listens there, unless torchrun's agent does. Throws
  // ErrorKind::usage when the launch says no address, ErrorKind::io when they do not meet in time, ErrorKind::device
  // when there are no collectives for the device.
  static std::shared_ptr<ProcessGroup> open(const Launch& launch, const Options& options);
  ~ProcessGroup();
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  int64_t rank() const { return rank_; }
  int64_t size() const { return size_; }
  bool first() const { return rank_ == 0; }

  // Contiguous tensors, on the CPU or on the group's device, of one size and type on all ranks.
  void broadcast(at::Tensor tensor, const char* what);                               // rank 0's to all
  Pending all_reduce(at::Tensor tensor, const char* what);                           // the sum, in place
  Pending reduce_scatter(at::Tensor output, at::Tensor input, const char* what);     // (n) <- sum of (size·n)
  Pending all_gather(at::Tensor output, const at::Tensor& input, const char* what);  // (size·n) <- (n)
  Pending all_to_all(at::Tensor output, at::Tensor input, const char* what);         // part r to rank r, from each
  // reduce_scatter's output and all_gather's input may be the rank's own part of the other.

  // The group of this rank and its neighbours: `count` ranks from a multiple of it on, which divides the size. All
  // ranks together. Throws ErrorKind::usage where it does not.
  std::shared_ptr<ProcessGroup> neighbours(int64_t count) const;

  // What every rank says, by rank; texts may differ in length.
  std::vector<std::string> all_gather_text(const std::string& text, const char* what);
  // The rows of host tensors that differ in their number of rows alone, by rank.
  std::vector<at::Tensor> all_gather_rows(const at::Tensor& rows, const char* what);
  // Rank 0 does it, the others wait for its end, however long that takes, and get what it returned. What it throws is
  // thrown everywhere.
  std::string on_first(const std::function<std::string()>& action, const char* what);
  // Throws the first error that any rank has, by rank, on all of them; an empty text is none.
  void agree(const std::string& error, const char* what);

  // Bytes of tensors this process has sent, by the rules of the algorithms: a ring for all_reduce (2·(size-1)/size of
  // the tensor) and all_gather ((size-1)/size of the output), direct exchange for reduce_scatter ((size-1)/size of the
  // input). What ranks agree by, texts and rows, is not counted: some kilobytes a step.
  int64_t bytes_sent() const { return bytes_sent_; }

 private:
  struct Backends;
  ProcessGroup() = default;
  void connect(const Launch& launch, const Options& options);
  template <typename Start>
  Pending start(const at::Tensor& tensor, const char* what, const Start& start);
  Pending exchange_and_add(at::Tensor output, const at::Tensor& input, const char* what);

  Launch launch_;
  Options options_;
  int64_t rank_ = 0, size_ = 1;
  int64_t bytes_sent_ = 0;
  int64_t waits_ = 0;  // on_first so far
  std::chrono::milliseconds timeout_{};
  std::unique_ptr<Backends> backends_;
};

}  // namespace glmimage::train
