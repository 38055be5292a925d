#include "cli/inspect_picture.h"

#include <cstdio>
#include <fstream>
#include <span>
#include <string>

#include "core/error.h"
#include "core/image_codecs.h"
#include "core/picture_metadata.h"
#include "core/picture_size.h"
#include "core/shallow_json.h"
#include "core/terminal_text.h"
#include "core/utf8.h"
#include "pipeline/label.h"
#include "pipeline/recipe.h"

namespace glmimage::cli {
namespace {

using nlohmann::ordered_json;

ordered_json text_or_null(const std::string& text) {
  return text.empty() ? ordered_json(nullptr) : ordered_json(replace_invalid_utf8(text));
}

ordered_json recipe_or_fault(const std::string& text, const std::string& name, ordered_json& faults) {
  if (text.empty()) return nullptr;
  try {
    return Recipe::from_json(text, name).to_json();
  } catch (const Error& error) {
    faults.push_back(error.what());
    return nullptr;
  }
}

ordered_json label_or_fault(const std::string& text, ordered_json& faults) {
  if (text.empty()) return nullptr;
  ordered_json label = parse_shallow_json<ordered_json>(text);
  if (label.is_object()) return label;
  faults.push_back("its label of generated pictures (AIGC) is no JSON object");
  return nullptr;
}

// "prompt          a red fox"
void line(const char* name, const std::string& value) { std::printf("%-16s %s\n", name, value.c_str()); }

std::string in_words(const ordered_json& value) {
  constexpr size_t kMost = 4000;
  if (value.is_string()) return terminal_text(value.get<std::string>(), kMost);
  return terminal_text(value.dump(-1, ' ', false, ordered_json::error_handler_t::replace), kMost);
}

std::string identity(const ordered_json& value) {
  return concat(in_words(value["name"]), "  sha256 ", value["hash"].get<std::string>());
}

void print_recipe(const ordered_json& recipe) {
  line("drawn by", in_words(recipe["program"]));
  line("model", identity(recipe["model"]));
  line("prompt", in_words(recipe["prompt"]));
  for (const char* field : {"seed", "steps", "guidance_scale", "temperature", "top_p"}) {
    if (recipe.contains(field)) line(field, in_words(recipe[field]));
  }
  line("cache", in_words(recipe["cache"]["method"]));
  for (const ordered_json& each : recipe["loras"])
    line("adapter", identity(each) + ", scale " + in_words(each["scale"]));
  for (const ordered_json& each : recipe["references"]) {
    line("drawn from", concat(identity(each), ", ", in_words(each["width"]), " x ", in_words(each["height"])));
  }
  line("computed in", concat(in_words(recipe["dtype"]), " on ", in_words(recipe["device"]), ", ",
                             in_words(recipe["threads"]), " threads"));
}

void print_label(const ordered_json& label) {
  // Of any program's pictures, so nothing is sure to be there.
  const auto field = [&](const char* name) { return label.contains(name) ? in_words(label[name]) : std::string(); };
  const std::string kind = field("Label");
  line("label", concat("AIGC ", kind,
                       kind == "1"   ? ": generated"
                       : kind == "2" ? ": possibly generated"
                       : kind == "3" ? ": suspected"
                                     : ""));
  line("  producer", concat(field("ContentProducer"), ", id ", field("ProduceID")));
  if (!field("ContentPropagator").empty()) {
    line("  passed on by", concat(field("ContentPropagator"), ", id ", field("PropagateID")));
  }
}

}  // namespace

bool is_picture(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  char head[16] = {};
  in.read(head, sizeof head);
  try {
    detect_picture_format({reinterpret_cast<const uint8_t*>(head), static_cast<size_t>(in.gcount())}, "");
    return true;
  } catch (const Error&) {
    return false;
  }
}

ordered_json describe_picture_file(const std::filesystem::path& file) {
  const std::string name = file.string();
  const std::vector<uint8_t> bytes = read_picture_file(file);
  const FoundMetadata found = read_metadata(bytes, name);
  const PictureSize size = picture_size(bytes, name);
  ordered_json faults = ordered_json::array();
  for (const std::string& each : found.faults) faults.push_back(terminal_text(each));
  const PictureMetadata& metadata = found.metadata;
  ordered_json out = {{"path", name},
                      {"format", picture_format_name(found.format)},
                      {"width", size.width},
                      {"height", size.height},
                      {"recipe", recipe_or_fault(metadata.recipe, name, faults)},
                      {"parameters", text_or_null(metadata.parameters)},
                      {"label", label_or_fault(metadata.aigc_label, faults)},
                      {"digital_source_type", text_or_null(metadata.digital_source_type)},
                      {"creator_tool", text_or_null(metadata.creator_tool)}};
  out["faults"] = std::move(faults);
  return out;
}

void print_picture(const ordered_json& picture) {
  std::printf("%s: %s, %lld x %lld\n", picture["path"].get<std::string>().c_str(),
              picture["format"].get<std::string>().c_str(), static_cast<long long>(picture["width"].get<int64_t>()),
              static_cast<long long>(picture["height"].get<int64_t>()));
  bool silent = true;
  for (const char* field : {"recipe", "parameters", "label", "digital_source_type", "creator_tool"}) {
    silent = silent && picture[field].is_null();
  }
  if (silent) std::printf("It does not say how it was made.\n");
  const ordered_json& recipe = picture["recipe"];
  if (!recipe.is_null()) {
    print_recipe(recipe);
  } else if (!picture["parameters"].is_null()) {
    line("parameters", in_words(picture["parameters"]));
  }
  if (!picture["label"].is_null()) print_label(picture["label"]);
  if (!picture["digital_source_type"].is_null()) line("source (IPTC)", in_words(picture["digital_source_type"]));
  if (recipe.is_null() && !picture["creator_tool"].is_null()) line("program", in_words(picture["creator_tool"]));
  for (const ordered_json& fault : picture["faults"]) line("fault", in_words(fault));
}

}  // namespace glmimage::cli
