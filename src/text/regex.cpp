#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <new>

#include "core/error.h"
#include "text/utf8.h"

namespace glmimage {
namespace {

template <auto release>
struct Release {
  template <typename T>
  void operator()(T* pointer) const {
    release(pointer);
  }
};
using CodePointer = std::unique_ptr<pcre2_code, Release<pcre2_code_free>>;
using CompileContext = std::unique_ptr<pcre2_compile_context, Release<pcre2_compile_context_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Release<pcre2_match_context_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Release<pcre2_match_data_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Release<pcre2_jit_stack_free>>;

constexpr size_t kJitStackStart = 32 << 10, kJitStackLimit = 16 << 20;  // bytes

std::string describe(int error) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(error, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

CodePointer compile_code(const std::string& pattern, uint32_t options, const std::string& where) {
  CompileContext context(pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);  // as in Ruby, only \n ends a line
  int error = 0;
  size_t offset = 0;
  CodePointer code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options, &error, &offset,
                                 context.get()));
  if (!code) {
    fail(ErrorKind::checkpoint, where, ": not a valid regular expression (", describe(error), " at byte ", offset,
         "): ", pattern);
  }
  // Without it (no executable memory) pcre2_match falls back to its interpreter.
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  return code;
}

// What a match needs besides the code, one per thread: made anew for every short text it would dominate the time.
struct Scratch {
  MatchData data{pcre2_match_data_create(1, nullptr)};
  MatchContext context{pcre2_match_context_create(nullptr)};
  JitStack stack{pcre2_jit_stack_create(kJitStackStart, kJitStackLimit, nullptr)};

  Scratch() {
    if (!data || !context) throw std::bad_alloc();
    pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }
};

}  // namespace

struct Regex::Code {
  CodePointer pointer;
};

Regex Regex::compile(const std::string& pattern, const std::string& where) {
  const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_UTF_CHECK;
  if (find_invalid_utf8(pattern) != std::string::npos) fail(ErrorKind::checkpoint, where, ": not valid UTF-8");
  return Regex(std::make_shared<Code>(Code{compile_code(to_pcre2_syntax(pattern, where), options, where)}));
}

Regex Regex::literal(const std::string& text, const std::string& where) {
  if (text.empty()) fail(ErrorKind::checkpoint, where, ": expected a text to split at, not an empty one");
  return Regex(std::make_shared<Code>(Code{compile_code(text, PCRE2_UTF | PCRE2_LITERAL, where)}));
}

std::vector<Span> Regex::find_all(std::string_view subject) const {
  thread_local const Scratch scratch;
  std::vector<Span> matches;
  const auto* text = reinterpret_cast<PCRE2_SPTR>(subject.data() ? subject.data() : "");
  for (size_t start = 0; start <= subject.size();) {
    const int found = pcre2_match(code_->pointer.get(), text, subject.size(), start, PCRE2_NO_UTF_CHECK,
                                  scratch.data.get(), scratch.context.get());
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      fail(ErrorKind::usage, "the text of ", subject.size(),
           " bytes is too long for the tokenizer's regular expression: ", describe(found));
    }
    const size_t* offsets = pcre2_get_ovector_pointer(scratch.data.get());
    const Span match{offsets[0], offsets[1]};
    // An empty match where the last one ended does not count (as in the tokenizers library).
    const bool again = match.begin == match.end && !matches.empty() && matches.back().end == match.begin;
    if (!again) matches.push_back(match);
    start = match.end;
    if (match.begin == match.end) {  // go on behind the next character
      if (start >= subject.size()) break;
      next_code_point(subject, start);
    }
  }
  return matches;
}

}  // namespace glmimage
