#pragma once

#include <string>
#include <vector>

#include "pipeline/pipeline.h"
#include "serve/job.h"

namespace glmimage::serve {

// What the pipeline is asked for picture `index` of a job; reference pictures are the caller's to add.
GenerateRequest picture_request(const JobRequest& request, int64_t index);

// The denoising steps (from 0) after which a partial picture is shown: evenly spread, none after the last.
std::vector<int64_t> partial_steps(int64_t steps, int64_t partial_images);

// The finished picture as a file of the job's format and quality. Throws ErrorKind::usage for a format that is not
// known.
std::string encode_picture(const Image& picture, const JobRequest& request);

}  // namespace glmimage::serve
