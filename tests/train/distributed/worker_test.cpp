// Not tests of their own: what the processes of distributed_test.cpp and collectives_test.cpp do.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "core/error.h"
#include "core/launch.h"
#include "core/rng.h"
#include "models/ar/model.h"
#include "models/dit/model.h"
#include "support/error_of.h"
#include "train/distributed/process_group.h"
#include "train/distributed/ranks.h"
#include "train/distributed/sequence_parallel.h"
#include "train/distributed/toy.h"
#include "train/losses/ar_loss.h"
#include "train/presets.h"

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

// The same loss twice, by this process alone and by all together: the loss, and the mean of the gradients over the
// processes, must be those of one.
void expect_same(ProcessGroup& group, const ParameterList& list, const std::function<at::Tensor()>& alone,
                 const std::function<at::Tensor()>& together) {
  const auto run = [&](const std::function<at::Tensor()>& loss) {
    for (const Parameter& p : list) p.tensor->mutable_grad() = at::Tensor();
    const at::Tensor value = loss();
    value.backward();
    std::vector<at::Tensor> out = {value.detach()};
    for (const Parameter& p : list) out.push_back(p.tensor->grad().defined() ? p.tensor->grad().clone() : at::Tensor());
    return out;
  };
  const std::vector<at::Tensor> expected = run(alone), got = run(together);
  EXPECT_NEAR(got[0].item<double>(), expected[0].item<double>(), 1e-6 * std::abs(expected[0].item<double>()));
  double squared = 0, norm = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    const at::Tensor& one = expected[i + 1];
    at::Tensor sum = got[i + 1].defined() ? got[i + 1].contiguous() : at::zeros_like(*list[i].tensor);
    group.all_reduce(sum, "test").wait();
    const at::Tensor mean = sum / static_cast<double>(group.size());
    const at::Tensor reference = one.defined() ? one : at::zeros_like(mean);
    squared += (mean - reference).to(at::kDouble).square().sum().item<double>();
    norm += reference.to(at::kDouble).square().sum().item<double>();
  }
  EXPECT_GT(norm, 0);
  EXPECT_LE(std::sqrt(squared / norm), 1e-5);
}

ParameterList started(ParameterList list) {
  init_parameters(list, make_generator(1));
  at::Generator noise = make_generator(9);
  for (const Parameter& p : list) {  // modulations of nothing would hide everything
    *p.tensor = (*p.tensor + 0.02 * at::randn(p.tensor->sizes(), noise, at::kFloat)).requires_grad_(true);
  }
  return list;
}

// Glyphs that do not divide, that are padding, or none; with references and without; kept and computed again.
TEST_F(DistributedWorker, SequencesOfTheTransformer) {
  const auto group = meet(60);
  Preset preset = find_preset("tiny");
  preset.dit.heads = 4;
  preset.dit.layers = 2;
  DitModel model(preset.dit);
  ParameterList list;
  model.list(list);
  list = started(list);
  const auto sequence = share_sequences(group, group->size(), {4, 4, "transformer"});
  const auto input = [&](int64_t glyphs, uint64_t seed) -> DitInput {
    const auto drawn = [&](std::vector<int64_t> shape) { return at::randn(shape, make_generator(seed), at::kFloat); };
    at::Tensor mask;
    if (glyphs > 2) (mask = at::ones({2, glyphs}, at::kBool))[1][glyphs - 1] = false;
    return {.latents = drawn({2, preset.dit.in_channels, 8, 16}),
            .glyphs = drawn({2, glyphs, preset.dit.text_dim}),
            .glyph_mask = mask,
            .prior_ids = at::randint(preset.dit.codes, {2, 32}, make_generator(seed), at::kLong),
            .prior_drop = at::zeros({2}, at::kBool),
            .timestep = at::full({2}, 500.0, at::kFloat),
            .target_size = at::full({2, 2}, 64.0, at::kFloat),
            .crop = at::zeros({2, 2}, at::kFloat)};
  };
  for (const int64_t glyphs : {0, 3, 8}) {
    for (const bool referring : {false, true}) {
      for (const Activations activations : {Activations::keep, Activations::recompute}) {
        SCOPED_TRACE(concat(glyphs, " glyphs", referring ? ", references" : ""));
        const auto loss = [&](const SequenceParallel* by) {
          model.sequence = by;
          ReferenceCache cache;
          if (referring) {
            model.write_references(input(0, 5), cache, activations);
            cache.mask = at::ones({2, cache.tokens()}, at::kBool);
            cache.mask[0].fill_(false);
          }
          return model.forward(input(glyphs, 3), referring ? &cache : nullptr, activations).square().mean();
        };
        expect_same(
            *group, list, [&] { return loss(nullptr); }, [&] { return loss(sequence.get()); });
      }
    }
  }
  model.sequence = sequence.get();
  DitInput odd = input(0, 3);
  odd.latents = at::zeros({1, preset.dit.in_channels, 2, 6});
  odd.prior_ids = at::zeros({1, 3}, at::kLong);
  EXPECT_THAT(test::error_of(ErrorKind::usage, [&] { model.forward(odd); }), testing::HasSubstr("3 image tokens"));
  EXPECT_THAT(test::error_of(ErrorKind::usage,
                             [&] {
                               share_sequences(group, group->size(), {3, 3, "toy"});
                             }),
              testing::HasSubstr("does not divide the 3 heads of the toy"));
  EXPECT_THAT(test::error_of(ErrorKind::usage,
                             [&] {
                               share_sequences(nullptr, 2, {4, 4, "toy"});
                             }),
              testing::HasSubstr("trains alone"));
  group->agree("", "test");
}

