// ggml's matrix products, timed on the work of bench_pipeline's part `products`. Options and JSON are the same; --dtype
// names ggml's type: float32 F32, float16 F16, bfloat16 BF16, int8 Q8_0, int4 Q4_0. The inputs are float32, as ggml
// wants them; what it makes of them (bytes, for the last two) is part of the time.

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <ggml.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Options {
  std::string dtype = "float32", out;
  int repeat = 5, threads = 0;
  bool quick = false;
};

struct Matrix {
  int64_t out, in;
};

// One piece of work: a number of tokens through each of some matrices. As in bench/products.cpp.
struct Work {
  std::string key, text;
  int64_t tokens;
  std::vector<Matrix> matrices;
};

struct Result {
  std::string key, text;
  double seconds, min, max;
  size_t samples;
};

template <typename T>
using Owned = std::unique_ptr<T, void (*)(T*)>;

[[noreturn]] void fail(const std::string& message) { throw std::runtime_error(message); }

std::vector<Work> works(bool quick) {
  const int64_t d = quick ? 64 : 4096, f = quick ? 96 : 13696, kv = quick ? 32 : 256, many = quick ? 32 : 1024;
  const int64_t dit = quick ? 64 : 4096, image = quick ? 32 : 1040;
  const std::vector<Matrix> ar = {{d + 2 * kv, d}, {d, d}, {2 * f, d}, {d, f}};
  const std::vector<Matrix> block = {{3 * dit, dit}, {dit, dit}, {4 * dit, dit}, {dit, 4 * dit}};
  const std::string tokens = " tokens through the matrices of ";
  return {{"products.ar_1", "1 token through the matrices of an AR layer", 1, ar},
          {"products.ar_many", std::to_string(many) + tokens + "an AR layer", many, ar},
          {"products.dit_many", std::to_string(image) + tokens + "a DiT layer", image, block}};
}

ggml_type type_of(const std::string& dtype) {
  const std::map<std::string, ggml_type> types = {{"float32", GGML_TYPE_F32},
                                                  {"float16", GGML_TYPE_F16},
                                                  {"bfloat16", GGML_TYPE_BF16},
                                                  {"int8", GGML_TYPE_Q8_0},
                                                  {"int4", GGML_TYPE_Q4_0}};
  const auto found = types.find(dtype);
  if (found == types.end()) fail("--dtype is float32, float16, bfloat16, int8 or int4, not " + dtype);
  return found->second;
}

// Where weights lie so that the products are fastest: a buffer of the processor that packs them anew, where there is
// one for this type and shape, else plain memory. As llama.cpp chooses.
ggml_backend_buffer_type_t weight_buffer(ggml_type type, const Matrix& m, int64_t tokens) {
  ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  const auto extra = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(
      ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(cpu), "ggml_backend_dev_get_extra_bufts"));
  for (ggml_backend_buffer_type_t* buft = extra ? extra(cpu) : nullptr; buft && *buft; ++buft) {
    const Owned<ggml_context> context(ggml_init({ggml_tensor_overhead() * 4, nullptr, true}), ggml_free);
    ggml_tensor* weight = ggml_new_tensor_2d(context.get(), type, m.in, m.out);
    ggml_tensor* product =
        ggml_mul_mat(context.get(), weight, ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, m.in, tokens));
    const Owned<ggml_backend_buffer> empty(ggml_backend_buft_alloc_buffer(*buft, 0), ggml_backend_buffer_free);
    weight->buffer = empty.get();
    const bool supported = ggml_backend_dev_supports_op(cpu, product);
    weight->buffer = nullptr;
    if (supported) return *buft;
  }
  return ggml_backend_dev_buffer_type(cpu);
}

