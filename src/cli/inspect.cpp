#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/human_bytes.h"
#include "cli/inspect_memory.h"
#include "cli/inspect_picture.h"
#include "core/error.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "core/weight_files.h"
#include "hub/pulled.h"
#include "models/lora/file.h"
#include "pipeline/request.h"

namespace glmimage::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kFooter = R"(Examples:
  glm-image inspect checkpoints/mini
  glm-image inspect picture.png
  glm-image inspect model-00001-of-00004.safetensors --tensors
  glm-image inspect ~/GLM-Image --dtype bfloat16 --device cuda --width 1536 --height 1024 --references 1
  glm-image inspect ~/GLM-Image --json)";

// What a set of tensors adds up to.
struct Totals {
  int64_t tensors = 0, parameters = 0, bytes = 0;
  int64_t floats = 0;       // that are cast on loading
  int64_t fixed_bytes = 0;  // that stay as they are: integers and their scales
  std::map<std::string, int64_t> parameters_by_dtype;

  void add(const TensorInfo& info) {
    // Matrices of few bits (quantised_names): eight values a word, and what belongs to them is no parameter.
    const bool packed = info.name.ends_with(".weight_packed"), scale = info.name.ends_with(".weight_scale");
    const bool shape = info.name.ends_with(".weight_shape");
    const int64_t count = scale || shape ? 0 : info.elements() * (packed ? 8 : 1);
    const auto size = static_cast<int64_t>(info.end - info.begin);
    ++tensors;
    parameters += count;
    bytes += size;
    if (at::isFloatingType(info.dtype) && !scale) {
      floats += count;
    } else {
      fixed_bytes += size;
    }
    if (count > 0) parameters_by_dtype[packed ? "I4" : safetensors_dtype_name(info.dtype)] += count;
  }
  int64_t bytes_in(int64_t float_size) const { return floats * float_size + fixed_bytes; }
  void add(const Totals& other) {
    tensors += other.tensors;
    parameters += other.parameters;
    bytes += other.bytes;
    floats += other.floats;
    fixed_bytes += other.fixed_bytes;
    for (const auto& [dtype, count] : other.parameters_by_dtype) parameters_by_dtype[dtype] += count;
  }
  json to_json() const {
    return {{"tensors", tensors},
            {"parameters", parameters},
            {"bytes", bytes},
            {"parameters_by_dtype", parameters_by_dtype},
            {"bytes_needed", {{"float32", bytes_in(4)}, {"bfloat16", bytes_in(2)}, {"float16", bytes_in(2)}}}};
  }
};

struct Part {
  std::string name, kind;
  std::vector<std::string> files;
  Totals totals;
  json tensors = json::array();
  json adapter = nullptr;  // unless this is one
};

json describe(const TensorInfo& info) {
  return {{"name", info.name},
          {"dtype", safetensors_dtype_name(info.dtype)},
          {"shape", info.shape},
          {"bytes", info.end - info.begin}};
}

std::string dtype_summary(const Totals& totals) {
  std::string out;
  for (const auto& [dtype, count] : totals.parameters_by_dtype) out += (out.empty() ? "" : " ") + dtype;
  return out;
}

void add_file(Part& part, const SafetensorsFile& file) {
  part.files.push_back(file.path().filename().string());
  for (const TensorInfo& info : file.tensors()) {
    part.totals.add(info);
    part.tensors.push_back(describe(info));
  }
}

// "blocks.7.attn1.to_q" -> "blocks.*.attn1.to_q"
std::string in_any_layer(const LoraEntry& entry) {
  const std::string& path = entry.path;
  const char between = entry.style == LoraPath::dotted ? '.' : '_';
  for (size_t at = path.find(between); at != std::string::npos; at = path.find(between, at + 1)) {
    const size_t end = path.find_first_not_of("0123456789", at + 1);
    if (end != std::string::npos && end > at + 1 && path[end] == between) {
      return path.substr(0, at + 1) + "*" + path.substr(end);
    }
  }
  return path;
}

// What an adapter changes, with its ranks and alphas, as a rule one of each.
json describe(const LoraFile& adapter) {
  std::set<std::string> targets;
  std::set<int64_t> ranks;
  std::set<double> alphas;
  for (const LoraEntry& entry : adapter.entries) {
    targets.insert(in_any_layer(entry));
    ranks.insert(entry.pair.a.size(0));
    alphas.insert(entry.alpha);
  }
  return {{"pairs", adapter.entries.size()},
          {"ranks", ranks},
          {"alphas", alphas},
          {"targets", targets},
          {"unknown", adapter.unknown}};
}

// A part is a folder with weights; its kind is the class its configuration or model_index.json names.
std::vector<Part> read_parts(const fs::path& folder) {
  std::vector<Part> parts;
  const bool whole = fs::exists(folder / "model_index.json");
  std::vector<fs::path> folders;
  if (whole) {
    const JsonObject index = JsonObject::open(folder / "model_index.json");
    for (const auto& [name, value] : index.value().items()) {
      if (!value.is_array() || value.size() != 2 || !value[1].is_string()) continue;
      if (!fs::is_directory(folder / name)) {
        fail(ErrorKind::checkpoint, (folder / name).string(),
             ": model_index.json names this part, but there is no such folder; an incomplete download?");
      }
      Part part{name, value[1].get<std::string>(), {}, {}, json::array()};
      const std::string& kind = part.kind;
      const bool has_weights = kind.find("Tokenizer") == std::string::npos &&
                               kind.find("Processor") == std::string::npos &&
                               kind.find("Scheduler") == std::string::npos;
      if (has_weights) {
        const WeightFiles weights = WeightFiles::open(folder / name);
        for (const SafetensorsFile& file : weights.files()) add_file(part, file);
      }
      parts.push_back(std::move(part));
    }
    return parts;
  }
  Part part{folder.filename().string(), "", {}, {}, json::array()};
  const WeightFiles weights = WeightFiles::open(folder);
  for (const SafetensorsFile& file : weights.files()) add_file(part, file);
  parts.push_back(std::move(part));
  return parts;
}

