// A file that may be a tokenizer.json: it is refused with ErrorKind::checkpoint, or texts go to ids and back.
#include "core/error.h"
#include "fuzz/memory_file.h"
#include "text/bpe_tokenizer.h"

using namespace glmimage;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const test::MemoryFile file(data, size);
  try {
    const BpeTokenizer tokenizer = BpeTokenizer::open(file.path());
    for (const char* text : {"", "a red apple, 12 pears", "\"Zwölf\"  个苹果 \xf0\x9f\x8d\x8e\n<sop>a b"}) {
      for (const SpecialTokens mode : {SpecialTokens::as_text, SpecialTokens::parse}) {
        const std::vector<int64_t> ids = tokenizer.encode(text, mode);
        for (const int64_t id : ids) test::require(id >= 0 && id < tokenizer.id_limit());
        tokenizer.decode(ids);
      }
    }
  } catch (const Error& error) {
    test::require(error.kind() == ErrorKind::checkpoint);
  }
  return 0;
}
