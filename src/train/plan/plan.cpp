#include "train/plan/plan.h"

#include <algorithm>
#include <cstdio>

#include "core/error.h"

namespace glmimage::train {
namespace {

constexpr int64_t kMostDevices = int64_t{1} << 20;
constexpr int64_t kBucketBytes = int64_t{25} << 20;
constexpr int64_t kFloatBytes = 4, kCopyBytes = 2;
constexpr double kUpdateBytes = 28, kAverageBytes = 12;  // of a parameter: AdamW reads four and writes three numbers

void require(bool right, const std::string& what) {
  if (!right) fail(ErrorKind::usage, what);
}

void check(const PlanOptions& o) {
  require(o.devices >= 1 && o.devices <= kMostDevices,
          concat("--devices ", o.devices, ": expected 1 to ", kMostDevices));
  require(o.micro_batch >= 1 && o.micro_batch <= 65536,
          concat("--micro-batch ", o.micro_batch, ": expected 1 to 65536"));
  require(o.global_batch >= 0 && o.global_batch <= int64_t{1} << 32,
          concat("--global-batch ", o.global_batch, " is out of range"));
  require(o.utilisation > 0 && o.utilisation <= 1,
          concat("--utilisation ", o.utilisation, ": expected above 0, at most 1"));
  require(o.network_share > 0 && o.network_share <= 1,
          concat("--network-share ", o.network_share, ": expected above 0, at most 1"));
  require(o.memory_share > 0 && o.memory_share <= 1,
          concat("--memory-share ", o.memory_share, ": expected above 0, at most 1"));
  require(o.sequence_parallel >= 1 && o.devices % o.sequence_parallel == 0,
          concat("--sequence-parallel ", o.sequence_parallel, " does not divide the ", o.devices, " devices"));
  if (o.sequence_parallel == 1) return;
  const int64_t heads = o.stage == "dit" ? o.preset.dit.heads : o.stage == "ar" ? o.preset.ar.heads : 0;
  require(heads > 0,
          concat("--sequence-parallel: stage ", o.stage, " has no attention to divide; stages dit and ar have"));
  require(heads % o.sequence_parallel == 0, concat("--sequence-parallel ", o.sequence_parallel, " does not divide the ",
                                                   heads, " heads of stage ", o.stage));
}

int64_t groups(const PlanOptions& o) { return o.devices / o.sequence_parallel; }

int64_t passes_of(const PlanOptions& o, int64_t global_batch) {
  const int64_t at_once = groups(o) * o.micro_batch;
  if (global_batch % at_once != 0) {
    fail(ErrorKind::usage, "--global-batch ", global_batch, " is no multiple of ", at_once,
         ", the samples of one pass on ", groups(o), o.sequence_parallel > 1 ? " groups of devices" : " devices",
         " with --micro-batch ", o.micro_batch);
  }
  return global_batch / at_once;
}

PlannedMemory memory_of(const PlanOptions& o, const StageCost& cost) {
  const int64_t p = cost.parameters, n = o.devices, layer = cost.layer_parameters,
                rest = p - cost.layers * cost.layer_parameters;
  const auto part = [n](int64_t bytes, bool divided) { return divided ? (bytes + n - 1) / n : bytes; };
  PlannedMemory out;
  out.weights = part(kFloatBytes * p, o.sharding == Sharding::zero3);
  out.gradients = part(kFloatBytes * p, o.sharding >= Sharding::zero2);
  out.moments = part(2 * kFloatBytes * p, o.sharding >= Sharding::zero1);
  out.average = o.average ? part(kFloatBytes * p, o.sharding >= Sharding::zero1) : 0;
  if (o.precision == Precision::bfloat16) {
    const int64_t matrices = o.recompute ? std::min(layer, cost.cast_parameters) : cost.cast_parameters;
    out.copies = kCopyBytes * matrices;
  }
  // One layer is computed while the next one comes; what is in no layer stays for the pass.
  if (o.sharding == Sharding::zero3) out.copies += kFloatBytes * (rest + std::min<int64_t>(2, cost.layers) * layer);
  if (o.sharding == Sharding::zero2) {
    out.exchange = 2 * std::max(kBucketBytes, kFloatBytes * cost.largest_parameter);
  } else if (o.sharding == Sharding::zero3) {
    out.exchange = kFloatBytes * std::max(rest, 2 * layer);
  }
  // What lies behind the layers is made of all tokens, on every device that shares them.
  const int64_t whole = o.sequence_parallel > 1 ? cost.late_bytes : 0;
  out.activations = o.micro_batch * (cost.activation_bytes(o.recompute) / o.sequence_parallel + whole);
  out.limit = static_cast<int64_t>(o.memory_share * static_cast<double>(o.device.memory_bytes));
  return out;
}

// Bytes one device sends in an update, by kind of what hides them.
struct Traffic {
  double per_pass = 0;   // while that pass is computed
  double last_pass = 0;  // while the last pass goes backward
  double update = 0;     // after the optimiser: nothing is computed
  double attention = 0;  // between a layer's products, of all passes: nothing is computed
};

Traffic traffic_of(const PlanOptions& o, const StageCost& cost, int64_t passes) {
  const double share = static_cast<double>(o.devices - 1) / static_cast<double>(o.devices);
  const double s = kFloatBytes * static_cast<double>(cost.parameters) * share;
  const double layers = kFloatBytes * static_cast<double>(cost.layers * cost.layer_parameters) * share;
  Traffic out;
  switch (o.sharding) {
    case Sharding::none: out.last_pass = 2 * s; break;
    case Sharding::zero1: out.last_pass = s, out.update = s; break;
    case Sharding::zero2: out.per_pass = s, out.update = s; break;
    case Sharding::zero3: out.per_pass = s + 2 * layers + (s - layers); break;
  }
  // Queries, keys and values to heads, results back to tokens: forward, backward and, recomputed, forward again.
  const double p = static_cast<double>(o.sequence_parallel), turns = o.recompute ? 3 : 2;
  out.attention =
      static_cast<double>(passes * o.micro_batch * cost.layers * cost.exchanged_bytes) * turns * (p - 1) / (p * p);
  return out;
}

// Rings go round a machine by its links and between machines by all their ports at once.
double bandwidth(const PlanOptions& o, int64_t devices) {
  const DeviceFigures& d = o.device;
  if (devices <= d.devices_per_machine) return d.link_bandwidth * o.network_share;
  return std::min(d.link_bandwidth, static_cast<double>(d.devices_per_machine) * d.network_bandwidth) * o.network_share;
}

PlannedTime time_of(const PlanOptions& o, const StageCost& cost, int64_t global_batch, int64_t passes,
                    const Traffic& traffic) {
  const DeviceFigures& d = o.device;
  const double peak = o.precision == Precision::bfloat16 ? d.bfloat16_flops : d.float32_flops;
  PlannedTime out;
  out.compute = cost.step_flops(o.recompute) * static_cast<double>(global_batch) /
                (static_cast<double>(o.devices) * peak * o.utilisation);
  const double wide = bandwidth(o, o.devices), near = bandwidth(o, o.sequence_parallel);
  const double a_pass = out.compute / static_cast<double>(passes), backward = 2.0 / 3 * a_pass;
  const double every = traffic.per_pass / wide, last = traffic.last_pass / wide, update = traffic.update / wide,
               attention = traffic.attention / near;
  out.network = static_cast<double>(passes) * every + last + update + attention;
  out.exposed =
      static_cast<double>(passes) * std::max(0.0, every - a_pass) + std::max(0.0, last - backward) + update + attention;
  const double own =
      static_cast<double>(cost.parameters) / (o.sharding == Sharding::none ? 1.0 : static_cast<double>(o.devices));
  out.optimiser = own * (kUpdateBytes + (o.average ? kAverageBytes : 0)) / d.memory_bandwidth;
  return out;
}

// "51.2 GiB": short enough for a list of changes.
std::string gibibytes(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GiB", static_cast<double>(bytes) / (1 << 30));
  return text;
}

struct Change {
  std::string flags;
  PlanOptions options;
};

// One change, then two and three together; of a kind the smaller first.
std::vector<Change> changes(const PlanOptions& o) {
  std::vector<Change> out;
  const auto add = [&](const PlanOptions& changed) {
    std::string flags;
    const auto flag = [&](bool differs, const std::string& text) {
      if (differs) flags += (flags.empty() ? "" : " ") + text;
    };
    flag(changed.devices != o.devices, concat("--devices ", changed.devices));
    flag(changed.sharding != o.sharding, concat("--sharding ", sharding_name(changed.sharding)));
    flag(changed.recompute != o.recompute, "--recompute");
    flag(changed.micro_batch != o.micro_batch, concat("--micro-batch ", changed.micro_batch));
    flag(changed.sequence_parallel != o.sequence_parallel, concat("--sequence-parallel ", changed.sequence_parallel));
    if (!flags.empty()) out.push_back({flags, changed});
  };
  std::vector<PlanOptions> shardings;  // this one first
  for (int mode = static_cast<int>(o.sharding); o.devices > 1 && mode <= static_cast<int>(Sharding::zero3); ++mode) {
    shardings.push_back(o);
    shardings.back().sharding = static_cast<Sharding>(mode);
  }
  if (shardings.empty()) shardings.push_back(o);
  for (const PlanOptions& each : shardings) add(each);
  const PlanOptions& strongest = shardings.back();
  for (PlanOptions base : {o, strongest}) {
    base.recompute = true;
    add(base);
    for (int64_t micro = base.micro_batch / 2; micro >= 1; micro /= 2) {
      PlanOptions smaller = base;
      smaller.micro_batch = micro;
      add(smaller);
    }
  }
  PlanOptions least = strongest;
  least.recompute = true;
  least.micro_batch = 1;
  for (int64_t split = 2; split <= 8; split *= 2) {
    PlanOptions divided = least;
    divided.sequence_parallel = split;
    add(divided);
  }
  for (int64_t devices = o.devices * 2; devices <= 4096; devices *= 2) {
    for (PlanOptions base : {o, least}) {
      base.devices = devices;
      if (base.sharding == Sharding::none) base.sharding = Sharding::zero3;
      add(base);
    }
  }
  return out;
}

}  // namespace

Plan make_plan(const PlanOptions& o) {
  check(o);
  Plan plan;
  plan.cost = stage_cost(o.stage, o.preset, o.sample, o.precision);
  plan.global_batch = o.global_batch > 0 ? o.global_batch : groups(o) * o.micro_batch;
  plan.passes = passes_of(o, plan.global_batch);
  plan.memory = memory_of(o, plan.cost);
  const Traffic traffic = traffic_of(o, plan.cost, plan.passes);
  plan.sent_bytes = static_cast<int64_t>(static_cast<double>(plan.passes) * traffic.per_pass + traffic.last_pass +
                                         traffic.update + traffic.attention);
  plan.time = time_of(o, plan.cost, plan.global_batch, plan.passes, traffic);
  plan.samples_per_second = static_cast<double>(plan.global_batch) / plan.time.step();
  plan.tokens_per_second = plan.samples_per_second * static_cast<double>(plan.cost.tokens);
  const double peak = o.precision == Precision::bfloat16 ? o.device.bfloat16_flops : o.device.float32_flops;
  plan.mfu = plan.cost.step_flops(false) * plan.samples_per_second / (static_cast<double>(o.devices) * peak);
  return plan;
}

std::vector<std::string> what_would_fit(const PlanOptions& o, size_t most) {
  std::vector<std::string> out;
  for (Change& change : changes(o)) {
    if (out.size() == most) break;
    change.options.global_batch = 0;  // memory does not depend on it
    try {
      const PlannedMemory memory = make_plan(change.options).memory;
      const std::string text = concat(change.flags, " (", gibibytes(memory.total()), ")");
      if (memory.fits() && std::find(out.begin(), out.end(), text) == out.end()) out.push_back(text);
    } catch (const Error&) {  // heads that do not divide, and the like: no way out
    }
  }
  return out;
}

const char* sharding_name(Sharding sharding) {
  switch (sharding) {
    case Sharding::none: return "none";
    case Sharding::zero1: return "zero1";
    case Sharding::zero2: return "zero2";
    case Sharding::zero3: return "zero3";
  }
  return "";
}

Sharding parse_sharding(const std::string& text) {
  for (Sharding each : {Sharding::none, Sharding::zero1, Sharding::zero2, Sharding::zero3}) {
    if (text == sharding_name(each)) return each;
  }
  fail(ErrorKind::usage, "--sharding ", text, ": expected none, zero1, zero2 or zero3");
}

}  // namespace glmimage::train
