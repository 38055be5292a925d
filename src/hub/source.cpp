#include "hub/source.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "core/error.h"
#include "hub/list_from.h"
#include "hub/url.h"

namespace glmimage::hub {
namespace {

constexpr const char* kHuggingFace = "https://huggingface.co";
constexpr const char* kModelScope = "https://modelscope.cn";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

bool printable(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > 32 && c < 127; });
}

void check_id(const std::string& id) {
  const size_t slash = id.find('/');
  const auto good = [](const std::string& part) {
    const bool letters = std::all_of(part.begin(), part.end(), [](unsigned char c) {
      return c < 128 && (std::isalnum(c) || c == '-' || c == '_' || c == '.');
    });
    return letters && !part.empty() && part.size() <= 96 && part.front() != '.' && part.front() != '-';
  };
  if (slash != std::string::npos && good(id.substr(0, slash)) && good(id.substr(slash + 1))) return;
  fail(ErrorKind::usage, "'", id.substr(0, 120),
       "' is no model's name; expected one like zai-org/GLM-Image, or an address that begins with https://");
}

std::string token_from(const char* variable) {
  std::string token = environment(variable);
  while (!token.empty() && std::isspace(static_cast<unsigned char>(token.back()))) token.pop_back();
  if (!printable(token)) fail(ErrorKind::usage, variable, " holds characters that no token has");
  return token;
}

// A page that people copy from their browser: https://huggingface.co/zai-org/GLM-Image/tree/main.
bool take_page(const Url& url, SourceRequest& request) {
  std::vector<std::string> parts;
  for (size_t begin = 1; begin < url.path.size();) {
    const size_t end = std::min(url.path.find('/', begin), url.path.size());
    parts.push_back(url.path.substr(begin, end - begin));
    begin = end + 1;
  }
  const bool face = url.host == "huggingface.co" || url.host == "www.huggingface.co" || url.host == "hf.co";
  const bool scope = url.host == "modelscope.cn" || url.host == "www.modelscope.cn";
  if (scope && !parts.empty() && parts.front() == "models") parts.erase(parts.begin());
  const bool whole = parts.size() == 2 || (face && parts.size() == 4 && parts[2] == "tree");
  if ((!face && !scope) || !whole) return false;
  request.model = parts[0] + "/" + parts[1];
  request.from = face ? "huggingface" : "modelscope";
  if (parts.size() == 4 && request.revision.empty()) request.revision = parts[3];
  return true;
}

Source hub_source(const SourceRequest& request) {
  Source out;
  out.id = request.model;
  out.revision = request.revision;
  if (request.from == "modelscope") {
    const std::string endpoint = environment("MODELSCOPE_ENDPOINT");
    out.kind = HubKind::modelscope;
    out.endpoint = endpoint.empty() ? kModelScope : endpoint;
    out.token_variable = "MODELSCOPE_API_TOKEN";
    if (out.revision.empty()) out.revision = "master";
  } else {
    const std::string endpoint = environment("HF_ENDPOINT");
    const bool mirror = request.from != "huggingface";
    out.endpoint = mirror ? request.from : endpoint.empty() ? kHuggingFace : endpoint;
    // A mirror named on the command line is not trusted with the token; one that HF_ENDPOINT names is.
    if (!mirror || without_slash(request.from) == without_slash(endpoint)) out.token_variable = "HF_TOKEN";
    if (out.revision.empty()) out.revision = "main";
  }
  out.endpoint = without_slash(out.endpoint);
  check_id(out.id);
  return out;
}

}  // namespace

std::vector<std::string> Source::secret_headers() const {
  if (token.empty()) return {};
  std::vector<std::string> out = {"Authorization: Bearer " + token};
  // Older ways of ModelScope's interface know the user by this cookie alone.
  if (kind == HubKind::modelscope) out.push_back("Cookie: m_session_id=" + token);
  return out;
}

Asked Source::asked(const std::string& what) const {
  return {.what = what, .token_variable = token_variable, .token_sent = !token.empty()};
}

Source find_source(const SourceRequest& given) {
  SourceRequest request = given;
  Source out;
  const bool address = request.model.starts_with("http://") || request.model.starts_with("https://");
  if (!printable(request.revision)) fail(ErrorKind::usage, "--revision has characters that no revision has");
  if (address && !take_page(Url::parse(request.model), request)) {
    if (!request.revision.empty()) fail(ErrorKind::usage, "--revision is for models of a hub, not for plain addresses");
    if (request.from != "huggingface") fail(ErrorKind::usage, "--from is for models of a hub, not for plain addresses");
    out.kind = HubKind::url;
    out.endpoint = request.model;
    return out;
  }
  out = hub_source(request);
  const Url url = Url::parse(out.endpoint);
  if (!out.token_variable.empty()) out.token = token_from(out.token_variable.c_str());
  if (!out.token.empty() && url.scheme == "http" && !url.is_loopback()) {
    out.warning = out.token_variable + " is not sent to " + shown_url(out.endpoint) + ", which is not encrypted";
    out.token.clear();
  }
  return out;
}

Listing list_files(HttpClient& client, const Source& source, const RetryOptions& retries, const Cancelled& cancelled) {
  const ListingTools tools{client, source, retries, cancelled};
  switch (source.kind) {
    case HubKind::huggingface: return list_huggingface(tools);
    case HubKind::modelscope: return list_modelscope(tools);
    case HubKind::url: return list_url(tools);
  }
  fail(ErrorKind::internal, "an unknown kind of hub");
}

}  // namespace glmimage::hub
