// The collectives of the emulated device keep plugin.h's contract, which vendors' plug-ins are held to.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <vector>

#include "support/emulated_npu.h"
#include "train/distributed/plugin.h"

namespace glmimage::train {
namespace {

using Group = c10::intrusive_ptr<c10d::Backend>;

class EmulatedGroup : public ::testing::Test {
 protected:
  ProcessGroupEntry entry() const {
    return reinterpret_cast<ProcessGroupEntry>(::dlsym(RTLD_DEFAULT, kProcessGroupEntry));
  }

  // Two ranks, each on a thread; what one throws is thrown here.
  void run(const std::function<void(const Group&, int64_t rank)>& work) const {
    const auto store = c10::make_intrusive<c10d::HashStore>();
    std::vector<std::string> faults(2);
    std::vector<std::thread> ranks;
    for (int32_t rank = 0; rank < 2; ++rank) {
      ranks.emplace_back([&, rank] {
        try {
          work(entry()(store, {.rank = rank, .size = 2, .timeout_ms = 20000}), rank);
        } catch (const std::exception& error) {
          faults[static_cast<size_t>(rank)] = error.what();
        }
      });
    }
    for (std::thread& each : ranks) each.join();
    EXPECT_EQ(faults, (std::vector<std::string>{"", ""}));
  }

  at::Tensor there(const at::Tensor& x) const { return x.to(npu.device()); }

  const test::EmulatedNpu npu = test::EmulatedNpu::open();
};

TEST_F(EmulatedGroup, CollectivesOfEveryType) {
  for (const auto type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    run([&](const Group& group, int64_t rank) {
      const at::Tensor own = there(at::arange(4).to(type) + rank * 10);
      std::vector<at::Tensor> list = {own.clone()};
      group->broadcast(list)->wait();
      EXPECT_TRUE(list[0].cpu().equal(at::arange(4).to(type)));
      list = {own.clone()};
      group->allreduce(list)->wait();
      EXPECT_TRUE(list[0].cpu().equal(at::arange(4).to(type) * 2 + 10));

      at::Tensor all = there(at::zeros({8}, type)), part = own.clone();
      group->_allgather_base(all, part)->wait();
      EXPECT_TRUE(all.cpu().narrow(0, 0, 4).equal(at::arange(4).to(type)));
      EXPECT_TRUE(all.cpu().narrow(0, 4, 4).equal(at::arange(4).to(type) + 10));
      at::Tensor inside = all.narrow(0, rank * 4, 4);
      inside.mul_(2);
      group->_allgather_base(all, inside)->wait();  // the rank's own part of the output
      EXPECT_TRUE(all.cpu().narrow(0, 4, 4).equal((at::arange(4).to(type) + 10) * 2));

      at::Tensor half = there(at::zeros({2}, type)), whole = own.clone();
      group->_reduce_scatter_base(half, whole)->wait();
      EXPECT_TRUE(half.cpu().equal((at::arange(4).to(type) * 2 + 10).narrow(0, rank * 2, 2)));
    });
  }
}

TEST_F(EmulatedGroup, WhatIsRefused) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  EXPECT_ANY_THROW(entry()(store, {.version = kProcessGroupVersion + 1}));
  const Group alone = entry()(store, {.timeout_ms = 1000});
  std::vector<at::Tensor> host = {at::zeros({2})}, apart = {there(at::zeros({2, 2})).t()};
  EXPECT_ANY_THROW(alone->allreduce(host));
  EXPECT_ANY_THROW(alone->allreduce(apart));
  const Group waiting = entry()(store, {.rank = 0, .size = 2, .timeout_ms = 100});
  std::vector<at::Tensor> own = {there(at::zeros({2}))};
  EXPECT_ANY_THROW(waiting->allreduce(own)) << "the other rank never comes";
}

}  // namespace
}  // namespace glmimage::train
