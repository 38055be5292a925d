#include "core/launch.h"

#include <cctype>
#include <charconv>
#include <cstdlib>

#include "core/error.h"

namespace glmimage {
namespace {

constexpr int64_t kMostRanks = int64_t{1} << 24;
constexpr int kDefaultPort = 29500;                          // torchrun's
constexpr uint64_t kFirstJobPort = 61440, kJobPorts = 4096;  // above what Linux hands out by itself

// One launcher's names for the same things; nullptr: it has none.
struct Names {
  const char *source, *rank, *size, *local_rank, *local_size;
};
constexpr Names kTorchrun{"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"};
constexpr Names kOpenMpi{"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
                         "OMPI_COMM_WORLD_LOCAL_SIZE"};
constexpr Names kPmi{"MPI (PMI)", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"};

std::string_view text(const Environment& read, const char* name) {
  const char* value = read(name);
  return value ? value : std::string_view();
}

int64_t parse_number(std::string_view digits, std::string_view what, int64_t least, int64_t most) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || value < least || value > most) {
    fail(ErrorKind::usage, what, " is '", digits, "'; expected a number from ", least, " to ", most);
  }
  return value;
}

std::optional<int64_t> number(const Environment& read, const char* name, int64_t least, int64_t most) {
  const std::string_view value = text(read, name);
  if (value.empty()) return std::nullopt;
  return parse_number(value, name, least, most);
}

struct Place {
  int64_t index = 0, count = 1;
};

// A pair of variables, which come both or not at all.
std::optional<Place> place(const Environment& read, const char* index_name, const char* count_name) {
  const std::optional<int64_t> index = number(read, index_name, 0, kMostRanks);
  const std::optional<int64_t> count = number(read, count_name, 1, kMostRanks);
  if (!index && !count) return std::nullopt;
  if (!index || !count) {
    fail(ErrorKind::usage, index ? index_name : count_name, " is set without ", index ? count_name : index_name,
         ": both say a process's place, or neither");
  }
  if (*index >= *count) {
    fail(ErrorKind::usage, index_name, "=", *index, " is not below ", count_name, "=", *count);
  }
  return Place{*index, *count};
}

std::optional<Launch> launch_of(const Environment& read, const Names& names) {
  const std::optional<Place> global = place(read, names.rank, names.size);
  if (!global) return std::nullopt;
  Launch out{.rank = global->index, .size = global->count, .master_address = "", .source = names.source};
  if (const std::optional<Place> local = place(read, names.local_rank, names.local_size)) {
    out.local_rank = local->index;
    out.local_size = local->count;
  }
  if (out.local_size > out.size) {
    fail(ErrorKind::usage, names.local_size, "=", out.local_size, " is more than ", names.size, "=", out.size);
  }
  return out;
}

// "2(x3),1": how many tasks the node of this number has.
int64_t tasks_of_node(std::string_view list, const char* name, int64_t node) {
  for (std::string_view rest = list; !rest.empty();) {
    const size_t comma = rest.find(',');
    std::string_view item = rest.substr(0, comma);
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    int64_t repeated = 1;
    if (const size_t open = item.find("(x"); open != std::string_view::npos && item.ends_with(')')) {
      repeated = parse_number(item.substr(open + 2, item.size() - open - 3), name, 1, kMostRanks);
      item = item.substr(0, open);
    }
    const int64_t tasks = parse_number(item, name, 1, kMostRanks);
    if (node < repeated) return tasks;
    node -= repeated;
  }
  fail(ErrorKind::usage, name, "=", list, " has no entry for the node of SLURM_NODEID");
}

int64_t tasks_on_this_node(const Environment& read, int64_t size) {
  const char* name = "SLURM_STEP_TASKS_PER_NODE";
  if (text(read, name).empty()) name = "SLURM_TASKS_PER_NODE";
  const std::string_view list = text(read, name);
  const std::optional<int64_t> node = number(read, "SLURM_NODEID", 0, kMostRanks);
  if (!list.empty() && node) return tasks_of_node(list, name, *node);
  if (number(read, "SLURM_STEP_NUM_NODES", 1, kMostRanks).value_or(0) == 1) return size;
  fail(ErrorKind::usage,
       "SLURM_PROCID is set without SLURM_NODEID and SLURM_STEP_TASKS_PER_NODE, which srun sets with it");
}

// A batch script and an interactive shell have SLURM_PROCID=0 and the allocation's SLURM_NTASKS, but are one process;
// only what srun starts has the variables of a step.
std::optional<Launch> slurm_launch(const Environment& read) {
  const std::optional<int64_t> rank = number(read, "SLURM_PROCID", 0, kMostRanks);
  const std::string_view hosts = text(read, "SLURM_STEP_NODELIST");
  if (hosts.empty()) {
    if (rank.value_or(0) > 0) {
      fail(ErrorKind::usage, "SLURM_PROCID=", *rank, " is set without SLURM_STEP_NODELIST, which srun sets with it");
    }
    return std::nullopt;
  }
  const char* size_name = text(read, "SLURM_STEP_NUM_TASKS").empty() ? "SLURM_NTASKS" : "SLURM_STEP_NUM_TASKS";
  const std::optional<Place> global = place(read, "SLURM_PROCID", size_name);
  if (!global) fail(ErrorKind::usage, "SLURM_STEP_NODELIST is set without SLURM_PROCID and SLURM_NTASKS");
  Launch out{.rank = global->index, .size = global->count, .master_address = first_host(hosts), .source = "Slurm"};
  if (out.size == 1) return out;
  out.local_size = tasks_on_this_node(read, out.size);
  const std::optional<int64_t> local_rank = number(read, "SLURM_LOCALID", 0, kMostRanks);
  if (!local_rank) fail(ErrorKind::usage, "SLURM_PROCID is set without SLURM_LOCALID");
  if (*local_rank >= out.local_size || out.local_size > out.size) {
    fail(ErrorKind::usage, "SLURM_LOCALID=", *local_rank, " and ", size_name, "=", out.size, " contradict the ",
         out.local_size, " tasks this node has by SLURM_STEP_TASKS_PER_NODE");
  }
  out.local_rank = *local_rank;
  return out;
}

std::optional<Launch> launcher_below(const Environment& read) {
  for (const Names& names : {kOpenMpi, kPmi}) {
    if (std::optional<Launch> found = launch_of(read, names)) return found;
  }
  return slurm_launch(read);
}

// RANK and WORLD_SIZE that a shell exported long ago would make every process of mpirun rank 0 of 1. They may divide a
// launcher's processes further, as a loop in a job script does, but not disagree with it.
void check_agreement(const Launch& own, const Launch& launcher) {
  const bool divides = own.size > launcher.size && own.size % launcher.size == 0;
  if (divides || (own.size == launcher.size && own.rank == launcher.rank)) return;
  fail(ErrorKind::usage, "RANK=", own.rank, " and WORLD_SIZE=", own.size, " contradict ", launcher.source,
       ", which says rank ", launcher.rank, " of ", launcher.size, "; unset what is not meant");
}

// WORLD_SIZE alone is what job scripts for srun often export; it must say the same.
std::optional<Launch> find_launch(const Environment& read) {
  const bool has_rank = !text(read, "RANK").empty(), has_size = !text(read, "WORLD_SIZE").empty();
  const bool torchrun = !text(read, "TORCHELASTIC_RUN_ID").empty();
  if (torchrun) return launch_of(read, kTorchrun);
  std::optional<Launch> launcher = launcher_below(read);
  if (launcher && has_size && !has_rank) {
    const int64_t size = *number(read, "WORLD_SIZE", 1, kMostRanks);
    if (size == launcher->size) return launcher;
    fail(ErrorKind::usage, "WORLD_SIZE=", size, " contradicts ", launcher->source, ", which started ", launcher->size);
  }
  std::optional<Launch> own = launch_of(read, kTorchrun);
  if (own && launcher) check_agreement(*own, *launcher);
  return own ? own : launcher;
}

// FNV-1a: the same in every process of a launch, unlike std::hash by promise.
uint64_t hash(std::string_view bytes) {
  uint64_t value = 14695981039346656037ull;
  for (const char c : bytes) value = (value ^ static_cast<uint8_t>(c)) * 1099511628211ull;
  return value;
}

// Launches side by side on one machine should not meet at one port.
int port_of_job(const Environment& read, const std::string& source) {
  std::string job;
  if (source == "Slurm") {
    job = concat(text(read, "SLURM_JOB_ID"), ".", text(read, "SLURM_STEP_ID"));
  } else if (source == kOpenMpi.source) {
    job = text(read, "PMIX_NAMESPACE");
  }
  if (job.empty() || job == ".") return kDefaultPort;
  return static_cast<int>(kFirstJobPort + hash(job) % kJobPorts);
}

}  // namespace

