#include <charconv>

#include "serve/refusal.h"
#include "serve/routes/routes.h"

namespace glmimage::serve {
namespace {

// "3.png" -> 3. The ending is for people and programs that save the file; what is sent is what was drawn.
std::optional<int64_t> index_of(const std::string& name) {
  int64_t index = 0;
  const auto [end, fault] = std::from_chars(name.data(), name.data() + name.size(), index);
  const std::string_view ending(end, static_cast<size_t>(name.data() + name.size() - end));
  const bool known = ending.empty() || ending == ".png" || ending == ".jpg" || ending == ".webp";
  return fault == std::errc() && known ? std::optional(index) : std::nullopt;
}

Answer picture(const Request& request, const Services& services) {
  const std::optional<int64_t> index = index_of(request.path_parts.at("name"));
  const std::optional<Job> job = services.jobs.get(request.path_parts.at("job"));
  const JobPicture* found = nullptr;
  for (size_t i = 0; job && index && i < job->pictures.size(); ++i) {
    if (job->pictures[i].index == *index) found = &job->pictures[i];
  }
  if (!found) throw Refusal(404, "there is no such picture; it may have been removed");
  Response out;
  out.content_type = found->mime;
  out.headers = {{"ETag", "\"" + found->blob + "\""}, {"Cache-Control", "private, max-age=31536000, immutable"}};
  if (request.header("if-none-match") == "\"" + found->blob + "\"") {
    out.status = 304;
    return out;
  }
  std::optional<std::string> bytes = services.blobs.get(found->blob);
  if (!bytes) throw Refusal(404, "this picture is no longer stored");
  out.body = std::move(*bytes);
  return out;
}

}  // namespace

// Without a key: the job's id in the URL is the right to see it, as with the links other services give.
void add_picture_routes(Router& router, Services& services) {
  router.add({"GET", "/pictures/{job}/{name}", Door::open, 0,
              [&services](Request& request) { return picture(request, services); }});
}

}  // namespace glmimage::serve
