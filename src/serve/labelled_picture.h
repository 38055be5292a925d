#pragma once

#include <string>

#include "pipeline/picture_file.h"
#include "serve/job.h"
#include "serve/pipeline_painter.h"

namespace glmimage::serve {

// Writes the pictures of one painter with recipe and label, as `generate` does.
class LabelledPicture {
 public:
  // `painter`, which outlives it, is what has just drawn the picture. Format and quality of `options` are each job's
  // own.
  LabelledPicture(const PipelinePainter& painter, PictureFileOptions options)
      : painter_(painter), options_(std::move(options)) {}

  // The finished picture as a file of the job's format. A job that asked for a watermark (Z.ai's watermark_enabled)
  // gets the visible mark where there is room for it and labels are not switched off. Throws ErrorKind::usage.
  std::string operator()(const Job& job, const GenerateRequest& request, const GenerateResult& result) const;

 private:
  const PipelinePainter& painter_;
  PictureFileOptions options_;
};

}  // namespace glmimage::serve
