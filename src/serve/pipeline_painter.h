#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "pipeline/pipeline.h"
#include "pipeline/recipe.h"
#include "serve/lora_catalog.h"
#include "serve/painter.h"

namespace glmimage::serve {

// Draws with a pipeline, which is opened again with other adapters when a job asks for them: it is then the one that
// `glm-image generate --lora` draws with, to the bit, and keeps to the same limit of memory. Weights are mapped, so
// what that costs is merging the matrices the adapters change. One thread at a time.
class PipelinePainter : public Painter {
 public:
  // Opens the pipeline with the adapters of `options`. Throws what Pipeline::open throws.
  PipelinePainter(PipelineOptions options, std::shared_ptr<const LoraCatalog> catalog, Progress* progress = nullptr);

  // Tasks whose adapters are not there or do not fit fail with ErrorKind::usage, which names the adapter; the pipeline
  // stays as it is.
  void draw(std::span<DrawTask> tasks, const JobLoras& loras) override;

  // What recipes of pictures drawn now have in common.
  const Recipe& run() const { return run_; }
  // The pipeline of the adapters drawn with last. Throws ErrorKind::io where it could not be opened again.
  const Pipeline& pipeline() const;

 private:
  // An adapter's file as it was read: one that was replaced since is read again.
  struct Merged {
    LoraChoice choice;
    int64_t bytes, modified;  // nanoseconds
    bool operator==(const Merged& other) const;
  };
  static std::vector<Merged> look_at(const std::vector<LoraChoice>& choices);
  void merge(const JobLoras& loras);

  PipelineOptions options_;
  std::shared_ptr<const LoraCatalog> catalog_;
  std::vector<Merged> merged_;
  std::optional<Pipeline> pipeline_;
  Recipe run_;
};

}  // namespace glmimage::serve
