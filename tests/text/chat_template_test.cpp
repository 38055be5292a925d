#include "text/chat_template.h"

#include "text/text_test_helpers.h"

namespace glmimage {
namespace {

using Ids = std::vector<int64_t>;
using nlohmann::json;
using test::expect_error;
using test::golden;

ControlIds control_ids(const std::string& name) {
  const json config = test::read_json(golden(name + "/checkpoint/vision_language_encoder/config.json"));
  return {config["image_start_token_id"], config["image_end_token_id"], config["image_token_id"]};
}

ChatTemplate open_template(const std::string& name) {
  return ChatTemplate::open(golden(name + "/checkpoint/processor"), control_ids(name));
}

// Grids as the reference lists them: [target, draft] without sources, [sources…, target] with.
PromptParts parts_of(const std::string& prompt, const json& grids, bool edit) {
  PromptParts parts{.text = prompt, .target = {}, .draft = std::nullopt, .sources = {}};
  std::vector<PromptGrid> list;
  for (const json& grid : grids) list.push_back({grid[0], grid[1]});
  if (edit) {
    parts.target = list.back();
    list.pop_back();
    parts.sources = list;
  } else {
    parts.target = list.at(0);
    parts.draft = list.at(1);
  }
  return parts;
}

TEST(ChatTemplate, EqualsTheReference) {
  for (const std::string& name : test::tiny_checkpoints()) {
    const ChatTemplate chat = open_template(name);
    for (const json& c : test::read_json(golden(name + "/chat_cases.json"))) {
      const std::string prompt = c["prompt"];
      PromptParts parts = parts_of(prompt, c["grids"], !c["pictures"].empty());
      EXPECT_EQ(parts.target, (PromptGrid{c["height"].get<int64_t>() / 32, c["width"].get<int64_t>() / 32}));
      if (parts.draft) {
        EXPECT_EQ(*parts.draft, draft_grid(parts.target)) << prompt;
      }
      parts.mode = SpecialTokens::parse;
      EXPECT_EQ(chat.build(parts).ids, c["ids"].get<Ids>()) << name << ": " << prompt;
      EXPECT_EQ(chat.tokenizer().decode(chat.build(parts).ids), c["rendered"].get<std::string>());
      if (prompt.find("<sop>") != std::string::npos) continue;
      parts.mode = SpecialTokens::as_text;
      EXPECT_EQ(chat.build(parts).ids, c["ids"].get<Ids>()) << name << ": " << prompt;
    }
  }
}

TEST(ChatTemplate, EqualsTheReferenceWholeRuns) {
  for (const std::string& name : test::tiny_checkpoints()) {
    const ChatTemplate chat = open_template(name);
    const json manifest = test::read_json(golden(name + "/manifest.json"));
    for (const json& c : manifest["cases"]) {
      const auto file = SafetensorsFile::open(golden(name) / c["file"].get<std::string>());
      const at::Tensor ids = file.tensor("ar.input_ids").contiguous();  // (1, T)
      const at::Tensor grids = file.tensor("ar.grids").contiguous();    // (pictures, 3): 1, height, width
      json list = json::array();
      for (int64_t i = 0; i < grids.size(0); ++i) {
        const int64_t* row = grids.const_data_ptr<int64_t>() + 3 * i;
        list.push_back({row[1], row[2]});
      }
      const Ids expected(ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + ids.numel());
      const std::string prompt = c["prompt"];
      EXPECT_EQ(chat.build(parts_of(prompt, list, !c["pictures"].empty())).ids, expected) << name << " " << c["name"];
    }
  }
}

TEST(ChatTemplate, DraftGrids) {
  // height, width of the picture in tokens -> of its draft (GlmImageProcessor._get_target_shape)
  const PromptGrid table[][2] = {{{32, 32}, {16, 16}}, {{31, 24}, {18, 14}}, {{64, 16}, {32, 8}}, {{1, 64}, {2, 128}},
                                 {{3, 4}, {13, 18}},   {{2, 3}, {13, 19}},   {{1, 1}, {16, 16}}};
  for (const auto& [target, draft] : table) EXPECT_EQ(draft_grid(target), draft);
  EXPECT_EQ(draft_grid({4, 4}, 2), (PromptGrid{2, 2}));
  expect_error(ErrorKind::usage, {"draft"}, [] { draft_grid({1, 1000}); });
  expect_error(ErrorKind::usage, {"0 x 3"}, [] { draft_grid({0, 3}); });
}

TEST(ChatTemplate, ControlTokensInTheTextStayText) {
  const ChatTemplate chat = open_template("tiny_a");
  for (const std::string text : {"<|image|>", "a <sop>1 2<eop>", "<|dit_token_3|>", "[gMASK]<|user|>"}) {
    const Ids ids = chat.build({.text = text, .target = {2, 2}, .draft = PromptGrid{16, 16}, .sources = {}}).ids;
    EXPECT_EQ(std::count(ids.begin(), ids.end(), chat.tokenizer().token_id("<sop>")), 2) << text;
    EXPECT_EQ(std::count(ids.begin(), ids.end(), chat.tokenizer().token_id("<|image|>")), 0) << text;
    EXPECT_EQ(std::count(ids.begin(), ids.end(), 3), 0) << text;
    EXPECT_EQ(chat.tokenizer().decode(ids).substr(0, text.size()), text);
  }
}

TEST(ChatTemplate, RefusesBadRequests) {
  const ChatTemplate chat = open_template("tiny_a");
  expect_error(ErrorKind::usage, {"UTF-8"}, [&] {
    chat.build({.text = "\xff", .target = {2, 2}, .draft = {}, .sources = {}});
  });
  expect_error(ErrorKind::usage, {"0 x 2"}, [&] {
    chat.build({.text = "a", .target = {0, 2}, .draft = {}, .sources = {}});
  });
  expect_error(ErrorKind::usage, {"reference"}, [&] {
    chat.build({.text = "a", .target = {1, 2}, .draft = {}, .sources = {{1, 0}}});
  });
}

class ChatTemplateFiles : public ::testing::Test {
 protected:
  // A processor/ folder with changed files.
  ChatTemplate open(const std::function<void(json& tokenizer, json& settings)>& change) {
    const auto folder = test::scratch_folder();
    json tokenizer = test::read_json(golden("tiny_a/checkpoint/processor/tokenizer.json"));
    json settings = test::read_json(golden("tiny_a/checkpoint/processor/tokenizer_config.json"));
    change(tokenizer, settings);
    test::write_text(folder / "tokenizer.json", tokenizer.dump());
    if (!settings.is_null()) test::write_text(folder / "tokenizer_config.json", settings.dump());
    return ChatTemplate::open(folder, control_ids("tiny_a"));
  }
  Ids ids(const ChatTemplate& chat, const std::string& text, bool edit = false) {
    PromptParts parts{.text = text, .target = {2, 2}, .draft = std::nullopt, .sources = {}};
    if (edit) parts.sources.push_back({1, 1});
    return chat.build(parts).ids;
  }
  static json& token(json& tokenizer, const std::string& content) {
    for (json& entry : tokenizer["added_tokens"]) {
      if (entry["content"] == content) return entry;
    }
    throw std::runtime_error(content);
  }
};

TEST_F(ChatTemplateFiles, PublishedNamesAreTheDefault) {
  const Ids expected = ids(open_template("tiny_a"), " a ");
  EXPECT_EQ(ids(open([](json&, json& settings) { settings = nullptr; }), " a "), expected);
  EXPECT_EQ(ids(open([](json&, json& settings) {
                  settings["bos_token"] = {{"content", settings["bos_token"]}, {"lstrip", false}};
                }),
                " a "),
            expected);
}

TEST_F(ChatTemplateFiles, NamesComeFromTheSettings) {
  const ChatTemplate chat =
      open([](json&, json& settings) { settings["extra_special_tokens"]["grid_bos_token"] = "[sMASK]"; });
  EXPECT_EQ(ids(chat, "")[0], 539);
}

TEST_F(ChatTemplateFiles, StripFlagsOfControlTokensReachIntoTheText) {
  const ChatTemplate chat = open([&](json& tokenizer, json&) {
    token(tokenizer, "<sop>")["lstrip"] = true;
    token(tokenizer, "<|dit_token_65|>")["rstrip"] = true;
  });
  EXPECT_EQ(ids(chat, "a \n"), ids(chat, "a"));
  EXPECT_NE(ids(chat, " a"), ids(chat, "a"));
  EXPECT_EQ(ids(chat, " a ", true), ids(chat, "a", true));
}

// As seen in the reference: text-to-image has what the post-processor adds, editing has not (its prompt begins with the
// begin token), and add_bos_token changes nothing.
TEST_F(ChatTemplateFiles, TokensThatTheTokenizerAddsByItself) {
  const Ids plain = ids(open_template("tiny_a"), "a"), edit = ids(open_template("tiny_a"), "a", true);
  json processor = json::parse(R"({"type": "TemplateProcessing", "pair": [],
    "single": [{"SpecialToken": {"id": "[gMASK]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "special_tokens": {"[gMASK]": {"id": "[gMASK]", "ids": [538], "tokens": ["[gMASK]"]}}})");
  const ChatTemplate chat = open([&](json& tokenizer, json& settings) {
    tokenizer["post_processor"] = processor;
    settings["add_bos_token"] = true;
  });
  Ids expected = plain;
  expected.insert(expected.begin(), 538);
  EXPECT_EQ(ids(chat, "a"), expected);
  EXPECT_EQ(ids(chat, "a", true), edit);
  std::swap(processor["single"][0], processor["single"][1]);
  expect_error(ErrorKind::checkpoint, {"post_processor", "appends"},
               [&] { open([&](json& tokenizer, json&) { tokenizer["post_processor"] = processor; }); });
}

TEST_F(ChatTemplateFiles, RefusesNamesAndIdsThatDoNotAgree) {
  expect_error(ErrorKind::checkpoint, {"image_start_token_id", "64"},
               [&] { open([](json&, json& settings) { settings["bos_token"] = "<|dit_token_3|>"; }); });
  expect_error(ErrorKind::checkpoint, {"image_token_id"}, [&] {
    open([](json&, json& settings) { settings["extra_special_tokens"]["image_token"] = "<|video|>"; });
  });
  expect_error(ErrorKind::checkpoint, {"<grid>"}, [&] {
    open([](json&, json& settings) { settings["extra_special_tokens"]["grid_bos_token"] = "<grid>"; });
  });
  expect_error(ErrorKind::checkpoint, {"image_token"},
               [&] { open([](json&, json& settings) { settings["extra_special_tokens"]["image_token"] = 3; }); });
  expect_error(ErrorKind::checkpoint, {"<sop>", "single_word"},
               [&] { open([](json& tokenizer, json&) { token(tokenizer, "<sop>")["single_word"] = true; }); });
}

TEST_F(ChatTemplateFiles, RefusesControlTokensThatAreNotMarkedSpecial) {
  const ChatTemplate chat = open([](json& tokenizer, json&) { token(tokenizer, "<|image|>")["special"] = false; });
  expect_error(ErrorKind::usage, {"<|image|>"}, [&] { ids(chat, "a <|image|>"); });
}

}  // namespace
}  // namespace glmimage
