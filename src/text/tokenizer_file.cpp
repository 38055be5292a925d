#include "text/tokenizer_file.h"

#include <algorithm>
#include <fstream>
#include <system_error>

#include "core/error.h"

namespace glmimage {
namespace {

using nlohmann::json;

// Builds the JSON tree, except that model.vocab and model.merges go straight into the TokenizerFile.
class Reader : public nlohmann::json_sax<json> {
 public:
  explicit Reader(TokenizerFile& out) : out_(out) {}
  json take() { return std::move(root_); }

  bool null() override { return value(json()); }
  bool boolean(bool v) override { return value(v); }
  bool number_integer(number_integer_t v) override { return number(static_cast<int64_t>(v)); }
  bool number_unsigned(number_unsigned_t v) override {
    if (where_ != Where::vocabulary) return value(v);
    return number(v > INT64_MAX ? int64_t{-1} : static_cast<int64_t>(v));
  }
  bool number_float(number_float_t v, const string_t&) override { return value(v); }
  bool binary(binary_t&) override { return false; }

  bool string(string_t& v) override {
    if (where_ == Where::merges) return legacy_merge(v);
    if (where_ == Where::merge_pair) {
      pair_.push_back(std::move(v));
      return true;
    }
    return value(std::move(v));
  }

  bool start_object(size_t) override {
    if (where_ == Where::tree && is_model_field("vocab")) {
      where_ = Where::vocabulary;
      return true;
    }
    return open(json::object());
  }
  bool key(string_t& v) override {
    key_ = std::move(v);
    return true;
  }
  bool end_object() override {
    if (where_ == Where::vocabulary) {
      where_ = Where::tree;
      return true;
    }
    stack_.pop_back();
    return true;
  }

  bool start_array(size_t) override {
    if (where_ == Where::tree && is_model_field("merges")) {
      where_ = Where::merges;
      return true;
    }
    if (where_ == Where::merges) {
      where_ = Where::merge_pair;
      pair_.clear();
      return true;
    }
    return open(json::array());
  }
  bool end_array() override {
    if (where_ == Where::merge_pair) {
      if (pair_.size() != 2)
        reject("model.merges", concat("has an entry of ", pair_.size(), " parts at ", out_.merges.size()));
      out_.merges.emplace_back(std::move(pair_[0]), std::move(pair_[1]));
      where_ = Where::merges;
      return true;
    }
    if (where_ == Where::merges) {
      where_ = Where::tree;
      return true;
    }
    stack_.pop_back();
    return true;
  }

  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& e) override {
    fail(ErrorKind::checkpoint, out_.json.file().string(), ": not valid JSON: ", e.what());
  }

 private:
  enum class Where { tree, vocabulary, merges, merge_pair };

  [[noreturn]] void reject(const std::string& field, const std::string& what) const { out_.json.reject(field, what); }

  bool is_model_field(const char* name) const {
    if (stack_.size() != 2 || !root_.is_object() || key_ != name) return false;
    const auto model = root_.find("model");
    return model != root_.end() && stack_.back() == &*model;
  }

  bool number(int64_t v) {
    if (where_ != Where::vocabulary) return value(v);
    out_.vocabulary.emplace_back(std::move(key_), v);
    return true;
  }

  bool value(json v) {
    place(std::move(v));
    return true;
  }

  bool open(json container) {
    if (stack_.size() > 64) reject("", "is nested too deeply");
    stack_.push_back(place(std::move(container)));
    return true;
  }

  json* place(json v) {
    if (where_ == Where::vocabulary) reject("model.vocab", concat("should map '", key_, "' to an integer"));
    if (where_ != Where::tree) reject("model.merges", "should be a list of texts or pairs of texts");
    if (stack_.empty()) {
      root_ = std::move(v);
      return &root_;
    }
    if (stack_.back()->is_array()) {
      stack_.back()->push_back(std::move(v));
      return &stack_.back()->back();
    }
    return &((*stack_.back())[key_] = std::move(v));
  }

  bool legacy_merge(const std::string& line) {
    const size_t space = line.find(' ');
    if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) {
      reject("model.merges", concat("has '", line, "' at ", out_.merges.size(), ", expected two tokens and one space"));
    }
    out_.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
    return true;
  }

  TokenizerFile& out_;
  json root_;
  std::vector<json*> stack_;  // the open containers; a container's address is stable while it is open
  std::string key_;
  std::vector<std::string> pair_;
  Where where_ = Where::tree;
};

std::string read_all(const std::filesystem::path& file) {
  std::error_code error;
  std::ifstream stream(file, std::ios::binary | std::ios::ate);
  if (!stream || !std::filesystem::is_regular_file(file, error)) {
    fail(ErrorKind::checkpoint, file.string(),
         ": cannot be opened; is the processor/ folder of the checkpoint complete?");
  }
  std::string content(static_cast<size_t>(std::max<std::streamoff>(stream.tellg(), 0)), '\0');
  stream.seekg(0);
  stream.read(content.data(), static_cast<std::streamsize>(content.size()));
  if (!stream) fail(ErrorKind::checkpoint, file.string(), ": cannot be read");
  return content;
}

}  // namespace

TokenizerFile TokenizerFile::open(const std::filesystem::path& file) {
  TokenizerFile out{JsonObject(file, "", nlohmann::json::object()), {}, {}};
  const std::string content = read_all(file);
  Reader reader(out);
  nlohmann::json::sax_parse(content, &reader);
  nlohmann::json root = reader.take();
  if (!root.is_object()) fail(ErrorKind::checkpoint, file.string(), ": expected a JSON object");
  out.json = JsonObject(file, "", std::move(root));
  return out;
}

}  // namespace glmimage
