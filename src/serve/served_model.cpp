#include "serve/served_model.h"

#include <sys/stat.h>

#include "models/tokens.h"
#include "pipeline/references.h"
#include "text/bpe_tokenizer.h"

namespace glmimage::serve {
namespace {

int64_t modified(const std::filesystem::path& file) {
  struct stat info = {};
  return ::stat(file.c_str(), &info) == 0 ? static_cast<int64_t>(info.st_mtime) : 0;
}

}  // namespace

ServedModel describe_model(const std::string& name, const std::filesystem::path& folder, const Pipeline& pipeline) {
  ServedModel out;
  out.name = name;
  out.created = modified(folder / "model_index.json");
  out.default_size = pipeline.default_size();
  out.count_text_tokens = [tokenizer =
                               BpeTokenizer::open(folder / "processor" / "tokenizer.json")](const std::string& prompt) {
    return static_cast<int64_t>(tokenizer.encode(prompt, SpecialTokens::as_text).size());
  };
  out.count_picture_tokens = [config = PreprocessConfig::open(folder / "processor")](const PictureSize& picture) {
    const PixelSize size = encoded_size({picture.height, picture.width}, config);
    return (size.height / kPixelsPerVisualToken) * (size.width / kPixelsPerVisualToken);
  };
  return out;
}

}  // namespace glmimage::serve
