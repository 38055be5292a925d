#include "train/distributed/process_group.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "train/distributed/backends.h"

namespace glmimage::train {

namespace {

[[noreturn]] void fail_waiting(int64_t rank, int64_t size, const std::string& what, const std::string& why) {
  fail(ErrorKind::io, "rank ", rank, " of ", size, " waited in vain for ", what,
       ": another process ended or hangs, and its own last line says why (", why, ")");
}

}  // namespace

class Pending::Work {
 public:
  Work(c10::intrusive_ptr<c10d::Work> work, std::string what, int64_t rank, int64_t size, std::function<void()> finish)
      : work_(std::move(work)), what_(std::move(what)), rank_(rank), size_(size), finish_(std::move(finish)) {}

  void wait() {
    try {
      work_->wait();
    } catch (const std::exception& error) {
      fail_waiting(rank_, size_, what_, first_line(error));
    }
    if (finish_) finish_();
  }

 private:
  c10::intrusive_ptr<c10d::Work> work_;
  std::string what_;
  int64_t rank_, size_;
  std::function<void()> finish_;
};

void Pending::wait() {
  if (!work_) return;
  const std::shared_ptr<Work> work = std::move(work_);
  work_ = nullptr;
  work->wait();
}

struct ProcessGroup::Backends {
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::Backend> host, device;  // device: of accelerators alone
  int64_t groups_of_neighbours = 0;                // made so far: each meets under names of its own

