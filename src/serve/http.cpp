#include "serve/http.h"

#include <boost/url/parse.hpp>
#include <boost/url/pct_string_view.hpp>
#include <boost/url/url_view.hpp>

namespace glmimage::serve {

const std::string& Request::header(const std::string& name) const {
  static const std::string nothing;
  const auto found = headers.find(name);
  return found == headers.end() ? nothing : found->second;
}

bool parse_target(const std::string& target, Request& request) {
  const boost::urls::result<boost::urls::url_view> url = boost::urls::parse_origin_form(target);
  if (!url) return false;
  request.path = url->path();
  if (request.path.find('\0') != std::string::npos) return false;
  boost::urls::encoding_opts form;
  form.space_as_plus = true;
  for (const auto& each : url->params(form)) {
    if (each.key.find('\0') != std::string::npos || each.value.find('\0') != std::string::npos) return false;
    request.query[each.key] = each.value;
  }
  return true;
}

}  // namespace glmimage::serve
