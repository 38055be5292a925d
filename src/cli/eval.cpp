#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "cli/commands.h"
#include "cli/draw_options.h"
#include "cli/interrupt.h"
#include "cli/terminal_progress.h"
#include "core/dtype.h"
#include "core/encode_image.h"
#include "core/error.h"
#include "core/files.h"
#include "core/threads.h"
#include "core/version.h"
#include "eval/check.h"
#include "eval/contact_sheet.h"
#include "eval/scenes.h"
#include "eval/totals.h"
#include "train/data/data_config.h"

namespace glmimage::cli {
namespace {

namespace fs = std::filesystem;
namespace world = train::world;
using eval::Triple;
using nlohmann::json;

constexpr const char* kFooter = R"(Examples:
  glm-image eval --count 100 --out out/eval
  glm-image eval --model checkpoints/mine --scenes scenes.jsonl --out out/eval --json
  glm-image eval --model checkpoints/mine --count 20 --steps 20 --guidance 3

Every score stands beside the same score of the pictures as the world paints them, and of those sent through the
checkpoint's VAE. The list of scenes and the measures are described in docs/evaluation.md.)";

struct EvalOptions {
  DrawOptions draw;
  std::string scenes, out;
  int64_t count = 50;
  uint64_t seed = 1;
  std::optional<int64_t> size;
  world::Languages languages = world::Languages::english;
};

// Inside of a picture nothing is told, only asked whether to stop.
class StopOnly : public Progress {
 public:
  void report(Stage, int64_t, int64_t) override {}
  bool cancelled() const override { return interrupted().load(); }
};

// Where the results go; with no folder nowhere.
class Output {
 public:
  explicit Output(const std::string& folder) : folder_(folder) {
    if (folder.empty()) return;
    std::error_code error;
    fs::create_directories(folder_ / "pictures", error);
    if (error) fail(ErrorKind::io, folder, ": the output folder cannot be created: ", error.message());
  }

  // Returns the path relative to the folder.
  std::string picture(size_t number, const char* kind, const Image& image) const {
    char name[80];
    std::snprintf(name, sizeof name, "pictures/%04zu-%s.png", number, kind);
    if (folder_.empty()) return {};
    guard_partial_file((folder_ / name).string() + ".part");
    save_image(folder_ / name, image);
    guard_partial_file({});
    return name;
  }

  void text(const char* name, const std::string& content) const {
    if (folder_.empty()) return;
    guard_partial_file((folder_ / name).string() + ".part");
    write_file(folder_ / name, content);
    guard_partial_file({});
  }

 private:
  fs::path folder_;
};

// Words that cannot be read are left out of the measures, not counted as wrong: say so once.
void tell_what_is_not_read(const std::optional<eval::WordReader>& reader, const std::vector<eval::EvalScene>& scenes) {
  size_t unread = 0;
  for (const eval::EvalScene& each : scenes) {
    unread += !each.scene.text.empty() && !(reader && reader->can_read(each.scene.text)) ? 1 : 0;
  }
  if (unread == 0) return;
  std::fprintf(stderr, "glm-image: note: the words of %zu scenes are not read: %s\n", unread,
               reader ? "tesseract lacks the language (Debian packages tesseract-ocr-eng, tesseract-ocr-chi-sim)"
                      : "tesseract is not installed (Debian package tesseract-ocr)");
}

Triple<eval::Totals> add_up(const std::vector<eval::SheetEntry>& entries) {
  Triple<eval::Totals> totals;
  for (const eval::SheetEntry& entry : entries) {
    totals.drawn.add(entry.results.drawn);
    totals.truth.add(entry.results.truth);
    totals.vae.add(entry.results.vae);
  }
  return totals;
}

json describe(const std::vector<eval::SheetEntry>& entries) {
  json out = json::array();
  for (const eval::SheetEntry& entry : entries) {
    json picture = {{"prompt", entry.prompt},
                    {"seed", entry.seed},
                    {"drawn", eval::to_json(entry.results.drawn)},
                    {"truth", eval::to_json(entry.results.truth)},
                    {"vae", eval::to_json(entry.results.vae)}};
    if (!entry.files.drawn.empty()) {
      picture["files"] = {{"drawn", entry.files.drawn}, {"truth", entry.files.truth}, {"vae", entry.files.vae}};
    }
    out.push_back(std::move(picture));
  }
  return out;
}

// What one scene is judged by.
struct Judge {
  const Pipeline& pipeline;
  const world::World& world;
  eval::Checker& checker;
  const Output& output;

