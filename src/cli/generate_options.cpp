#include "cli/generate_options.h"

#include "core/error.h"

namespace glmimage::cli {
namespace {

void add_file_options(CLI::App& command, GenerateOptions& options) {
  command.add_option("-o,--output", options.output, "Picture to write, .png, .jpg or .webp")->capture_default_str();
  command.add_option("--format", options.format, "png, jpeg or webp; default: by the output's suffix");
  command.add_option("--quality", options.quality,
                     concat("Of JPEG and WebP, 0 to 100 [", kDefaultQuality, "]; WebP at 100 loses nothing"));
  add_label_options(command, options.labelling);
}

// Of pictures by the thousand.
void add_list_options(CLI::App& command, GenerateOptions& options) {
  command.add_option("--manifest", options.manifest,
                     "Note every finished picture in this file of JSON lines, and draw only those it lacks");
  command.add_option("--share", options.share,
                     "I/N: only every Nth picture, from the Ith on; default: as Slurm, MPI or torchrun say");
}

}  // namespace

void add_generate_options(CLI::App& command, GenerateOptions& options) {
  CLI::Option* prompt = command.add_option("-p,--prompt", options.prompt, "What to draw");
  command.add_option("--prompt-file", options.prompt_file, "Prompts, one a line; - is standard input")
      ->excludes(prompt);
  command.add_option("-i,--image", options.images, "A reference picture (PNG, JPEG, WebP); may be given several times");
  command.add_option("--width", options.width, "Pixels; default: the model's own size");
  command.add_option("--height", options.height, "Pixels; default: the model's own size");
  command.add_option("--seed", options.seed, "Seed; default: a random one, which is printed");
  command.add_option("--count", options.count, "Pictures a prompt, with seeds S, S+1, …")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{100000}));
  add_file_options(command, options);
  add_list_options(command, options);
  CLI::Option* from = command.add_option(
      "--from", options.from, "Draw this picture again, by the recipe in it; options given beside it count instead");
  command
      .add_flag("--allow-differences", options.allow_differences,
                "With --from: other weights, adapters or reference pictures are a warning, not an error")
      ->needs(from);
  command.add_option("--trace", options.trace, "Write every stage's tensors to this safetensors file");
  add_draw_options(command, options.draw);
}

PictureFileOptions file_options_of(const GenerateOptions& options) {
  PictureFileOptions out;
  out.format = options.format.empty() ? picture_format_of(options.output) : parse_picture_format(options.format);
  if (options.quality && out.format == PictureFormat::png) {
    fail(ErrorKind::usage, "the quality goes with JPEG and WebP; PNG always keeps every pixel");
  }
  out.quality = options.quality.value_or(kDefaultQuality);
  if (out.quality < 0 || out.quality > 100) {
    fail(ErrorKind::usage, "the quality must be between 0 and 100, not ", out.quality);
  }
  apply_label(options.labelling, out);
  return out;
}

}  // namespace glmimage::cli
