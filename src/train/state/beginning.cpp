#include "train/state/beginning.h"

#include <cstdio>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "core/listing.h"
#include "train/state/saved_states.h"

namespace glmimage::train {
namespace fs = std::filesystem;

namespace {

// The newest state of a run's folder; empty: none.
fs::path newest_state(const fs::path& run) {
  const std::vector<fs::path> states = SavedStates(run).finished();
  return states.empty() ? fs::path() : states.back();
}

// `folder` is a state itself or a run's folder.
fs::path state_in(const fs::path& folder) {
  if (fs::exists(folder / SavedStates::kAbout)) return folder;
  const fs::path state = newest_state(folder);
  if (state.empty()) {
    fail(ErrorKind::usage, folder.string(),
         ": there is no saved state in it; --resume takes a run's folder or one of the folders in its state/");
  }
  return state;
}

// Under another name, so that starting over costs nobody a training by mistake.
void set_aside(const fs::path& path) {
  if (!fs::exists(path)) return;
  for (int64_t number = 1;; ++number) {
    const fs::path other =
        path.parent_path() / concat(path.stem().string(), ".old-", number, path.extension().string());
    if (fs::exists(other)) continue;
    fs::rename(path, other);
    std::fprintf(stderr, "starting over: %s is now %s\n", path.c_str(), other.c_str());
    return;
  }
}

// The state's own settings against the run's.
void check_settings(const JsonObject& state, const TrainConfig& config) {
  TrainConfig saved;
  saved.fields().read(state.object("config").value(), state.file().string());
  const std::vector<std::string> differences = settings_that_differ(saved, config);
  if (differences.empty()) return;
  fail(ErrorKind::usage, state.file().parent_path().string(),
       " was trained with other settings: ", listed(differences, differences.size()),
       "; give the same ones, another --out, or --resume never");
}

// The sizes and what is not trained come from --init, also when the weights come from a state.
void check_init(const JsonObject& state, const fs::path& init) {
  const fs::path before = state.text_or("init", ""), folder = state.file().parent_path();
  if (before.empty() != init.empty()) {
    fail(ErrorKind::usage, folder.string(), " was trained ",
         before.empty() ? "without --init; leave it out" : concat("with --init ", before.string(), "; give it again"),
         ", or take another --out, or --resume never");
  }
  if (before != init) {
    std::fprintf(stderr, "warning: %s was trained with --init %s, now it is %s\n", folder.c_str(), before.c_str(),
                 init.c_str());
  }
}

fs::path choose(const StageOptions& options) {
  const fs::path own = newest_state(options.out);
  switch (options.resume.from) {
    case Resume::From::newest: return own;
    case Resume::From::never:
      set_aside(SavedStates(options.out).folder());
      set_aside(options.out / "metrics.jsonl");
      return {};
    case Resume::From::folder: break;
  }
  if (own.empty()) return state_in(options.resume.folder);
  // The same command again, after the run that began there was stopped: its own states are further.
  if (JsonObject::open(own / SavedStates::kAbout).text_or("origin", "") ==
      fs::weakly_canonical(options.resume.folder)) {
    return own;
  }
  fail(ErrorKind::usage, options.out.string(), ": holds states of its own, and --resume ",
       options.resume.folder.string(), " asks for others; --resume auto goes on from its own, else give another --out");
}

// The passes of an update are dealt out to the processes, as many to each.
void check_processes(const TrainConfig& config, int64_t all_processes) {
  static const std::set<std::string> dealt = {"vae", "tokenizer", "dit", "ar"};
  if (!dealt.contains(config.stage)) {
    fail(ErrorKind::usage, "stage ", config.stage, " is trained by one process, and ", all_processes,
         " were started: only vae, tokenizer, dit and ar deal out their passes");
  }
  const int64_t sharing = config.distributed.sequence_parallel;
  if (all_processes % sharing != 0) {
    fail(ErrorKind::usage, "distributed.sequence_parallel=", sharing, " does not divide the ", all_processes,
         " processes");
  }
  const int64_t processes = all_processes / sharing;  // those that share a pass's tokens count as one
  if (config.accumulate % processes == 0) return;
  const int64_t all = config.batch * config.accumulate;
  fail(ErrorKind::usage, processes, sharing > 1 ? " groups of processes" : " processes",
       " share the passes of an update, and accumulate is ", config.accumulate, ": give a multiple of ", processes,
       all % processes == 0
           ? concat(", like batch=", all / processes, " accumulate=", processes, " for updates as large as now")
           : "");
}

Beginning begin_here(const std::string& stage, const StageOptions& options) {
  TrainConfig config = options.config;
  config.stage = stage;
  config.check();
  if (options.group) check_processes(config, options.group->size());
  std::error_code error;
  fs::create_directories(options.out, error);
  if (error) fail(ErrorKind::io, options.out.string(), ": cannot be made: ", error.message());
  SavedStates(options.out).remove_half_written();

  Beginning begin{.stage = stage,
                  .state = choose(options),
                  .step = 0,
                  .origin = {},
                  .init = options.init.empty() ? fs::path() : fs::weakly_canonical(options.init)};
  if (!begin.state.empty()) {
    const JsonObject state = JsonObject::open(begin.state / SavedStates::kAbout);
    if (state.text("stage") != stage) {
      state.reject("stage", concat("is '", state.text("stage"), "', not '", stage, "': another stage's run"));
    }
    check_settings(state, config);
    check_init(state, begin.init);
    begin.step = state.integer("step");
    begin.origin = options.resume.from == Resume::From::folder ? fs::weakly_canonical(options.resume.folder)
                                                               : fs::path(state.text_or("origin", ""));
  }
  write_json_file(options.out / "config.json", config.fields().to_json());
  return begin;
}

}  // namespace

// Of several processes rank 0 looks and decides.
Beginning begin_run(const std::string& stage, const StageOptions& options) {
  if (!options.group) return begin_here(stage, options);
  const std::string text = options.group->on_first(
      [&] {
        const Beginning begin = begin_here(stage, options);
        return nlohmann::json({{"state", begin.state.string()},
                               {"step", begin.step},
                               {"origin", begin.origin.string()},
                               {"init", begin.init.string()}})
            .dump();
      },
      "rank 0 to begin the run");
  const auto begin = nlohmann::json::parse(text);
  return {.stage = stage,
          .state = begin["state"].get<std::string>(),
          .step = begin["step"],
          .origin = begin["origin"].get<std::string>(),
          .init = begin["init"].get<std::string>()};
}

void check_foundations(const Beginning& beginning, const Foundations& foundations) {
  if (beginning.state.empty()) return;
  const JsonObject about = JsonObject::open(beginning.state / SavedStates::kAbout);
  if (!about.has("foundations")) return;
  const JsonObject saved = about.object("foundations");
  for (const auto& [name, identity] : foundations) {
    if (saved.text_or(name, identity) == identity) continue;
    fail(ErrorKind::usage, beginning.state.string(), " was trained with another ", name,
         " than there is now; give the same one, another --out, or --resume never");
  }
}

}  // namespace glmimage::train
