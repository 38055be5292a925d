#pragma once

#include "serve/draw_request.h"

// Fields that the APIs share. All throw Refusal naming the field.
namespace glmimage::serve {

void read_prompt(Fields& fields, DrawRequest& out, const DrawingRules& rules);
void read_size(Fields& fields, DrawRequest& out, const DrawingRules& rules);
void read_model(Fields& fields, const ServedModel& model);
// seed, num_inference_steps (out.job.steps where it is not given), guidance_scale, temperature, top_p, lora,
// negative_prompt.
void read_sampling(Fields& fields, DrawRequest& out, const Services& services);
void read_loras(Fields& fields, JobRequest& job, const ServedModel& model);
// Fills in body_hash.
void seal(DrawRequest& out, const Fields& fields);

}  // namespace glmimage::serve
