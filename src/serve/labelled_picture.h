#pragma once

#include <ATen/core/ScalarType.h>

#include <string>

#include "pipeline/picture_file.h"
#include "pipeline/pipeline.h"
#include "serve/job.h"

namespace glmimage::serve {

// Writes the pictures of one pipeline with recipe and label, as `generate` does.
class LabelledPicture {
 public:
  // `run`: recipe_of_run of the pipeline. Format and quality of `options` are each job's own.
  LabelledPicture(Recipe run, c10::ScalarType dtype, PictureFileOptions options)
      : run_(std::move(run)), dtype_(dtype), options_(std::move(options)) {}

  // The finished picture as a file of the job's format. A job that asked for a watermark (Z.ai's watermark_enabled)
  // gets the visible mark where there is room for it and labels are not switched off. Throws ErrorKind::usage.
  std::string operator()(const Job& job, const GenerateRequest& request, const GenerateResult& result) const;

 private:
  Recipe run_;
  c10::ScalarType dtype_;
  PictureFileOptions options_;
};

}  // namespace glmimage::serve
