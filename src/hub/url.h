#pragma once

#include <string>

namespace glmimage::hub {

// Everything but letters, digits and "-._~" as %NN; a path's slashes stay.
std::string escape(const std::string& text);
std::string escape_path(const std::string& path);

// Parts of an http or https URL. Throws ErrorKind::usage for what is none.
struct Url {
  std::string scheme, host, port;  // in lower case; the port also where it is the scheme's own
  std::string path;                // unescaped, begins with '/'

  static Url parse(const std::string& text);
  bool same_origin(const Url& other) const;
  bool is_loopback() const;  // localhost, 127.x.y.z, [::1]
};

// What a link in the answer of `base` leads to. Throws ErrorKind::io when it cannot be read.
std::string follow_link(const std::string& base, const std::string& link);

// "https://host/a/" is "https://host/a".
std::string without_slash(std::string url);

}  // namespace glmimage::hub
