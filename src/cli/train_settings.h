#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "train/config/train_config.h"

namespace glmimage::cli {

// What the command line says about settings, as it was typed.
struct SettingFlags {
  std::filesystem::path config;               // --config FILE
  std::vector<std::string> assignments;       // --set NAME=VALUE
  std::vector<std::string> data;              // --data SRC
  std::map<std::string, std::string> values;  // setting -> text, of the flags with a name of their own
};

// The flag of a setting that has one: "learning_rate" -> "--learning-rate", "rl.reward" -> "--reward".
std::string flag_of(const std::string& setting);

// The stage's defaults, then the file, then --set and the flags. Throws ErrorKind::usage for an unknown setting, a bad
// value, and two different values for one setting on the command line.
train::TrainConfig settings_of(const std::string& stage, const SettingFlags& flags);

// Every setting with its default for this stage, a line each.
std::string list_settings(const std::string& stage);

}  // namespace glmimage::cli
