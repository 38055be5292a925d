#include "eval/totals.h"

#include <algorithm>
#include <cstdio>

namespace glmimage::eval {

void Totals::add(const PictureResult& result) {
  if (result.background_wanted) background.add(*result.background_wanted == result.background_named);
  for (const ObjectResult& object : result.objects) {
    if (object.wanted.kind == world::ObjectKind::emoji) {
      emoji.add(object.right());
      continue;
    }
    shape.add(object.right());
    shape_form.add(object.form_right);
    shape_colour.add(object.colour_right);
  }
  if (result.place_right) place.add(*result.place_right);
  for (const RelationResult& each : result.relations) relation.add(each.right);
  for (const CountResult& each : result.counts) count.add(each.counted == each.wanted);
  if (result.word) {
    word.add(result.word->distance == 0);
    edit_distance += result.word->distance;
  }
  picture.add(result.all_right());
}

const std::vector<Measure>& measures() {
  static const std::vector<Measure> list = {
      {"background", "background", &Totals::background},
      {"emoji", "emoji", &Totals::emoji},
      {"shape", "shape", &Totals::shape},
      {"shape_form", "  its form", &Totals::shape_form},
      {"shape_colour", "  its colour", &Totals::shape_colour},
      {"place", "place", &Totals::place},
      {"relation", "relation", &Totals::relation},
      {"count", "count", &Totals::count},
      {"word", "word", &Totals::word},
      {"picture", "whole picture", &Totals::picture},
  };
  return list;
}

nlohmann::json Totals::to_json() const {
  nlohmann::json out = nlohmann::json::object();
  for (const Measure& measure : measures()) {
    const Tally& tally = this->*measure.tally;
    nlohmann::json entry = {{"right", tally.right}, {"of", tally.of}, {"rate", nullptr}};
    if (tally.of) entry["rate"] = static_cast<double>(tally.right) / static_cast<double>(tally.of);
    out[measure.key] = std::move(entry);
  }
  out["word"]["edit_distance"] = word.of ? nlohmann::json(mean_edit_distance()) : nlohmann::json(nullptr);
  return out;
}

std::vector<std::vector<std::string>> table_rows(const Triple<Totals>& totals) {
  const auto share = [](const Tally& tally) {
    char text[80];
    const double percent = tally.of ? 100.0 * static_cast<double>(tally.right) / static_cast<double>(tally.of) : 0;
    std::snprintf(text, sizeof text, "%.1f %% (%lld/%lld)", percent, static_cast<long long>(tally.right),
                  static_cast<long long>(tally.of));
    return std::string(text);
  };
  const auto number = [](double value) {
    char text[40];
    std::snprintf(text, sizeof text, "%.3f", value);
    return std::string(text);
  };
  std::vector<std::vector<std::string>> rows;
  for (const Measure& measure : measures()) {
    if ((totals.truth.*measure.tally).of == 0) continue;
    rows.push_back({measure.title, share(totals.drawn.*measure.tally), share(totals.truth.*measure.tally),
                    share(totals.vae.*measure.tally)});
    if (measure.tally != &Totals::word) continue;
    rows.push_back({"  edit distance", number(totals.drawn.mean_edit_distance()),
                    number(totals.truth.mean_edit_distance()), number(totals.vae.mean_edit_distance())});
  }
  return rows;
}

std::string table_text(const Triple<Totals>& totals) {
  std::vector<std::vector<std::string>> rows = {{"", "drawn", "ground truth", "through the VAE"}};
  for (auto& row : table_rows(totals)) rows.push_back(std::move(row));
  std::string out;
  for (const auto& row : rows) {
    char line[200];
    std::snprintf(line, sizeof line, "%-16s%20s%20s%20s\n", row[0].c_str(), row[1].c_str(), row[2].c_str(),
                  row[3].c_str());
    out += line;
  }
  return out;
}

}  // namespace glmimage::eval
