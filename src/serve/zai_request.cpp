#include "serve/draw_fields.h"

namespace glmimage::serve {
namespace {

constexpr int64_t kLeast = 1024, kMost = 2048, kStep = 32, kMostPixels = int64_t{1} << 22;

// 1280x1280, or sides of 1024 to 2048 in steps of 32. A model for small pictures has a default and bounds of its own.
void read_zai_size(Fields& fields, DrawRequest& out, const Services& services) {
  const bool small_model = services.model.default_size < kLeast;
  read_size(fields, out, services.rules);
  if (!out.job.width) {
    if (!small_model) out.job.width = out.job.height = 1280;
    return;
  }
  for (const int64_t side : {*out.job.width, *out.job.height}) {
    if (small_model) continue;
    if (side < kLeast || side > kMost || side % kStep != 0) {
      throw Refusal(400, concat("'size': sides are ", kLeast, " to ", kMost, " in steps of ", kStep, ", not ", side),
                    "size");
    }
  }
  if (*out.job.width * *out.job.height > kMostPixels) {
    throw Refusal(400, concat("'size': at most ", kMostPixels, " pixels are drawn"), "size");
  }
}

}  // namespace

DrawRequest parse_zai_request(const Request& request, const Services& services) {
  DrawRequest out;
  out.kind = "zai";
  out.as_url = true;
  Fields fields = Fields::parse(request.body);
  if (!fields.text("model")) throw Refusal(400, "'model' is missing", "model", "missing_required_parameter");
  read_model(fields, services.model);
  read_prompt(fields, out, services.rules);
  read_zai_size(fields, out, services);
  fields.one_of("quality", {"hd", "standard"});
  out.job.steps = services.rules.steps;
  read_sampling(fields, out, services);
  const bool watermark = fields.boolean("watermark_enabled").value_or(true);
  const std::optional<std::string> user = fields.text("user_id", 128);
  if (user && user->size() < 6) throw Refusal(400, "'user_id' has 6 to 128 characters", "user_id");
  const std::optional<std::string> request_id = fields.text("request_id", 128);
  fields.refuse_unknown();
  out.job.extra = {{"watermark", watermark}, {"request_id", request_id.value_or(request.id)}, {"as_url", true}};
  seal(out, fields);
  return out;
}

}  // namespace glmimage::serve