void print_table(const std::vector<Part>& parts, const Totals& all, bool list_tensors) {
  std::printf("%-24s %-34s %8s %16s %12s  %s\n", "part", "kind", "tensors", "parameters", "on disk", "types");
  auto row = [](const std::string& name, const std::string& kind, const Totals& t) {
    std::printf("%-24s %-34s %8lld %16lld %12s  %s\n", name.c_str(), kind.c_str(), static_cast<long long>(t.tensors),
                static_cast<long long>(t.parameters), human_bytes(t.bytes).c_str(), dtype_summary(t).c_str());
  };
  for (const Part& part : parts) row(part.name, part.kind, part.totals);
  row("all", "", all);
  for (const Part& part : parts) {
    if (part.adapter.is_null()) continue;
    std::printf("adapter: LoRA of %zu modules, rank %s, alpha %s, targets %s\n", part.adapter["pairs"].get<size_t>(),
                part.adapter["ranks"].dump().c_str(), part.adapter["alphas"].dump().c_str(),
                part.adapter["targets"].dump(-1, ' ', false, json::error_handler_t::replace).c_str());
  }
  std::printf("weights in memory: float32 %s, bfloat16 or float16 %s\n", human_bytes(all.bytes_in(4)).c_str(),
              human_bytes(all.bytes_in(2)).c_str());
  if (!list_tensors) return;
  for (const Part& part : parts) {
    for (const json& tensor : part.tensors) {
      std::printf("%s  %s  %s  %s\n", part.name.c_str(), tensor["name"].get<std::string>().c_str(),
                  tensor["dtype"].get<std::string>().c_str(), tensor["shape"].dump().c_str());
    }
  }
}

struct InspectOptions {
  std::string path;
  bool json = false, tensors = false;
  MemoryQuestion memory;
};

int inspect_picture(const fs::path& path, bool as_json) {
  const nlohmann::ordered_json picture = describe_picture_file(path);
  if (as_json) {
    std::printf("%s\n", picture.dump(2, ' ', false, json::error_handler_t::replace).c_str());
  } else {
    print_picture(picture);
  }
  return 0;
}

int inspect(const InspectOptions& options) {
  const fs::path path = hub::find_model(options.path);
  if (is_picture(path)) return inspect_picture(path, options.json);
  std::vector<Part> parts;
  if (fs::is_directory(path)) {
    parts = read_parts(path);
  } else {
    Part part{path.filename().string(), "safetensors", {}, {}, json::array()};
    const SafetensorsFile file = SafetensorsFile::open(path);
    add_file(part, file);
    if (LoraFile::is_adapter(file)) {
      part.kind = "LoRA adapter";
      part.adapter = describe(LoraFile::read(file));
    }
    parts.push_back(std::move(part));
  }
  Totals all;
  for (const Part& part : parts) all.add(part.totals);
  const json memory = draws_pictures(path) ? predict_memory(path, options.memory) : json();
  if (!options.json) {
    print_table(parts, all, options.tensors);
    if (!memory.is_null()) print_memory(memory);
    return 0;
  }
  json out = {{"path", path.string()}, {"parts", json::array()}, {"total", all.to_json()}};
  for (const Part& part : parts) {
    json entry = part.totals.to_json();
    entry["name"] = part.name;
    entry["kind"] = part.kind;
    entry["files"] = part.files;
    if (!part.adapter.is_null()) entry["adapter"] = part.adapter;
    if (options.tensors) entry["tensor_list"] = part.tensors;
    out["parts"].push_back(std::move(entry));
  }
  if (!memory.is_null()) out["memory"] = memory;
  std::printf("%s\n", out.dump(2).c_str());
  return 0;
}

}  // namespace

void add_inspect(CLI::App& app, Command& run) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand(
      "inspect", "Tell what is in a checkpoint, a safetensors file or a drawn picture, or what is wrong with it");
  command->footer(kFooter);
  command->add_option("path", options->path, "Folder of a checkpoint, of one part, a .safetensors file, or a picture")
      ->required();
  command->add_flag("--tensors", options->tensors, "List every tensor");
  command->add_option("--width", options->memory.width, "Memory: of a picture so wide; default: the model's own size");
  command->add_option("--height", options->memory.height, "Memory: of a picture so high");
  command
      ->add_option("--references", options->memory.references, "Memory: with so many reference pictures of that size")
      ->check(CLI::Range(int64_t{0}, static_cast<int64_t>(kMaxReferences)));
  command->add_option("--dtype", options->memory.dtype, "Memory: auto, float32, bfloat16 or float16")
      ->capture_default_str();
  command->add_option("--device", options->memory.device, "Memory: of cpu, cuda or npu, which need not be there")
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &run] { run = [options] { return inspect(*options); }; });
}

}  // namespace glmimage::cli