const char* process_environment(const char* name) { return std::getenv(name); }

std::string first_host(std::string_view list) {
  std::string host;
  bool valid = true, whole = false;
  for (size_t i = 0; i < list.size() && valid && !whole; ++i) {
    const char c = list[i];
    if (c == ',') {
      whole = true;
    } else if (c == '[') {
      const size_t close = list.find(']', i);
      const std::string_view ranges = close == std::string_view::npos ? "" : list.substr(i + 1, close - i - 1);
      const std::string_view first = ranges.substr(0, ranges.find_first_of(",-"));
      valid = !first.empty() && first.find_first_not_of("0123456789") == std::string_view::npos;
      host += first;
      i = close;
    } else {
      valid = std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' || c == '_' || c == ':';
      host += c;
    }
  }
  if (!valid || host.empty()) {
    fail(ErrorKind::usage, "SLURM_STEP_NODELIST is '", list, "'; expected hosts like node[01-04],gpu7");
  }
  return host;
}

std::optional<Launch> launch_from_environment(const Environment& read) {
  std::optional<Launch> out = find_launch(read);
  if (!out || out->size == 1) return std::nullopt;
  if (out->local_size == out->size && out->master_address.empty()) out->master_address = "127.0.0.1";
  if (const std::string_view given = text(read, "MASTER_ADDR"); !given.empty()) out->master_address = given;
  const std::optional<int64_t> port = number(read, "MASTER_PORT", 1, 65535);
  out->master_port = port ? static_cast<int>(*port) : port_of_job(read, out->source);
  return out;
}

