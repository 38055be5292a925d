#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace glmimage::cli {

// Whose memory is asked for.
struct MemoryQuestion {
  std::optional<int64_t> width, height;  // unset: the model's own size
  int64_t references = 0;                // pictures of that size
  std::string dtype = "auto", device = "cpu";
};

// Whether the folder is a whole GLM-Image checkpoint.
bool draws_pictures(const std::filesystem::path& folder);

// What one picture takes under each policy, from headers and configurations: weights + activations + caches = peak.
nlohmann::json predict_memory(const std::filesystem::path& folder, const MemoryQuestion& question);
void print_memory(const nlohmann::json& prediction);

}  // namespace glmimage::cli
