#include "cli/label_option.h"

#include <cstdlib>

#include "core/error.h"

namespace glmimage::cli {
namespace {

constexpr const char* kProducerVariable = "GLM_IMAGE_PRODUCER";

}  // namespace

void add_label_options(CLI::App& command, LabelChoice& choice) {
  command
      .add_option("--label", choice.label,
                  "How pictures tell that they were generated: none, hidden (in the file) or visible (a mark, too)")
      ->capture_default_str();
  command.add_option(
      "--producer", choice.producer,
      concat("The producer's code in the label; default: ", kProducerVariable, ", else ", kDefaultProducer));
  command.add_flag("--no-recipe", choice.without_recipe, "Leave prompt and settings out of the picture's file");
}

void apply_label(const LabelChoice& choice, PictureFileOptions& options) {
  options.label.mode = parse_label_mode(choice.label);
  const char* variable = std::getenv(kProducerVariable);
  if (variable != nullptr && *variable != '\0') options.label.producer = variable;
  if (!choice.producer.empty()) options.label.producer = choice.producer;
  validate_producer(options.label.producer);
  options.with_recipe = !choice.without_recipe;
}

}  // namespace glmimage::cli
