// Not tests of their own: what the processes of distributed_test.cpp and collectives_test.cpp do.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <gtest/gtest.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdlib>
#include <memory>

#include "core/error.h"
#include "core/launch.h"
#include "train/distributed/process_group.h"
#include "train/distributed/ranks.h"
#include "train/distributed/toy.h"

namespace glmimage::train {
namespace {

using nlohmann::json;

std::shared_ptr<ProcessGroup> meet(double seconds) {
  const std::optional<Launch> launch = launch_from_environment();
  if (!launch) return nullptr;
  return ProcessGroup::open(*launch, {.timeout = std::chrono::milliseconds(static_cast<int64_t>(1000 * seconds))});
}

// What this process has given the system to send over all its TCP connections.
int64_t tcp_bytes_sent() {
  int64_t bytes = 0;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc/self/fd"), ::closedir);
  while (const dirent* entry = ::readdir(folder.get())) {
    tcp_info info{};
    socklen_t length = sizeof info;
    if (::getsockopt(std::atoi(entry->d_name), IPPROTO_TCP, TCP_INFO, &info, &length) == 0) {
      bytes += static_cast<int64_t>(info.tcpi_bytes_sent - info.tcpi_bytes_retrans + info.tcpi_notsent_bytes);
    }
  }
  return bytes;
}

// What goes wrong is said as the program does, in one line, with its exit code.
void as_program(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    std::fprintf(stderr, "glm-image: %s\n", error.what());
    std::_Exit(1);
  }
}

// Each number that a rank sends is 1 + rank, or tells place and rank apart.
void expect_right_results(const std::shared_ptr<ProcessGroup>& group) {
  const int64_t rank = group->rank(), size = group->size();

  at::Tensor told = at::full({5}, 1.0F + static_cast<float>(rank));
  group->broadcast(told, "test");
  EXPECT_TRUE(at::equal(told, at::full({5}, 1.0F)));

  at::Tensor sum = at::full({7}, 1.0F + static_cast<float>(rank));
  group->all_reduce(sum, "test").wait();
  EXPECT_TRUE(at::equal(sum, at::full({7}, static_cast<float>(size * (size + 1) / 2))));

  const at::Tensor places = at::arange(4 * size, at::kFloat);
  at::Tensor own = at::empty({4});
  group->reduce_scatter(own, places * (1 + rank), "test").wait();
  EXPECT_TRUE(at::equal(own, places.narrow(0, 4 * rank, 4) * (size * (size + 1) / 2)));

  at::Tensor in_place = places * (1 + rank);
  group->reduce_scatter(in_place.narrow(0, 4 * rank, 4), in_place, "test").wait();
  EXPECT_TRUE(at::equal(in_place.narrow(0, 4 * rank, 4), own));

  at::Tensor all = at::zeros({4 * size});
  all.narrow(0, 4 * rank, 4).copy_(places.narrow(0, 4 * rank, 4));
  group->all_gather(all, all.narrow(0, 4 * rank, 4), "test").wait();
  EXPECT_TRUE(at::equal(all, places));

  const std::vector<std::string> texts = group->all_gather_text(std::string(static_cast<size_t>(rank), 'x'), "test");
  for (int64_t r = 0; r < size; ++r) EXPECT_EQ(texts[static_cast<size_t>(r)], std::string(static_cast<size_t>(r), 'x'));

  EXPECT_EQ(group->on_first([] { return std::string("from rank 0"); }, "test"), "from rank 0");
  try {
    group->on_first([]() -> std::string { fail(ErrorKind::checkpoint, "a broken file"); }, "test");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::checkpoint);
    EXPECT_STREQ(error.what(), "a broken file");
  }
  try {
    group->agree(rank == size - 1 ? "a full disk" : "", "test");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "a full disk");
  }
  group->agree("", "test");
}

// What is counted is what the system sends, but for Gloo's headers.
void expect_counted_bytes(const std::shared_ptr<ProcessGroup>& group) {
  const int64_t elements = group->size() * (int64_t{1} << 18);
  at::Tensor tensor = at::zeros({elements}), part = at::zeros({elements / group->size()});
  const std::map<std::string, std::function<void()>> actions = {
      {"all_reduce", [&] { group->all_reduce(tensor, "test").wait(); }},
      {"reduce_scatter", [&] { group->reduce_scatter(part, tensor, "test").wait(); }},
      {"all_gather", [&] { group->all_gather(tensor, part, "test").wait(); }}};
  for (const auto& [name, action] : actions) {
    group->agree("", "test");
    const int64_t counted_before = group->bytes_sent(), sent_before = tcp_bytes_sent();
    action();
    const auto counted = static_cast<double>(group->bytes_sent() - counted_before),
               sent = static_cast<double>(tcp_bytes_sent() - sent_before);
    EXPECT_NEAR(sent / counted, 1, 0.01) << name << ": " << sent << " bytes, " << counted << " counted";
  }
  group->agree("", "test");
}

void expect_refusal_of_other_stages(const std::shared_ptr<ProcessGroup>& group) {
  StageOptions options;
  options.group = group;
  try {
    begin_run("roll-outs", options);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find("stage roll-outs is trained by one process, and 3 were started"), 0U)
        << error.what();
  }
  group->agree("", "test");
}

class DistributedWorker : public testing::Test {
 protected:
  void SetUp() override {
    tasks_ = worker_tasks();
    if (tasks_.is_null()) GTEST_SKIP() << "started by other tests";
    at::set_num_threads(1);
  }
  json tasks_;
};

TEST_F(DistributedWorker, Train) {
  as_program([&] {
    const auto group = meet(tasks_["timeout"]);
    for (const json& task : tasks_["runs"]) {
      StageOptions options = options_of(task);
      options.group = group;
      tasks_.contains("toy") ? train_toy(options) : train_stage(options);
    }
    if (group) group->agree("", "the others to finish");
  });
}

TEST_F(DistributedWorker, Collectives) {
  const auto group = meet(60);
  expect_right_results(group);
  expect_counted_bytes(group);
  expect_refusal_of_other_stages(group);
}

}  // namespace
}  // namespace glmimage::train