  c10d::Backend& of(const at::Tensor& tensor) const { return tensor.is_cpu() ? *host : *device; }
};

std::shared_ptr<ProcessGroup> ProcessGroup::open(const Launch& launch, const Options& options) {
  std::shared_ptr<ProcessGroup> group(new ProcessGroup);
  group->backends_ = std::make_unique<Backends>();
  group->backends_->store = open_store(launch, options.timeout);
  group->connect(launch, options);
  return group;
}

std::shared_ptr<ProcessGroup> ProcessGroup::neighbours(int64_t count) const {
  if (count < 1 || size_ % count != 0) {
    fail(ErrorKind::usage, "groups of ", count, " processes cannot be made of ", size_);
  }
  Launch launch = launch_;
  launch.rank = rank_ % count;
  launch.size = count;
  std::shared_ptr<ProcessGroup> group(new ProcessGroup);
  group->backends_ = std::make_unique<Backends>();
  group->backends_->store = c10::make_intrusive<c10d::PrefixStore>(
      concat("neighbours-", backends_->groups_of_neighbours++, "/", rank_ / count), backends_->store);
  group->connect(launch, options_);
  return group;
}

// Every process with every other, over the store.
void ProcessGroup::connect(const Launch& launch, const Options& options) {
  launch_ = launch;
  options_ = options;
  rank_ = launch.rank;
  size_ = launch.size;
  timeout_ = options.timeout;
  Backends& backends = *backends_;
  try {
    backends.host = open_gloo(c10::make_intrusive<c10d::PrefixStore>("host", backends.store), launch, options.timeout);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    fail_waiting(launch.rank, launch.size, "all processes to meet", first_line(error));
  }
  if (!options.device.is_cpu()) {
    backends.device = open_plugin(c10::make_intrusive<c10d::PrefixStore>("device", backends.store), options.device,
                                  {.rank = static_cast<int32_t>(launch.rank),
                                   .size = static_cast<int32_t>(launch.size),
                                   .device_index = options.device.index(),
                                   .timeout_ms = options.timeout.count()});
  }
}

ProcessGroup::~ProcessGroup() = default;

template <typename Start>
Pending ProcessGroup::start(const at::Tensor& tensor, const char* what, const Start& start) {
  try {
    return Pending(std::make_shared<Pending::Work>(start(backends_->of(tensor)), what, rank_, size_, nullptr));
  } catch (const std::exception& error) {
    fail_waiting(rank_, size_, what, first_line(error));
  }
}

void ProcessGroup::broadcast(at::Tensor tensor, const char* what) {
  if (first()) bytes_sent_ += (size_ - 1) * static_cast<int64_t>(tensor.nbytes());
  start(tensor, what, [&](c10d::Backend& backend) {
    std::vector<at::Tensor> tensors = {tensor};
    return backend.broadcast(tensors);
  }).wait();
}

Pending ProcessGroup::all_reduce(at::Tensor tensor, const char* what) {
  bytes_sent_ += 2 * (size_ - 1) * static_cast<int64_t>(tensor.nbytes()) / size_;
  return start(tensor, what, [&](c10d::Backend& backend) {
    std::vector<at::Tensor> tensors = {tensor};
    return backend.allreduce(tensors);
  });
}

Pending ProcessGroup::all_to_all(at::Tensor output, at::Tensor input, const char* what) {
  bytes_sent_ += (size_ - 1) * static_cast<int64_t>(input.nbytes()) / size_;
  return start(input, what, [&](c10d::Backend& backend) {
    std::vector<int64_t> equal;
    return backend.alltoall_base(output, input, equal, equal);
  });
}

// Gloo's own reduce_scatter is an all_reduce that sends twice as much. The parts are exchanged directly instead and
// added in the order of ranks, so that sums do not depend on who was quicker.
Pending ProcessGroup::exchange_and_add(at::Tensor output, const at::Tensor& input, const char* what) {
  at::Tensor received = at::empty_like(input);  // (size·n): a part from every rank
  try {
    std::vector<int64_t> equal;
    at::Tensor sent = input;
    auto work = backends_->host->alltoall_base(received, sent, equal, equal);
    return Pending(std::make_shared<Pending::Work>(std::move(work), what, rank_, size_, [=, this] {
      at::Tensor out = output;
      at::sum_out(out, received.view({size_, -1}), {0});
    }));
  } catch (const std::exception& error) {
    fail_waiting(rank_, size_, what, first_line(error));
  }
}

Pending ProcessGroup::reduce_scatter(at::Tensor output, at::Tensor input, const char* what) {
  bytes_sent_ += (size_ - 1) * static_cast<int64_t>(output.nbytes());
  if (input.is_cpu()) return exchange_and_add(output, input, what);
  return start(input, what, [&](c10d::Backend& backend) { return backend._reduce_scatter_base(output, input); });
}

Pending ProcessGroup::all_gather(at::Tensor output, const at::Tensor& input, const char* what) {
  bytes_sent_ += (size_ - 1) * static_cast<int64_t>(input.nbytes());
  return start(output, what, [&](c10d::Backend& backend) {
    at::Tensor part = input;
    return backend._allgather_base(output, part);
  });
}

std::vector<at::Tensor> ProcessGroup::all_gather_rows(const at::Tensor& rows, const char* what) {
  const int64_t counted = bytes_sent_;
  at::Tensor count = at::empty({1}, at::kLong), counts = at::empty({size_}, at::kLong);
  count.fill_(rows.size(0));
  all_gather(counts, count, what).wait();
  const int64_t most = counts.max().item<int64_t>();
  std::vector<int64_t> shape = rows.sizes().vec();
  shape[0] = most;
  at::Tensor padded = at::zeros(shape, rows.options());
  padded.narrow(0, 0, rows.size(0)).copy_(rows);
  shape[0] = most * size_;
  at::Tensor all = at::empty(shape, rows.options());
  if (most > 0) all_gather(all, padded, what).wait();
  bytes_sent_ = counted;
  std::vector<at::Tensor> out;
  for (int64_t r = 0; r < size_; ++r) out.push_back(all.narrow(0, r * most, counts[r].item<int64_t>()));
  return out;
}

std::vector<std::string> ProcessGroup::all_gather_text(const std::string& text, const char* what) {
  at::Tensor bytes = at::empty({static_cast<int64_t>(text.size())}, at::kByte);
  std::memcpy(bytes.mutable_data_ptr(), text.data(), text.size());
  std::vector<std::string> out;
  for (const at::Tensor& each : all_gather_rows(bytes, what)) {
    out.emplace_back(static_cast<const char*>(each.const_data_ptr()), static_cast<size_t>(each.numel()));
  }
  return out;
}

std::string ProcessGroup::on_first(const std::function<std::string()>& action, const char* what) {
  const std::string key = concat("first/", waits_++);
  c10d::Store& store = *backends_->store;
  if (first()) {
    nlohmann::json answer;
    std::exception_ptr thrown;
    try {
      answer["text"] = action();
    } catch (const Error& error) {
      answer["error"] = error.what();
      answer["kind"] = static_cast<int>(error.kind());
      thrown = std::current_exception();
    } catch (const std::exception& error) {
      answer["error"] = error.what();
      answer["kind"] = static_cast<int>(ErrorKind::internal);
      thrown = std::current_exception();
    }
    const std::string line = answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    store.set(key, std::vector<uint8_t>(line.begin(), line.end()));
    if (thrown) {
      agree("", what);  // the others have read it before the store goes with this process
      std::rethrow_exception(thrown);
    }
    return answer["text"];
  }
  std::vector<uint8_t> line;
  while (line.empty()) {
    try {
      store.wait({key}, timeout_);
      line = store.get(key);
    } catch (const std::exception& error) {
      // The time-out says nothing as long as the store, which is in rank 0's hands, still answers.
      try {
        store.check({key});
      } catch (const std::exception& gone) {
        fail_waiting(rank_, size_, what, first_line(gone));
      }
    }
  }
  const auto answer = nlohmann::json::parse(line.begin(), line.end());
  if (!answer.contains("error")) return answer["text"];
  agree("", what);
  throw Error(static_cast<ErrorKind>(answer["kind"].get<int>()), answer["error"].get<std::string>());
}

void ProcessGroup::agree(const std::string& error, const char* what) {
  const std::vector<std::string> errors = all_gather_text(error, what);
  for (const std::string& each : errors) {
    if (!each.empty()) fail(ErrorKind::io, each);
  }
}

}  // namespace glmimage::train
