#pragma once

#include <atomic>
#include <filesystem>

namespace glmimage::cli {

// Set by SIGINT and SIGTERM once watch_interrupts() was called.
const std::atomic<bool>& interrupted();

enum class Patience {
  brief,   // generate: if the work has not stopped by itself 0.7 s after the signal, leave at once with exit code 130.
           // Safe because pictures are written under a temporary name, which is removed on the way out.
  steady,  // train: wait for the step to end and the state to be saved
};

// Installs the handlers; call once, before any thread starts.
void watch_interrupts(Patience patience);

// Names the temporary file that a brief exit has to remove; empty: none.
void guard_partial_file(const std::filesystem::path& file);

}  // namespace glmimage::cli
