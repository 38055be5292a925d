#include "cli/train_settings.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.h"

namespace glmimage::cli {
namespace {

using nlohmann::json;

json read_config(const std::filesystem::path& file, const std::string& stage) {
  std::ifstream in(file);
  if (!in) fail(ErrorKind::usage, "--config ", file.string(), ": cannot be opened");
  json value = json::parse(in, nullptr, false);
  if (value.is_discarded()) fail(ErrorKind::usage, "--config ", file.string(), ": not valid JSON");
  if (value.is_object() && value.contains("stage") && value["stage"] != stage) {
    fail(ErrorKind::usage, "--config ", file.string(), ": is for stage ", value["stage"].dump(), ", not '", stage, "'");
  }
  return value;
}

// One setting, given in one place of the command line.
struct Given {
  std::string setting, value, origin;
};

std::vector<Given> all_given(const SettingFlags& flags) {
  std::vector<Given> out;
  for (const std::string& text : flags.assignments) {
    const size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos) {
      fail(ErrorKind::usage, "--set ", text, ": expected NAME=VALUE, like --set learning_rate=0.001");
    }
    out.push_back({text.substr(0, equals), text.substr(equals + 1), "--set " + text});
  }
  for (const auto& [setting, value] : flags.values) out.push_back({setting, value, flag_of(setting) + " " + value});
  if (!flags.data.empty()) out.push_back({"data", json(flags.data).dump(), "--data " + flags.data.front()});
  return out;
}

}  // namespace

std::string flag_of(const std::string& setting) {
  std::string flag = "--" + setting.substr(setting.find('.') + 1);  // from the start where there is no section
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

train::TrainConfig settings_of(const std::string& stage, const SettingFlags& flags) {
  train::TrainConfig config = train::TrainConfig::of_stage(stage);
  const train::FieldList list = config.fields();
  if (!flags.config.empty()) list.read(read_config(flags.config, stage), flags.config.string());
  std::map<std::string, Given> seen;
  for (const Given& given : all_given(flags)) {
    const auto [place, first_time] = seen.emplace(given.setting, given);
    if (!first_time && place->second.value != given.value) {
      fail(ErrorKind::usage, place->second.origin, " and ", given.origin, " contradict each other");
    }
    if (given.setting == "stage") fail(ErrorKind::usage, given.origin, ": the stage is the word after 'train'");
    json value = json::parse(given.value, nullptr, false);
    if (value.is_discarded()) value = given.value;  // text needs no quotation marks
    json one;
    one[given.setting] = std::move(value);
    list.read(one, given.origin);
  }
  config.check();
  return config;
}

std::string list_settings(const std::string& stage) {
  train::TrainConfig config = train::TrainConfig::of_stage(stage);
  std::string out = concat("Settings of stage ", stage, ": --set NAME=VALUE, or a file of them for --config\n");
  const train::FieldList list = config.fields();
  for (const train::Field& field : list.fields()) {
    if (field.name == "stage") continue;
    std::string name = field.name, value = field.get().dump();
    name.resize(std::max<size_t>(name.size(), 30), ' ');
    value.resize(std::max<size_t>(value.size(), 16), ' ');
    out += "  " + name + " " + value + " " + field.help + "\n";
  }
  return out;
}

}  // namespace glmimage::cli