// Sequences whose tokens do not divide; fewer KV heads than processes, as many, and more.
TEST_F(DistributedWorker, SequencesOfTheLanguageModel) {
  const auto group = meet(60);
  for (const int64_t kv_heads : {1, 2, 4}) {
    Preset preset = find_preset("tiny");
    preset.ar.heads = 4;
    preset.ar.head_dim = 16;
    preset.ar.kv_heads = kv_heads;
    preset.ar.layers = 2;
    preset.ar.vocab_size = 300;
    ArModel model(preset.ar);
    ParameterList list;
    model.list(list);
    list = started(list);
    const auto sequence = share_sequences(group, group->size(), {4, kv_heads, "language model"});
    SequenceBatch batch;
    batch.ids = at::randint(300, {2, 21}, make_generator(3), at::kLong);
    batch.positions = at::arange(21, at::kLong).expand({3, 2, 21});
    batch.targets = at::full({2, 21}, -100, at::kLong);
    batch.targets.narrow(1, 9, 12).copy_(
        at::randint(preset.ar.visual_vocab_size, {2, 12}, make_generator(4), at::kLong));
    for (const Activations activations : {Activations::keep, Activations::recompute}) {
      SCOPED_TRACE(concat(kv_heads, " KV heads"));
      const auto loss = [&](const SequenceParallel* by) {
        model.sequence = by;
        return sequence_loss(model, batch, activations);
      };
      expect_same(
          *group, list, [&] { return loss(nullptr); }, [&] { return loss(sequence.get()); });
    }
  }
  group->agree("", "test");
}

// Two groups of two: neighbours meet, and the bytes of an exchange are counted.
TEST_F(DistributedWorker, Neighbours) {
  const auto group = meet(20);
  const auto two = group->neighbours(2);
  EXPECT_EQ(two->rank(), group->rank() % 2);
  EXPECT_EQ(two->size(), 2);
  const double mine = static_cast<double>(group->rank());
  at::Tensor sum = at::full({3}, mine);
  two->all_reduce(sum, "test").wait();
  const double base = static_cast<double>(group->rank() / 2 * 2);
  EXPECT_EQ(sum[0].item<double>(), 2 * base + 1);
  at::Tensor sent = at::full({4}, mine), received = at::zeros({4});
  const int64_t before = two->bytes_sent();
  two->all_to_all(received, sent, "test").wait();
  EXPECT_EQ(two->bytes_sent() - before, 8);
  EXPECT_EQ(received[0].item<double>(), base);
  EXPECT_EQ(received[3].item<double>(), base + 1);
  EXPECT_THAT(test::error_of(ErrorKind::usage, [&] { group->neighbours(3); }), testing::HasSubstr("groups of 3"));
  group->agree("", "test");
}

}  // namespace
}  // namespace glmimage::train
