#pragma once

#include <string>

namespace glmimage {

// How a picture tells that it was generated.
enum class LabelMode {
  none,
  hidden,   // in the file: the label of China's GB 45438-2025, and IPTC's source type
  visible,  // the same, and a mark on the picture
};

// "none", "hidden", "visible". Throws ErrorKind::usage for any other text.
LabelMode parse_label_mode(const std::string& text);
const char* label_mode_name(LabelMode mode);

// Who is named as the producer when nobody was: the program.
inline constexpr const char* kDefaultProducer = "glm-image.cpp";

struct LabelOptions {
  LabelMode mode = LabelMode::hidden;
  std::string producer = kDefaultProducer;  // the provider's code, or name
};

// What the standard allows in a label's fields: printable ASCII without space, quotation mark and backslash; here 1 to
// 128 of them. Throws ErrorKind::usage.
void validate_producer(const std::string& producer);

// The label, its keys in the standard's order. `produce_id` names the picture at its producer's.
std::string aigc_label(const std::string& producer, const std::string& produce_id);

// IPTC's word for a picture made by a trained model.
inline constexpr const char* kTrainedAlgorithmicMedia =
    "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";

}  // namespace glmimage
