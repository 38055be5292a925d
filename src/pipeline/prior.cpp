#include "pipeline/prior.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "models/ar/decoder.h"
#include "models/ar/positions.h"

namespace glmimage {
namespace {

void check_ids(const std::vector<int64_t>& ids, const ArConfig& config) {
  if (ids.empty()) fail(ErrorKind::usage, "the prompt holds no ids");
  for (int64_t id : ids) {
    if (id < 0 || id >= config.vocab_size) {
      fail(ErrorKind::usage, "the prompt holds the id ", id, "; the model knows 0 … ", config.vocab_size - 1,
           ": does the tokenizer belong to this checkpoint?");
    }
  }
}

void check_grid(const Grid& grid, const char* what) {
  if (grid.height <= 0 || grid.width <= 0) {
    fail(ErrorKind::usage, "the ", what, " grid is ", grid.height, " x ", grid.width, "; expected at least 1 x 1");
  }
}

// Grids as the position rules want them: sources, target, draft.
std::vector<Grid> grids_of(const PriorRequest& request) {
  std::vector<Grid> grids;
  for (const VisualTokens& source : request.sources) grids.push_back(source.grid);
  grids.push_back(request.target);
  if (request.draft) grids.push_back(*request.draft);
  return grids;
}

// Every source must stand in the prompt, closed by its end id: what is not there would be drawn.
void check_pictures(const PriorRequest& request, const ArConfig& config) {
  const auto ends = std::count(request.input_ids.begin(), request.input_ids.end(), config.end_image_id);
  if (ends != static_cast<std::ptrdiff_t>(request.sources.size())) {
    fail(ErrorKind::usage, "the prompt closes ", ends, " pictures, but came with ", request.sources.size(),
         "; does the text contain image markers?");
  }
}

// Runs the prompt and returns the logits after its last id, (1, Vv).
at::Tensor prefill_prompt(const ArModel& model, const std::vector<int64_t>& ids, const PositionTable& positions,
                          KvCache& cache) {
  at::Tensor input = at::tensor(ids, at::kLong).unsqueeze(0).to(model.embed_tokens.weight.device());  // (1, T)
  at::Tensor hidden = model.prefill(model.embed(input), model.rope(positions_tensor(positions)), cache);
  return model.logits(hidden.select(1, hidden.size(1) - 1));
}

// Draws and feeds one id at a time -> (1, count) int64 on the CPU.
at::Tensor draw_one_by_one(const ArModel& model, PriorStart& start, const SamplerOptions& sampling,
                           at::Generator& generator, Progress* progress) {
  at::Tensor output = at::empty({1, start.count}, at::kLong);  // (1, N)
  int64_t* drawn = output.mutable_data_ptr<int64_t>();
  at::Tensor logits = start.logits;  // (1, Vv)
  for (int64_t k = 0; k < start.count; ++k) {
    drawn[k] = sample(logits, sampling, model.config.codebook_size, generator).item<int64_t>();
    step(progress, Stage::visual_tokens, k + 1, start.count);
    if (k + 1 == start.count) break;
    logits = model.logits(model.decode(model.embed_one(drawn[k]), start.rope.at(k), start.cache).select(1, 0));
  }
  return output;
}

// The same on a device, which draws too: the host gives work for so many ids before it waits for them, since what is
// quick for a device is over before the host has seen its result and sent the next operator.
constexpr int64_t kAhead = 16;

at::Tensor draw_ahead(const ArModel& model, PriorStart& start, const SamplerOptions& sampling, at::Generator& generator,
                      Progress* progress) {
  ArDecoder decoder(model, start.cache, start.rope);
  const auto noise_from = [&](int64_t done) {
    return draw_noise(std::min(kAhead, start.count - done), start.logits.size(1), sampling, generator);
  };
  at::Tensor output = at::empty({1, start.count}, at::kLong);  // (1, N)
  at::Tensor logits = start.logits;                            // (1, Vv)
  at::Tensor next_noise = noise_from(0);                       // (ahead, Vv), on the CPU
  for (int64_t done = 0; done < start.count;) {
    const at::Tensor noise = next_noise.to(logits.device());  // (ahead, Vv)
    const int64_t ahead = noise.size(0);
    const at::Tensor drawn = at::empty({ahead}, decoder.id().options());  // (ahead)
    for (int64_t i = 0; i < ahead; ++i) {
      const at::Tensor id = sample_in_place(logits, noise.narrow(0, i, 1), sampling, model.config.codebook_size);
      drawn.narrow(0, i, 1).copy_(id);
      if (done + i + 1 == start.count) break;
      decoder.feed(id.clamp_min(0));
      logits = decoder.logits();
    }
    if (done + ahead < start.count) next_noise = noise_from(done + ahead);  // while the device works
    output.narrow(1, done, ahead).copy_(drawn.unsqueeze(0));
    check_drawn(output.narrow(1, done, ahead));
    for (int64_t i = 0; i < ahead; ++i) step(progress, Stage::visual_tokens, ++done, start.count);
  }
  return output;
}

}  // namespace

ControlIds control_ids(const ArConfig& config) {
  return {config.begin_image_id, config.end_image_id, config.image_placeholder_id};
}

std::vector<int64_t> place_sources(std::vector<int64_t> ids, const std::vector<VisualTokens>& sources,
                                   int64_t placeholder) {
  std::vector<int64_t> visual;
  for (const VisualTokens& source : sources) {
    at::Tensor host = source.ids.to(at::kCPU, at::kLong).contiguous().view(-1);
    if (host.numel() != source.grid.count()) {
      fail(ErrorKind::usage, "a source of ", source.grid.height, " x ", source.grid.width, " tokens came with ",
           host.numel(), " ids");
    }
    visual.insert(visual.end(), host.const_data_ptr<int64_t>(), host.const_data_ptr<int64_t>() + host.numel());
  }
  const auto places = std::count(ids.begin(), ids.end(), placeholder);
  if (places != static_cast<std::ptrdiff_t>(visual.size())) {
    fail(ErrorKind::usage, "the prompt has ", places, " picture placeholders for ", visual.size(),
         " visual ids of its sources; does the text contain placeholders?");
  }
  auto next = visual.begin();
  for (int64_t& id : ids) {
    if (id == placeholder) id = *next++;
  }
  return ids;
}

PriorStart begin_prior(const ArModel& model, const PriorRequest& request, Progress* progress) {
  const ArConfig& config = model.config;
  validate(request.sampling);
  check_grid(request.target, "target");
  if (request.draft) check_grid(*request.draft, "draft");
  const std::vector<int64_t> ids = place_sources(request.input_ids, request.sources, config.image_placeholder_id);
  check_ids(ids, config);
  check_pictures(request, config);
  const ArPositions positions =
      ar_positions(request.input_ids, grids_of(request), {config.begin_image_id, config.end_image_id});
  const int64_t count = request.target.count() + (request.draft ? request.draft->count() : 0);
  const int64_t prompt = static_cast<int64_t>(ids.size());

  step(progress, Stage::visual_tokens, 0, count);
  PriorStart start{.logits = {},
                   .rope = model.rope(positions_tensor(positions.decode)),
                   .cache = KvCache(config, 1, prompt + count - 1, model.embed_tokens.weight),
                   .count = count};
  start.logits = prefill_prompt(model, ids, positions.prefill, start.cache);
  return start;
}

PriorResult end_prior(const PriorRequest& request, at::Tensor output_ids) {
  const int64_t draft_count = request.draft ? request.draft->count() : 0;
  PriorResult result{.output_ids = output_ids, .draft = std::nullopt, .target = {}};
  if (request.draft) result.draft = VisualTokens{*request.draft, output_ids.narrow(1, 0, draft_count)};
  result.target = {request.target, output_ids.narrow(1, draft_count, request.target.count())};
  return result;
}

PriorResult run_prior(const ArModel& model, const PriorRequest& request, at::Generator& generator, Progress* progress) {
  PriorStart start = begin_prior(model, request, progress);
  const auto draw = start.logits.is_cpu() ? draw_one_by_one : draw_ahead;
  return end_prior(request, draw(model, start, request.sampling, generator, progress));
}

}  // namespace glmimage