  // Draws the scene, and judges what was drawn beside what should have been.
  eval::SheetEntry operator()(const eval::EvalScene& scene, size_t number, const GenerateRequest& request) const {
    StopOnly stop;
    const auto cancelled = [] { return interrupted().load(); };
    const Image truth = world.render(scene.scene), vae = pipeline.reconstruct(truth);
    const Image drawn = pipeline.generate(request, {.progress = &stop, .trace = nullptr, .preview = {}}).image;
    return {.prompt = scene.prompt,
            .seed = request.seed,
            .files = {.drawn = output.picture(number, "drawn", drawn),
                      .truth = output.picture(number, "truth", truth),
                      .vae = output.picture(number, "vae", vae)},
            .results = {.drawn = checker.check(drawn, scene, cancelled),
                        .truth = checker.check(truth, scene, cancelled),
                        .vae = checker.check(vae, scene, cancelled)}};
  }
};

void check_size(int64_t size) {
  if (size < 32 || size > 1024 || size % 8 != 0) {
    fail(ErrorKind::usage, "pictures of ", size, " pixels a side cannot be judged: --size is a multiple of 8 from 32",
         " to 1024");
  }
}

int evaluate(const EvalOptions& options, bool scenes_given) {
  watch_interrupts(Patience::brief);
  PipelineOptions pipeline_options = prepare(options.draw);
  if (options.size) check_size(*options.size);
  pipeline_options.largest.width = pipeline_options.largest.height = options.size;
  GenerateRequest request = request_of(options.draw);
  request.prompt = "a scene";  // the settings are checked before the weights are read
  validate(request);
  const bool quiet = options.draw.quiet;
  TerminalProgress progress(quiet ? TerminalProgress::Style::silent : TerminalProgress::style_of_stderr());
  const Pipeline pipeline = Pipeline::open(pipeline_options, &progress);
  progress.finish_line();
  if (!quiet) warn_of_unmatched(pipeline.loras());

  const int64_t size = options.size.value_or(pipeline.default_size());
  check_size(size);
  request.width = request.height = size;
  const world::World world = world::World::open({.size = size, .languages = options.languages});
  const std::vector<eval::EvalScene> scenes =
      scenes_given ? eval::read_scenes(world, options.scenes) : eval::sample_scenes(world, options.seed, options.count);
  eval::Checker checker(world, eval::WordReader::open());
  if (!quiet) tell_what_is_not_read(checker.reader(), scenes);
  const Output output(options.out);

  std::vector<eval::SheetEntry> entries;
  const Judge judge{pipeline, world, checker, output};
  const auto total = static_cast<int64_t>(scenes.size());
  progress.count("pictures", 0, total);
  for (const eval::EvalScene& scene : scenes) {
    request.prompt = scene.prompt;
    request.seed = options.seed + entries.size();
    entries.push_back(judge(scene, entries.size() + 1, request));
    progress.count("pictures", static_cast<int64_t>(entries.size()), total);
  }
  progress.finish_line();

  const Triple<eval::Totals> totals = add_up(entries);
  const std::optional<eval::WordReader>& reader = checker.reader();
  const json result = {
      {"model", options.draw.model},
      {"scenes", scenes_given ? json(options.scenes) : json{{"count", options.count}, {"seed", options.seed}}},
      {"languages", options.languages == world::Languages::english ? "english" : "english_and_chinese"},
      {"size", size},
      {"steps", request.steps},
      {"guidance_scale", request.guidance_scale},
      {"cache", request.cache.to_json()},
      {"device", options.draw.device},
      {"dtype", dtype_name(pipeline.dtype())},
      {"threads", thread_count()},
      {"reader", reader ? json(reader->version()) : json(nullptr)},
      {"version", version_text()},
      {"totals", {{"drawn", totals.drawn.to_json()}, {"truth", totals.truth.to_json()}, {"vae", totals.vae.to_json()}}},
      {"pictures", describe(entries)}};
  const std::string text = result.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  output.text("contact_sheet.html",
              eval::contact_sheet(concat(options.draw.model, ", ", total, " scenes"), totals, entries));
  output.text("eval.json", text);
  if (options.draw.json) {
    std::fputs(text.c_str(), stdout);
  } else if (!quiet) {
    std::fputs(eval::table_text(totals).c_str(), stdout);
  }
  return 0;
}

}  // namespace

void add_eval(CLI::App& app, Command& run) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* command = app.add_subcommand("eval", "Measure how well pictures show what their prompts say");
  command->footer(kFooter);
  CLI::Option* scenes = command->add_option("--scenes", options->scenes, "A list of scenes, one JSON object a line");
  command->add_option("--count", options->count, "Without --scenes: so many scenes of the synthetic world")
      ->excludes(scenes)
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{100000}));
  command->add_option("--seed", options->seed, "Of the scenes; picture i is drawn with seed S + i")
      ->capture_default_str();
  command->add_option("--size", options->size, "Pixels a side, a multiple of 8; default: the model's own size");
  const auto& languages = train::EnumNames<world::Languages>::names;
  command->add_option("--languages", options->languages, "Of the words: english, or english_and_chinese")
      ->transform(CLI::CheckedTransformer(std::map<std::string, world::Languages>(languages.begin(), languages.end())))
      ->option_text("english | english_and_chinese [english]");
  command->add_option("-o,--out", options->out, "Folder for eval.json, contact_sheet.html and the pictures");
  add_draw_options(*command, options->draw);
  command->callback(
      [options, scenes, &run] { run = [options, given = scenes->count() > 0] { return evaluate(*options, given); }; });
}

}  // namespace glmimage::cli
