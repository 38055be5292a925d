#include "hub/pull.h"

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/human_bytes.h"
#include "cli/interrupt.h"
#include "cli/pull_progress.h"
#include "core/certificate_trust.h"
#include "core/error.h"
#include "hub/pulled.h"
#include "hub/url.h"

namespace glmimage::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFooter = R"(Examples:
  glm-image pull zai-org/GLM-Image
  glm-image pull zai-org/GLM-Image ~/GLM-Image --from modelscope
  glm-image pull zai-org/GLM-Image --revision main --include 'vae/*' --include '*.json' --dry-run
  glm-image pull https://models.example/GLM-Image-int8/ ~/GLM-Image-int8

What was pulled without a folder of your own is drawn with by its name: --model zai-org/GLM-Image.
HF_TOKEN and MODELSCOPE_API_TOKEN open what is private. A pull that was stopped goes on when it is started again.)";

struct Options {
  hub::SourceRequest request;
  std::string folder;
  hub::PullOptions work;
  int timeout = 30;
  bool json = false, quiet = false;
};

// Of a hub's model the cache; of an address a folder as it is named, and for a file the folder one is in.
fs::path folder_for(const hub::Source& source) {
  if (source.kind != hub::HubKind::url) return hub::default_folder(source.id);
  const std::string path = hub::without_slash(hub::Url::parse(source.endpoint).path);
  const std::string name = path.substr(path.rfind('/') + 1);
  if (!source.endpoint.ends_with('/')) return ".";
  if (name.empty() || name == "." || name == "..") fail(ErrorKind::usage, "name a folder to pull into");
  return name;
}

void print_plan(const hub::PullReport& report) {
  for (const hub::PulledFile& file : report.files) {
    const std::string size = file.file.size < 0 ? "?" : human_bytes(file.file.size);
    const bool there = file.state == hub::FileState::there;
    const char* state = there ? "there" : file.resumed > 0 ? "half there" : "missing";
    std::printf("%-10s %10s  %s\n", state, size.c_str(), file.file.name.c_str());
  }
  std::printf("%s to fetch of %s into %s\n", human_bytes(report.missing_bytes()).c_str(),
              human_bytes(report.bytes()).c_str(), report.folder.c_str());
}

void print_result(const hub::PullReport& report) {
  size_t fetched = 0;
  for (const hub::PulledFile& file : report.files) fetched += file.state == hub::FileState::fetched;
  std::printf("%s: %zu files, %s; %zu fetched, %s in %s\n", report.folder.c_str(), report.files.size(),
              human_bytes(report.bytes()).c_str(), fetched, human_bytes(report.fetched_bytes()).c_str(),
              human_duration(report.seconds).c_str());
}

int pull(Options options) {
  watch_interrupts(Patience::steady);
  hub::PullOptions& work = options.work;
  work.source = hub::find_source(options.request);
  work.folder = options.folder.empty() ? folder_for(work.source) : fs::path(options.folder);
  work.http.trust = certificate_trust_from_environment();
  work.http.timeout = std::chrono::seconds(options.timeout);
  PullTerminalProgress progress(options.quiet ? TerminalProgress::Style::silent : TerminalProgress::style_of_stderr());
  hub::PullReport report;
  try {
    report = hub::pull(work, progress);
  } catch (...) {
    progress.finish_line();
    throw;
  }
  progress.finish_line();
  if (options.json) {
    std::printf("%s\n", report.to_json().dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  } else if (work.dry_run) {
    print_plan(report);
  } else if (!options.quiet) {
    print_result(report);
  }
  return 0;
}

}  // namespace

void add_pull(CLI::App& app, Command& run) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("pull", "Fetch a checkpoint from Hugging Face, ModelScope or an address");
  command->footer(kFooter);
  command
      ->add_option("model", options->request.model,
                   "ORG/NAME, or an https:// address of a file or (ending in /) a folder")
      ->required();
  command->add_option("folder", options->folder, "To fill; default: ~/.cache/glm-image/models/ORG/NAME");
  command
      ->add_option("--from", options->request.from, "huggingface, modelscope, or the address of a mirror of the first")
      ->capture_default_str();
  command->add_option("--revision", options->request.revision, "Branch, tag or commit; default: the main branch");
  // One pattern an option, so that a folder may follow.
  command
      ->add_option("--include", options->work.include, "Only files that fit a pattern, such as 'vae/*'; several times")
      ->allow_extra_args(false);
  command->add_option("--exclude", options->work.exclude, "No files that fit a pattern; several times")
      ->allow_extra_args(false);
  command->add_option("--parallel", options->work.fetch.parallel, "Transfers at once")
      ->capture_default_str()
      ->check(CLI::Range(1, 64));
  command->add_option("--retries", options->work.fetch.retries.tries, "Tries without progress before it gives up")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  command->add_option("--timeout", options->timeout, "Seconds to wait for a server that says nothing")
      ->capture_default_str()
      ->check(CLI::Range(1, 3600));
  command->add_flag("--dry-run", options->work.dry_run, "Tell what would be fetched");
  command->add_flag("--json", options->json, "Print JSON");
  command->add_flag("-q,--quiet", options->quiet, "Print errors only");
  command->callback([options, &run] { run = [options] { return pull(*options); }; });
}

}  // namespace glmimage::cli
