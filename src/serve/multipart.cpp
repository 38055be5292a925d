#include "serve/multipart.h"

#include <algorithm>
#include <optional>

#include "serve/refusal.h"

namespace glmimage::serve {
namespace {

[[noreturn]] void broken(const std::string& what) {
  throw Refusal(400, "the multipart body is broken: " + what, "", "invalid_multipart");
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Takes a quoted string or a token off the front. Browsers write a quotation mark in a name as %22, others as \".
std::string take_value(std::string_view& rest) {
  std::string out;
  if (rest.empty() || rest.front() != '"') {
    const size_t end = std::min(rest.find(';'), rest.size());
    out = trimmed(rest.substr(0, end));
    rest.remove_prefix(end);
    return out;
  }
  size_t i = 1;
  for (; i < rest.size() && rest[i] != '"'; ++i) {
    if (rest[i] == '\\' && i + 1 < rest.size() && (rest[i + 1] == '"' || rest[i + 1] == '\\')) ++i;
    out += rest[i];
  }
  if (i >= rest.size()) broken("a quotation mark is not closed");
  rest.remove_prefix(i + 1);
  return out;
}

// The parameter of a header value: name="x" of `form-data; name="x"; filename="y"`.
std::optional<std::string> parameter(std::string_view value, std::string_view name) {
  for (size_t at = value.find(';'); at != std::string_view::npos; at = value.find(';')) {
    value = trimmed(value.substr(at + 1));
    const size_t equals = value.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    const std::string_view key = trimmed(value.substr(0, equals));
    value = trimmed(value.substr(equals + 1));
    const std::string content = take_value(value);
    if (same_word(key, name)) return content;
  }
  return std::nullopt;
}

std::string boundary_of(const std::string& content_type) {
  const std::optional<std::string> boundary = parameter(content_type, "boundary");
  if (!boundary || boundary->empty()) broken("its Content-Type names no boundary");
  if (boundary->size() > 70) broken("its boundary has more than 70 characters");
  return *boundary;
}

void read_header_line(std::string_view line, FormPart& part, bool& named) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) broken("a line of a part's header has no colon");
  if (!same_word(trimmed(line.substr(0, colon)), "content-disposition")) return;
  const std::string_view value = trimmed(line.substr(colon + 1));
  if (!same_word(trimmed(value.substr(0, std::min(value.find(';'), value.size()))), "form-data")) {
    broken("a part's Content-Disposition is not form-data");
  }
  const std::optional<std::string> name = parameter(value, "name");
  if (!name || name->empty()) broken("a part has no name");
  part.name = *name;
  named = true;
  part.file_name = parameter(value, "filename").value_or("");
}

// A part: header lines, an empty line, the content.
FormPart read_part(std::string_view text, const FormLimits& limits) {
  FormPart part;
  bool named = false;
  size_t begin = 0;
  for (;;) {
    const size_t end = text.substr(0, limits.header_bytes).find("\r\n", begin);
    if (end == std::string_view::npos) {
      broken(text.size() > limits.header_bytes ? "a part's header is too long" : "a part's header does not end");
    }
    if (end == begin) break;
    read_header_line(text.substr(begin, end - begin), part, named);
    begin = end + 2;
  }
  if (!named) broken("a part has no Content-Disposition");
  part.content = text.substr(begin + 2);
  return part;
}

}  // namespace

bool is_form(const std::string& content_type) {
  const std::string_view type = content_type;
  return same_word(trimmed(type.substr(0, std::min(type.find(';'), type.size()))), "multipart/form-data");
}

std::vector<FormPart> parse_form(std::string_view body, const std::string& content_type, const FormLimits& limits) {
  const std::string delimiter = "\r\n--" + boundary_of(content_type);
  std::vector<FormPart> parts;
  // The first delimiter has no line end before it when nothing precedes it.
  size_t at = body.starts_with(std::string_view(delimiter).substr(2)) ? delimiter.size() - 2 : body.find(delimiter);
  if (at == std::string_view::npos) broken("its boundary does not occur in it");
  if (!body.starts_with(std::string_view(delimiter).substr(2))) at += delimiter.size();
  for (;;) {
    std::string_view rest = body.substr(at);
    if (rest.starts_with("--")) return parts;
    while (!rest.empty() && (rest.front() == ' ' || rest.front() == '\t')) rest.remove_prefix(1);
    if (!rest.starts_with("\r\n")) broken("a boundary is not followed by a line end");
    if (parts.size() == limits.parts) broken(concat("it has more than ", limits.parts, " parts"));
    const size_t end = rest.find(delimiter, 2);
    if (end == std::string_view::npos) broken("its last part is cut short");
    parts.push_back(read_part(rest.substr(2, end - 2), limits));
    at = body.size() - rest.size() + end + delimiter.size();
  }
}

}  // namespace glmimage::serve
