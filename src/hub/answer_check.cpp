#include "hub/answer_check.h"

#include <cstdio>

#include "core/error.h"
#include "hub/list_from.h"
#include "hub/retry.h"

namespace glmimage::hub {
namespace {

std::string without_quotes(std::string etag) {
  if (etag.starts_with("W/")) etag.erase(0, 2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  return etag;
}

[[noreturn]] void changed(const RemoteFile& file, const std::string& how) {
  fail(ErrorKind::io, file.name, ": ", how, "; did it change on the server? The same command lists it anew");
}

}  // namespace

void check_identity(const HttpHead& head, const RemoteFile& file, const std::string& commit) {
  const std::string encoding = head.header("content-encoding");
  if (!encoding.empty() && encoding != "identity") {
    fail(ErrorKind::io, file.name, ": the server sends it encoded, which was not asked for");
  }
  if (!file.has_digest() && !file.validator.empty()) {
    if (head.header("etag") != file.validator && head.header("last-modified") != file.validator) {
      changed(file, "what is sent is not what was listed");
    }
    return;
  }
  // What Hugging Face says about the file behind its redirect, before a byte of it has come.
  const std::string digest = hex_of(without_quotes(head.first_header("x-linked-etag")), 64);
  if (!digest.empty() && !file.sha256.empty() && digest != file.sha256) {
    changed(file, "the server offers content with SHA-256 " + digest + " where " + file.sha256 + " was listed");
  }
  const std::string other = head.first_header("x-repo-commit");
  if (!other.empty() && !commit.empty() && other != commit) changed(file, "the server offers it of another commit");
}

void check_content_range(const HttpHead& head, ByteRange asked, int64_t size) {
  const std::string text = head.header("content-range");
  long long begin = -1, last = -1, total = size;
  const bool starred = text.ends_with("/*");
  const int read = std::sscanf(text.c_str(), "bytes %lld-%lld/%lld", &begin, &last, &total);
  if (read != (starred ? 2 : 3) || begin != asked.begin || last + 1 != asked.end || total != size) {
    throw BadAnswer(concat("bytes ", asked.begin, "-", asked.end - 1, "/", size,
                           " were asked for, and the server sends something else"));
  }
}

void check_length(const HttpHead& head, int64_t expected) {
  if (head.length() >= 0 && head.length() != expected) {
    throw BadAnswer(concat("the server promises ", head.length(), " bytes where ", expected, " were listed"));
  }
}

}  // namespace glmimage::hub