std::vector<float> noise(int64_t count, float spread) {
  std::mt19937 generator(1);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

// The rows of a matrix all are the same few: drawing them is slow, and speed does not depend on them.
void fill_weight(ggml_tensor* weight, const Matrix& m) {
  constexpr int64_t kDrawn = 64;
  std::vector<float> rows = noise(kDrawn * m.in, 0.02f);
  std::vector<uint8_t> packed(ggml_nbytes(weight));
  const size_t row_bytes = ggml_row_size(weight->type, m.in);
  for (int64_t row = 0; row < m.out; row += kDrawn) {
    ggml_quantize_chunk(weight->type, rows.data(), packed.data() + row * row_bytes, 0, std::min(kDrawn, m.out - row),
                        m.in, nullptr);
  }
  ggml_backend_tensor_set(weight, packed.data(), 0, packed.size());
}

// The products of one piece of work as a graph, with everything it needs in memory.
class Graph {
 public:
  Graph(const Work& work, ggml_type type) : context_(ggml_init({overhead(work), nullptr, true}), ggml_free) {
    graph_ = ggml_new_graph(context_.get());
    for (const Matrix& m : work.matrices) {
      const Owned<ggml_context>& own =
          weights_.emplace_back(ggml_init({ggml_tensor_overhead() * 2, nullptr, true}), ggml_free);
      ggml_tensor* weight = ggml_new_tensor_2d(own.get(), type, m.in, m.out);
      keep(ggml_backend_alloc_ctx_tensors_from_buft(own.get(), weight_buffer(type, m, work.tokens)));
      fill_weight(weight, m);
      inputs_.push_back(ggml_new_tensor_2d(context_.get(), GGML_TYPE_F32, m.in, work.tokens));
      ggml_build_forward_expand(graph_, ggml_mul_mat(context_.get(), weight, inputs_.back()));
    }
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    keep(ggml_backend_alloc_ctx_tensors_from_buft(context_.get(), ggml_backend_dev_buffer_type(cpu)));
    for (ggml_tensor* input : inputs_) {
      const std::vector<float> values = noise(ggml_nelements(input), 1.0f);
      ggml_backend_tensor_set(input, values.data(), 0, ggml_nbytes(input));
    }
  }

  void compute(ggml_backend_t backend) {
    if (ggml_backend_graph_compute(backend, graph_) != GGML_STATUS_SUCCESS) fail("ggml could not compute the products");
  }

 private:
  static size_t overhead(const Work& work) {
    return ggml_graph_overhead() + ggml_tensor_overhead() * (3 * work.matrices.size() + 1);
  }
  void keep(ggml_backend_buffer_t buffer) {
    if (!buffer) fail("ggml got no memory");
    buffers_.emplace_back(buffer, ggml_backend_buffer_free);
  }

  std::vector<Owned<ggml_backend_buffer>> buffers_;
  std::vector<Owned<ggml_context>> weights_;
  Owned<ggml_context> context_;
  ggml_cgraph* graph_ = nullptr;
  std::vector<ggml_tensor*> inputs_;
};

Result measure(const Work& work, const Options& options, ggml_backend_t backend) {
  Graph graph(work, type_of(options.dtype));
  // A step of one token is short, so more of them.
  const int warm_up = work.tokens == 1 ? 4 : 1;
  const int measured = options.quick ? 1 : options.repeat * warm_up;
  for (int i = 0; i < warm_up; ++i) graph.compute(backend);
  std::vector<double> samples;
  for (int i = 0; i < measured; ++i) {
    const auto began = std::chrono::steady_clock::now();
    graph.compute(backend);
    samples.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  }
  std::sort(samples.begin(), samples.end());
  std::fprintf(stderr, "%-28s %10.4f s  (%.4f to %.4f, %zu runs)\n", work.key.c_str(), samples[samples.size() / 2],
               samples.front(), samples.back(), samples.size());
  return {work.key, work.text, samples[samples.size() / 2], samples.front(), samples.back(), samples.size()};
}

void write(const Options& options, const std::vector<Result>& results) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::FILE* file = options.out.empty() ? stdout : std::fopen(options.out.c_str(), "w");
  if (!file) fail(options.out + ": cannot be written");
  std::fprintf(
      file,
      "{\n  \"implementation\": \"ggml %s (%s)\",\n  \"dtype\": \"%s\",\n  \"threads\": %d,\n  \"quick\": %s,\n"
      "  \"peak_bytes\": %lld,\n  \"visual_tokens\": 0,\n  \"results\": {",
      ggml_version(), ggml_commit(), options.dtype.c_str(), options.threads, options.quick ? "true" : "false",
      static_cast<long long>(usage.ru_maxrss) * 1024);
  for (size_t i = 0; i < results.size(); ++i) {
    const Result& r = results[i];
    std::fprintf(
        file, "%s\n    \"%s\": {\"work\": \"%s\", \"seconds\": %.9g, \"min\": %.9g, \"max\": %.9g, \"samples\": %zu}",
        i ? "," : "", r.key.c_str(), r.text.c_str(), r.seconds, r.min, r.max, r.samples);
  }
  std::fprintf(file, "\n  },\n  \"skipped\": {}\n}\n");
  if (std::ferror(file) || (file != stdout && std::fclose(file) != 0)) fail(options.out + ": cannot be written");
}

int whole_number(const std::string& name, const std::string& text, int least) {
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (end == text.c_str() || *end || value < least || value > 1000) fail(name + " " + text + ": not a number it takes");
  return static_cast<int>(value);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--quick") {
      options.quick = true;
      continue;
    }
    if (i + 1 >= argc) fail(name + ": no such option, or its value is missing");
    const std::string value = argv[++i];
    if (name == "--dtype") {
      options.dtype = value;
    } else if (name == "--repeat") {
      options.repeat = whole_number(name, value, 1);
    } else if (name == "--threads") {
      options.threads = whole_number(name, value, 0);
    } else if (name == "--out") {
      options.out = value;
    } else {
      fail(name + ": no such option; --dtype, --repeat, --threads, --out and --quick are");
    }
  }
  if (options.threads == 0) options.threads = std::max(1u, std::thread::hardware_concurrency());
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options options = parse(argc, argv);
    const Owned<ggml_backend> backend(ggml_backend_cpu_init(), ggml_backend_free);
    if (!backend) fail("ggml has no backend for the processor");
    ggml_backend_cpu_set_n_threads(backend.get(), options.threads);
    std::vector<Result> results;
    for (const Work& work : works(options.quick)) results.push_back(measure(work, options, backend.get()));
    write(options, results);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_ggml: %s\n", error.what());
    return 1;
  }
}
