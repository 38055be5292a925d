#include "serve/pipeline_painter.h"

#include <sys/stat.h>

#include <utility>

#include "core/current_error.h"
#include "core/memory.h"
#include "pipeline/adapters.h"
#include "pipeline/drawn_recipe.h"

namespace glmimage::serve {
namespace {

// Clients know adapters by their names, not this machine's folders.
std::string without_folder(std::string message, const LoraChoice& choice) {
  const std::string path = choice.file.string(), name = choice.file.stem().string();
  for (size_t at = message.find(path); at != std::string::npos; at = message.find(path, at + name.size())) {
    message.replace(at, path.size(), name);
  }
  return message;
}

void check_adapter(const LoraChoice& choice, const std::filesystem::path& model) {
  try {
    read_adapters({choice}, model);
  } catch (const Error& error) {
    fail(ErrorKind::usage, "the adapter '", choice.file.stem().string(),
         "' cannot be used: ", without_folder(error.what(), choice));
  }
}

}  // namespace

bool PipelinePainter::Merged::operator==(const Merged& other) const {
  return choice.file == other.choice.file && choice.scale == other.choice.scale && bytes == other.bytes &&
         modified == other.modified;
}

PipelinePainter::PipelinePainter(PipelineOptions options, std::shared_ptr<const LoraCatalog> catalog,
                                 Progress* progress)
    : options_(std::move(options)),
      catalog_(std::move(catalog)),
      merged_(look_at(options_.loras)),
      pipeline_(Pipeline::open(options_, progress)),
      run_(recipe_of_run(options_)) {
  options_.dtype = pipeline_->dtype();  // whatever memory is free by then
}

const Pipeline& PipelinePainter::pipeline() const {
  if (!pipeline_) fail(ErrorKind::io, "the model could not be opened again");
  return *pipeline_;
}

std::vector<PipelinePainter::Merged> PipelinePainter::look_at(const std::vector<LoraChoice>& choices) {
  std::vector<Merged> out;
  for (const LoraChoice& choice : choices) {
    struct stat info = {};
    ::stat(choice.file.c_str(), &info);  // whether it is there is read_adapters' business
    out.push_back({choice, info.st_size, info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec});
  }
  return out;
}

// The adapters are held to the model before the pipeline that is there is let go. It goes before the other comes: both
// might not fit into memory.
void PipelinePainter::merge(const JobLoras& loras) {
  std::vector<LoraChoice> choices = catalog_->resolve(loras);
  std::vector<Merged> wanted = look_at(choices);
  if (pipeline_ && wanted == merged_) return;
  for (const LoraChoice& choice : choices) check_adapter(choice, options_.model);
  pipeline_.reset();
  return_freed_memory();
  options_.loras = std::move(choices);
  run_.loras = adapters_of_run(options_);
  pipeline_.emplace(Pipeline::open(options_));
  merged_ = std::move(wanted);
}

void PipelinePainter::draw(std::span<DrawTask> tasks, const JobLoras& loras) {
  try {
    merge(loras);
  } catch (...) {
    const Error error = current_error();
    for (DrawTask& task : tasks) task.failed(error);
    return;
  }
  pipeline_->generate(tasks);
}

}  // namespace glmimage::serve
