#include "text/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "text/byte_alphabet.h"

namespace glmimage {
namespace {

// The split of GPT-2, built into ByteLevel.
constexpr const char* kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

struct Piece {
  Span span;
  bool is_match;
};

SplitBehavior behavior_named(const JsonObject& object) {
  const std::string name = object.text("behavior");
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  object.reject("behavior", concat("is '", name, "', which is not a known way to split"));
}

SplitStep split_from_json(const JsonObject& object) {
  const JsonObject pattern = object.object("pattern");
  const std::string where = object.file().string() + ": pre_tokenizer Split";
  Regex regex = pattern.has("Regex") ? Regex::compile(pattern.text("Regex"), where)
                                     : Regex::literal(pattern.text("String"), where);
  return {std::move(regex), behavior_named(object), object.boolean_or("invert", false)};
}

ByteLevelStep byte_level_from_json(const JsonObject& object) {
  ByteLevelStep step;
  step.add_prefix_space = object.boolean_or("add_prefix_space", true);
  if (object.boolean_or("use_regex", true)) {
    step.pattern.push_back(Regex::compile(kGpt2Pattern, object.file().string() + ": pre_tokenizer ByteLevel"));
  }
  return step;
}

// Matches and the gaps between them, in order.
std::vector<Piece> alternate(const std::vector<Span>& matches, size_t size, bool invert) {
  std::vector<Piece> pieces;
  size_t end = 0;
  for (const Span& match : matches) {
    if (match.begin != end) pieces.push_back({{end, match.begin}, invert});
    pieces.push_back({match, !invert});
    end = match.end;
  }
  if (end != size) pieces.push_back({{end, size}, invert});
  return pieces;
}

// Glues each match to its neighbour before it (walking left to right) unless that is a match, too.
std::vector<Span> merge_with_previous(const std::vector<Piece>& pieces) {
  std::vector<Span> spans;
  bool after_match = false;
  for (const Piece& piece : pieces) {
    if (piece.is_match && !after_match && !spans.empty()) {
      spans.back().end = piece.span.end;
    } else {
      spans.push_back(piece.span);
    }
    after_match = piece.is_match;
  }
  return spans;
}

std::vector<Span> merge_with_next(const std::vector<Piece>& pieces) {
  std::vector<Span> spans;
  bool after_match = false;
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
    if (piece->is_match && !after_match && !spans.empty()) {
      spans.back().begin = piece->span.begin;
    } else {
      spans.push_back(piece->span);
    }
    after_match = piece->is_match;
  }
  std::reverse(spans.begin(), spans.end());
  return spans;
}

std::vector<Span> merge_equal(const std::vector<Piece>& pieces) {
  std::vector<Span> spans;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i > 0 && pieces[i].is_match == pieces[i - 1].is_match) {
      spans.back().end = pieces[i].span.end;
    } else {
      spans.push_back(pieces[i].span);
    }
  }
  return spans;
}

void apply(const SplitStep& step, std::string_view piece, std::vector<std::string_view>& out) {
  for (const Span& span : split_at(step.pattern.find_all(piece), piece.size(), step.behavior, step.invert)) {
    out.push_back(piece.substr(span.begin, span.end - span.begin));
  }
}

std::vector<std::string_view> apply(const SplitStep& step, const std::vector<std::string_view>& pieces,
                                    std::deque<std::string>&) {
  std::vector<std::string_view> out;
  for (std::string_view piece : pieces) apply(step, piece, out);
  return out;
}

std::vector<std::string_view> apply(const ByteLevelStep& step, const std::vector<std::string_view>& pieces,
                                    std::deque<std::string>& storage) {
  std::vector<std::string_view> parts;
  for (std::string_view piece : pieces) {
    if (step.add_prefix_space && !piece.starts_with(' ')) piece = storage.emplace_back(" " + std::string(piece));
    if (step.pattern.empty()) {
      parts.push_back(piece);
    } else {
      apply(SplitStep{step.pattern[0]}, piece, parts);
    }
  }
  size_t bytes = 0;
  for (std::string_view part : parts) bytes += part.size();
  std::string& mapped = storage.emplace_back();
  mapped.reserve(2 * bytes);  // a character of the alphabet has at most two bytes, so the views below stay valid
  std::vector<std::string_view> out;
  out.reserve(parts.size());
  for (std::string_view part : parts) {
    const size_t begin = mapped.size();
    append_byte_characters(mapped, part);
    out.emplace_back(mapped.data() + begin, mapped.size() - begin);
  }
  return out;
}

}  // namespace

std::vector<Span> split_at(const std::vector<Span>& matches, size_t size, SplitBehavior behavior, bool invert) {
  const std::vector<Piece> pieces = alternate(matches, size, invert);
  std::vector<Span> spans;
  switch (behavior) {
    case SplitBehavior::isolated:
    case SplitBehavior::removed:
      for (const Piece& piece : pieces) {
        if (behavior == SplitBehavior::isolated || !piece.is_match) spans.push_back(piece.span);
      }
      break;
    case SplitBehavior::contiguous: spans = merge_equal(pieces); break;
    case SplitBehavior::merged_with_previous: spans = merge_with_previous(pieces); break;
    case SplitBehavior::merged_with_next: spans = merge_with_next(pieces); break;
  }
  std::erase_if(spans, [](const Span& span) { return span.begin == span.end; });
  return spans;
}

PreTokenizer PreTokenizer::from_json(const JsonObject& file) {
  PreTokenizer out;
  if (file.has("pre_tokenizer")) out.add_steps(file.object("pre_tokenizer"));
  return out;
}

void PreTokenizer::add_steps(const JsonObject& object) {
  const std::string type = object.text("type");
  if (type == "Sequence") {
    if (!object.value().contains("pretokenizers") || !object.value()["pretokenizers"].is_array()) {
      object.reject("pretokenizers", "should be a list");
    }
    for (const nlohmann::json& step : object.value()["pretokenizers"]) {
      if (!step.is_object()) object.reject("pretokenizers", "should be a list of objects");
      add_steps(JsonObject(object.file(), "pre_tokenizer.pretokenizers[].", step));
    }
  } else if (type == "Split") {
    steps_.push_back(split_from_json(object));
  } else if (type == "ByteLevel") {
    steps_.push_back(byte_level_from_json(object));
    byte_level_ = true;
  } else if (type == "Digits") {
    const bool individual = object.boolean_or("individual_digits", false);
    steps_.push_back(SplitStep{Regex::compile("\\p{N}", object.file().string() + ": pre_tokenizer Digits"),
                               individual ? SplitBehavior::isolated : SplitBehavior::contiguous});
  } else {
    object.reject("type", concat("is '", type, "'; supported are Sequence, Split, ByteLevel and Digits"));
  }
}

std::vector<std::string_view> PreTokenizer::words(std::string_view text, std::deque<std::string>& storage) const {
  std::vector<std::string_view> pieces;
  if (!text.empty()) pieces.push_back(text);
  for (const auto& step : steps_) {
    pieces = std::visit([&](const auto& s) { return apply(s, pieces, storage); }, step);
  }
  return pieces;
}

}  // namespace glmimage
