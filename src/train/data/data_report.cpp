#include "train/data/data_report.h"

#include <map>

#include "core/error.h"
#include "core/files.h"

namespace glmimage::train {

using nlohmann::json;

const char* name_of(Skip reason) {
  switch (reason) {
    case Skip::unreadable: return "unreadable";
    case Skip::too_small: return "too_small";
    case Skip::too_large: return "too_large";
    case Skip::too_long: return "too_long";
    case Skip::no_caption: return "no_caption";
    case Skip::bad_caption: return "bad_caption";
    case Skip::bad_entry: return "bad_entry";
    case Skip::broken_archive: return "broken_archive";
  }
  return "unknown";
}

std::string SourceReport::summary(size_t names) const {
  std::map<Skip, std::vector<const Skipped*>> by_reason;
  for (const Skipped& item : skipped) by_reason[item.reason].push_back(&item);
  std::string text = concat(used, used == 1 ? " picture" : " pictures");
  if (skipped.empty()) return text;
  text += concat("; ", skipped.size(), " skipped:");
  for (const auto& [reason, items] : by_reason) {
    text += concat(reason == by_reason.begin()->first ? " " : ", ", items.size(), " ", name_of(reason), " (");
    for (size_t i = 0; i < items.size() && i < names; ++i) text += concat(i > 0 ? ", " : "", items[i]->name);
    text += items.size() > names ? ", …)" : ")";
  }
  return text;
}

json SourceReport::to_json() const {
  json counts = json::object(), items = json::array();
  for (const Skipped& item : skipped) {
    const char* reason = name_of(item.reason);
    counts[reason] = counts.value(reason, 0) + 1;
    items.push_back({{"reason", reason}, {"name", item.name}, {"why", item.why}});
  }
  return {{"source", source}, {"used", used}, {"skipped", counts}, {"skipped_entries", items}};
}

void write_report(const std::filesystem::path& file, const json& content) {
  write_file(file, content.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
}

}  // namespace glmimage::train
