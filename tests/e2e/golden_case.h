#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "e2e/program.h"

namespace glmimage::test {

// One request of tests/golden/<checkpoint>/manifest.json, with every stage's tensors as the reference made them.
struct GoldenCase {
  std::string checkpoint;  // "tiny_a"
  nlohmann::json settings;

  std::string name() const { return checkpoint + "_" + settings["name"].get<std::string>(); }
  // A conditioning the command line does not offer.
  bool expressible() const {
    return settings["crop"] == nlohmann::json::array({0, 0}) && settings["max_sequence_length"] == 2048;
  }
  SafetensorsFile tensors() const {
    return SafetensorsFile::open(golden(checkpoint + "/" + settings["file"].get<std::string>()));
  }
  std::vector<std::string> arguments(const std::filesystem::path& output, const std::filesystem::path& trace) const {
    const auto number = [&](const char* key) { return settings[key].dump(); };
    std::vector<std::string> out = generate(test::checkpoint(checkpoint), output,
                                            {"--trace", trace.string(), "--prompt", settings["prompt"], "--width",
                                             number("width"), "--height", number("height"), "--steps", number("steps"),
                                             "--guidance", number("guidance_scale"), "--seed", number("seed")});
    for (const nlohmann::json& picture : settings["pictures"]) {
      out.insert(out.end(), {"--image", golden(picture.get<std::string>()).string()});
    }
    if (settings["greedy"].get<bool>()) out.insert(out.end(), {"--temperature", "0"});
    return out;
  }
};

inline std::vector<GoldenCase> golden_cases() {
  std::vector<GoldenCase> out;
  for (const char* name : {"tiny_a", "tiny_b", "tiny_c"}) {
    std::ifstream in(golden(std::string(name) + "/manifest.json"));
    const nlohmann::json manifest = nlohmann::json::parse(in);
    for (const nlohmann::json& settings : manifest["cases"]) {
      if (GoldenCase one{name, settings}; one.expressible()) out.push_back(one);
    }
  }
  return out;
}

// For messages of parameterised tests.
inline void PrintTo(const GoldenCase& one, std::ostream* out) { *out << one.name(); }

}  // namespace glmimage::test
