#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace glmimage {

// This process's place among those that a cluster started together.
struct Launch {
  int64_t rank = 0, size = 1;
  int64_t local_rank = 0, local_size = 1;  // among those on this machine
  std::string master_address;              // where rank 0 is; empty: the launcher does not say
  int master_port = 0;                     // the same for all ranks of a launch
  std::string source;                      // whose variables said so: "torchrun", "Open MPI", "MPI (PMI)", "Slurm"
};

// A variable's value, or nullptr; getenv in the program, a table in tests. An empty value counts as not set.
using Environment = std::function<const char*(const char*)>;
const char* process_environment(const char* name);

// What torchrun (and Kubeflow), Open MPI's mpirun, MPICH's (and other PMI-1 launchers) and Slurm's srun set, looked for
// in this order: srun may have started mpirun or torchrun, whose processes then have the variables of both. MASTER_ADDR
// and MASTER_PORT win over what a launcher says. Returns nothing for a process that is alone: no launcher, or one that
// started a single process; a batch script or an interactive allocation of Slurm outside srun.
//
// Without MASTER_ADDR the address is 127.0.0.1 where all ranks are on one machine, and the first host of srun's list. A
// port that nobody gave is 61440 to 65535 by the job's number, or 29500.
//
// Throws ErrorKind::usage, naming the variables, for a number that is none or out of range, half a pair, and RANK and
// WORLD_SIZE that contradict the launcher (unless torchrun runs below it).
std::optional<Launch> launch_from_environment(const Environment& read = process_environment);

// A part of work that is divided: piece `index` of `count`.
struct Share {
  int64_t index = 0, count = 1;
  std::string source;  // as Launch::source; "Slurm array", "Slurm array, Open MPI", …
};

// The place in a Slurm array (sbatch --array), times the place in the launch within each of its tasks: an array of 4
// with `srun -n 2` has 8 shares. Nothing when there is neither. Throws as launch_from_environment does, and
// ErrorKind::usage for an array whose numbers are no regular series (1,3,7), which do not say which of them this is.
std::optional<Share> share_from_environment(const Environment& read = process_environment);

// The first host of a list as Slurm writes it: "node[07-12,15],gpu3" is "node07". Throws ErrorKind::usage for what is
// no such list.
std::string first_host(std::string_view list);

}  // namespace glmimage
