#include "pipeline/label.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace glmimage {
namespace {

struct Named {
  const char* name;
  LabelMode mode;
};
constexpr std::array<Named, 3> kModes = {
    {{"none", LabelMode::none}, {"hidden", LabelMode::hidden}, {"visible", LabelMode::visible}}};

constexpr size_t kMostProducerBytes = 128;

}  // namespace

LabelMode parse_label_mode(const std::string& text) {
  for (const Named& each : kModes) {
    if (text == each.name) return each.mode;
  }
  fail(ErrorKind::usage, "the label must be none, hidden or visible, not '", text, "'");
}

const char* label_mode_name(LabelMode mode) {
  for (const Named& each : kModes) {
    if (mode == each.mode) return each.name;
  }
  fail(ErrorKind::internal, "a label mode without a name");
}

void validate_producer(const std::string& producer) {
  const auto allowed = [](char c) { return c > ' ' && c < 127 && c != '"' && c != '\\'; };
  if (producer.empty() || producer.size() > kMostProducerBytes ||
      !std::all_of(producer.begin(), producer.end(), allowed)) {
    fail(ErrorKind::usage, "the producer of a label is 1 to ", kMostProducerBytes,
         " printable ASCII characters without spaces, quotation marks and backslashes, not '", producer, "'");
  }
}

std::string aigc_label(const std::string& producer, const std::string& produce_id) {
  // Who passes the picture on fills in the second half.
  const nlohmann::ordered_json label = {{"Label", "1"},        {"ContentProducer", producer}, {"ProduceID", produce_id},
                                        {"ReservedCode1", ""}, {"ContentPropagator", ""},     {"PropagateID", ""},
                                        {"ReservedCode2", ""}};
  return label.dump();
}

}  // namespace glmimage
