#include "text/processor_files.h"

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "text/special_tokens.h"

namespace glmimage {
namespace {

using nlohmann::json;

// Renders a conversation as the published template does: pictures between the begin and end token, then the text; no
// roles, blanks or line ends.
constexpr const char* kChatTemplateHead =
    "{#- Pictures as placeholders between their begin and end tokens, texts as they are; nothing else. -#}\n"
    "{%- for message in messages -%}\n"
    "{%- if message['content'] is string -%}\n"
    "{{ message['content'] }}\n"
    "{%- else -%}\n"
    "{%- for part in message['content'] -%}\n"
    "{%- if part['type'] == 'image' -%}\n";
constexpr const char* kChatTemplateTail =
    "\n"
    "{%- elif part['type'] == 'text' -%}\n"
    "{{ part['text'] }}\n"
    "{%- endif -%}\n"
    "{%- endfor -%}\n"
    "{%- endif -%}\n"
    "{%- endfor -%}\n";

json token_flags(const std::string& content, bool strip) {
  return {{"content", content}, {"lstrip", strip},      {"normalized", false},
          {"rstrip", strip},    {"single_word", false}, {"special", true}};
}

json tokenizer_settings(const JsonObject& tokenizer, const ProcessorOptions& options) {
  json added = json::object();
  for (const json& token : tokenizer.value()["added_tokens"]) {
    added[std::to_string(token["id"].get<int64_t>())] = token_flags(token["content"], false);
  }
  const std::string end = dit_token(options.end);
  return {{"added_tokens_decoder", std::move(added)},
          {"bos_token", dit_token(options.begin)},
          {"clean_up_tokenization_spaces", false},
          {"do_lower_case", false},
          {"eos_token", end},
          {"extra_special_tokens",
           {{"grid_bos_token", "<sop>"}, {"grid_eos_token", "<eop>"}, {"image_token", "<|image|>"}}},
          {"grid_bos_token", "<sop>"},
          {"grid_eos_token", "<eop>"},
          {"image_token", "<|image|>"},
          {"model_max_length", 128000},
          {"pad_token", end},
          {"padding_side", "left"},
          {"processor_class", "GlmImageProcessor"},
          {"remove_space", false},
          {"tokenizer_class", "PreTrainedTokenizerFast"}};
}

}  // namespace

TrainedVocabulary write_processor(const std::filesystem::path& folder, const std::vector<std::string>& texts,
                                  const ProcessorOptions& options) {
  for (int64_t id : {options.begin, options.end}) {
    if (id < 0 || id >= options.tokenizer.dit_tokens) {
      fail(ErrorKind::internal, "the begin or end token ", id, " is not one of the ", options.tokenizer.dit_tokens,
           " dit tokens");
    }
  }
  const TrainedVocabulary vocabulary = write_bpe_tokenizer(folder / "tokenizer.json", texts, options.tokenizer);
  write_json_file(folder / "tokenizer_config.json",
                  tokenizer_settings(JsonObject::open(folder / "tokenizer.json"), options));
  write_json_file(folder / "preprocessor_config.json", options.picture_settings);
  write_file(folder / "chat_template.jinja", concat(kChatTemplateHead, dit_token(options.begin), "<|image|>",
                                                    dit_token(options.end), kChatTemplateTail));
  return vocabulary;
}

void write_byte_tokenizer(const std::filesystem::path& folder) {
  constexpr int64_t kExtraIds = 125, kFirstExtraId = 259;
  json added{{"0", token_flags("<pad>", true)}, {"1", token_flags("</s>", true)}, {"2", token_flags("<unk>", true)}};
  json names = json::array(), ids = json::object();
  for (int64_t i = 0; i < kExtraIds; ++i) {
    const std::string name = concat("<extra_id_", i, ">");
    added[std::to_string(kFirstExtraId + i)] = token_flags(name, false);
    names.push_back(name);
    ids[name] = kFirstExtraId + i;
  }
  write_json_file(folder / "tokenizer_config.json", {{"added_tokens_decoder", std::move(added)},
                                                     {"additional_special_tokens", std::move(names)},
                                                     {"clean_up_tokenization_spaces", false},
                                                     {"eos_token", "</s>"},
                                                     {"extra_ids", kExtraIds},
                                                     {"pad_token", "<pad>"},
                                                     {"tokenizer_class", "ByT5Tokenizer"},
                                                     {"unk_token", "<unk>"}});
  write_json_file(folder / "added_tokens.json", ids);
}

}  // namespace glmimage