std::optional<Share> share_from_environment(const Environment& read) {
  const std::optional<Launch> launch = launch_from_environment(read);
  const std::optional<int64_t> id = number(read, "SLURM_ARRAY_TASK_ID", 0, kMostRanks);
  if (!id) {
    if (!launch) return std::nullopt;
    return Share{launch->rank, launch->size, launch->source};
  }
  const std::optional<int64_t> first = number(read, "SLURM_ARRAY_TASK_MIN", 0, kMostRanks);
  const std::optional<int64_t> last = number(read, "SLURM_ARRAY_TASK_MAX", 0, kMostRanks);
  const std::optional<int64_t> count = number(read, "SLURM_ARRAY_TASK_COUNT", 1, kMostRanks);
  const int64_t step = number(read, "SLURM_ARRAY_TASK_STEP", 1, kMostRanks).value_or(1);
  if (!first || !last || !count) {
    fail(ErrorKind::usage,
         "SLURM_ARRAY_TASK_ID is set without SLURM_ARRAY_TASK_MIN, SLURM_ARRAY_TASK_MAX and SLURM_ARRAY_TASK_COUNT");
  }
  if (*last < *first || (*last - *first) / step + 1 != *count) {
    fail(ErrorKind::usage, "SLURM_ARRAY_TASK_COUNT=", *count, " numbers from ", *first, " to ", *last,
         " are no regular series, which does not say the place of SLURM_ARRAY_TASK_ID=", *id, "; use an array like 0-",
         *count - 1, ", or --share");
  }
  if (*id < *first || *id > *last || (*id - *first) % step != 0) {
    fail(ErrorKind::usage, "SLURM_ARRAY_TASK_ID=", *id, " is none of the array's, ", *first, " to ", *last, " by ",
         step);
  }
  const int64_t task = (*id - *first) / step;
  if (!launch) return Share{task, *count, "Slurm array"};
  return Share{task * launch->size + launch->rank, *count * launch->size, "Slurm array, " + launch->source};
}

}  // namespace glmimage
