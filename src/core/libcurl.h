#pragma once

#include <curl/curl.h>

#include <type_traits>

#include "core/certificate_trust.h"
#include "core/shared_library.h"

namespace glmimage {

// libcurl's functions that this program calls, under their names without "curl_". Its header's types, its library only
// where somebody asks a server.
struct LibCurl {
  SharedLibrary library{"libcurl.so.4", "libcurl4"};
  decltype(&::curl_easy_init) easy_init = library["curl_easy_init"];
  decltype(&::curl_easy_cleanup) easy_cleanup = library["curl_easy_cleanup"];
  decltype(&::curl_easy_reset) easy_reset = library["curl_easy_reset"];
  decltype(&::curl_easy_setopt) easy_setopt = library["curl_easy_setopt"];  // see set_option
  decltype(&::curl_easy_getinfo) easy_getinfo = library["curl_easy_getinfo"];
  decltype(&::curl_easy_perform) easy_perform = library["curl_easy_perform"];
  decltype(&::curl_easy_strerror) easy_strerror = library["curl_easy_strerror"];
  decltype(&::curl_multi_init) multi_init = library["curl_multi_init"];
  decltype(&::curl_multi_cleanup) multi_cleanup = library["curl_multi_cleanup"];
  decltype(&::curl_multi_setopt) multi_setopt = library["curl_multi_setopt"];
  decltype(&::curl_multi_add_handle) multi_add_handle = library["curl_multi_add_handle"];
  decltype(&::curl_multi_remove_handle) multi_remove_handle = library["curl_multi_remove_handle"];
  decltype(&::curl_multi_perform) multi_perform = library["curl_multi_perform"];
  decltype(&::curl_multi_poll) multi_poll = library["curl_multi_poll"];
  decltype(&::curl_multi_info_read) multi_info_read = library["curl_multi_info_read"];
  decltype(&::curl_slist_append) slist_append = library["curl_slist_append"];
  decltype(&::curl_slist_free_all) slist_free_all = library["curl_slist_free_all"];
  decltype(&::curl_url) url = library["curl_url"];
  decltype(&::curl_url_cleanup) url_cleanup = library["curl_url_cleanup"];
  decltype(&::curl_url_set) url_set = library["curl_url_set"];
  decltype(&::curl_url_get) url_get = library["curl_url_get"];
  decltype(&::curl_free) free = library["curl_free"];
  decltype(&::curl_getdate) getdate = library["curl_getdate"];
};

// Opened and set up (curl_global_init) at the first call. Throws ErrorKind::io when the library is not there.
const LibCurl& libcurl();

// curl_easy_setopt reads a long, a curl_off_t or a pointer, and nothing warns of an int.
template <typename Value>
void set_option(CURL* handle, CURLoption option, Value value) {
  static_assert(std::is_pointer_v<Value> || std::is_same_v<Value, long> || std::is_same_v<Value, curl_off_t>);
  libcurl().easy_setopt(handle, option, value);
}

// Of one transfer; libcurl by itself reads none of the environment's names.
void set_trust(CURL* handle, const CertificateTrust& trust);

}  // namespace glmimage
