#include "bench/limits.h"

#include <ATen/Parallel.h>
#include <ATen/ops/_int_mm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "core/error.h"
#include "core/rng.h"

namespace glmimage::bench {
namespace {

// The sum of 64-bit words, which costs less than fetching them. Unrolled by the compiler into as many streams of
// adders as the machine has.
uint64_t sum_words(const uint64_t* words, int64_t count) {
  uint64_t sum = 0;
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) sum += words[i];
  return sum;
}

// Bytes by bytes into 32-bit integers; the second matrix lies as weights do, a row for each result.
std::vector<double> time_byte_product(int64_t side, Repeats repeats) {
  const auto drawn = [&] {
    return at::randint(-127, 128, {side, side}, make_generator(2), at::kChar).to(repeats.device);
  };
  const at::Tensor a = drawn(), b = drawn().t();
  return time_runs(repeats, [&] { at::_int_mm(a, b); });
}

}  // namespace

void bench_gemm(Report& report, int64_t side, at::ScalarType dtype, Repeats repeats) {
  const auto drawn = [&] {
    return at::randn({side, side}, make_generator(2), at::TensorOptions(at::kFloat)).to(repeats.device, dtype);
  };
  const std::string key = concat("gemm.", side), work = concat("product of two ", side, " x ", side, " matrices");
  if (dtype == at::kChar) {
    report.add(key, work, time_byte_product(side, repeats));
  } else {
    const at::Tensor a = drawn(), b = drawn();
    report.add(key, work, time_runs(repeats, [&] { at::mm(a, b); }));
  }
  report.set(key, "flops", 2 * side * side * side);
}

void bench_limits(Report& report, at::ScalarType dtype, bool quick, Repeats repeats) {
  const c10::InferenceMode inference;
  const int64_t words = quick ? 1 << 12 : 1 << 27;  // of 8 bytes: a gibibyte
  const at::Tensor memory = at::ones({words}, at::TensorOptions(at::kLong).device(repeats.device));
  if (!repeats.device.is_cpu()) {
    report.add("limits.read", "reading memory", time_runs(repeats, [&] { memory.sum(); }));
    report.set("limits.read", "bytes", words * 8);
    return bench_gemm(report, quick ? 64 : 8192, dtype, repeats);
  }
  std::atomic<uint64_t> total{0};
  report.add("limits.read", "reading memory", time_runs(repeats, [&] {
               const auto* data = reinterpret_cast<const uint64_t*>(memory.const_data_ptr<int64_t>());
               at::parallel_for(0, words, 1 << 10,
                                [&](int64_t first, int64_t last) { total += sum_words(data + first, last - first); });
             }));
  if (total == 0) fail(ErrorKind::internal, "the memory was not read");  // or the compiler would leave it out
  report.set("limits.read", "bytes", words * 8);
  bench_gemm(report, quick ? 64 : 4096, dtype, repeats);
}

}  // namespace glmimage::bench
