#include "pipeline/prior_batch.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <map>
#include <memory>
#include <utility>

#include "core/current_error.h"

namespace glmimage {
namespace {

// One picture on its way.
struct Row {
  PriorTask* task;
  PriorStart start;
  at::Tensor output;           // (1, count) int64 on the CPU
  std::optional<Error> error;  // refused or cancelled: its place in the batch is kept, and nothing is drawn for it

  // Draws id k from logits (1, Vv). Returns it, or 0 for a row that has ended.
  int64_t draw(int64_t k, const at::Tensor& logits, int64_t codes) {
    if (error) return 0;
    try {
      const int64_t id = sample(logits, task->request.sampling, codes, task->generator).item<int64_t>();
      output.mutable_data_ptr<int64_t>()[k] = id;
      step(task->progress, Stage::visual_tokens, k + 1, start.count);
      return id;
    } catch (...) {
      error = current_error();
      return 0;
    }
  }
};
using Rows = std::vector<Row*>;

bool all_ended(const Rows& rows) {
  for (const Row* row : rows) {
    if (!row->error) return false;
  }
  return true;
}

// What the model goes on from: the rows' caches and turns of the rope as one.
struct Batch {
  KvCache cache;
  Rope rope;  // (B, count + 1, 1, R/2)
};

Batch join(const ArModel& model, const Rows& rows) {
  const PriorStart& first = rows.front()->start;
  Batch out{.cache = KvCache(model.config, static_cast<int64_t>(rows.size()), first.cache.capacity(),
                             model.embed_tokens.weight),
            .rope = {}};
  const int64_t tokens = first.cache.length();
  std::vector<at::Tensor> keys, values, cos, sin;
  for (int64_t layer = 0; layer < model.config.layers; ++layer) {
    keys.clear(), values.clear();
    for (const Row* row : rows) {
      keys.push_back(row->start.cache.keys(layer).narrow(2, 0, tokens));
      values.push_back(row->start.cache.values(layer).narrow(2, 0, tokens));
    }
    out.cache.write(layer, at::cat(keys), at::cat(values));  // (B, Hkv, T, hd)
  }
  out.cache.advance(tokens);
  for (const Row* row : rows) {
    cos.push_back(row->start.rope.cos);
    sin.push_back(row->start.rope.sin);
  }
  out.rope = {at::cat(cos), at::cat(sin)};
  return out;
}

at::Tensor feed(const ArModel& model, const at::Tensor& ids, const Rope& rope, KvCache& cache) {
  return model.logits(model.decode(model.embed(ids), rope, cache).select(1, 0));  // (B, Vv)
}

// The rest of a picture alone, from the logits for id k.
void finish_alone(const ArModel& model, Row& row, int64_t k, at::Tensor logits) {
  for (; k < row.start.count; ++k) {
    const int64_t id = row.draw(k, logits, model.config.codebook_size);
    if (row.error || k + 1 == row.start.count) return;
    logits = model.logits(model.decode(model.embed_one(id), row.start.rope.at(k), row.start.cache).select(1, 0));
  }
}

void finish_together(const ArModel& model, const Rows& rows, Batch& batch, at::Tensor logits) {
  const int64_t count = rows.front()->start.count, size = static_cast<int64_t>(rows.size());
  const at::Tensor ids = at::empty({size, 1}, at::kLong);  // (B, 1)
  for (int64_t k = 1; k < count; ++k) {
    for (int64_t b = 0; b < size; ++b) {
      ids.mutable_data_ptr<int64_t>()[b] =
          rows[static_cast<size_t>(b)]->draw(k, logits.narrow(0, b, 1), model.config.codebook_size);
    }
    if (all_ended(rows) || k + 1 == count) return;
    logits = feed(model, ids, batch.rope.at(k), batch.cache);
  }
}

// Draws the first id of each, and feeds it to the model both alone and together.
void draw_group(const ArModel& model, const Rows& rows) {
  const int64_t size = static_cast<int64_t>(rows.size()), codes = model.config.codebook_size;
  const PriorStart& first = rows.front()->start;
  if (size == 1 || first.count == 1) {
    for (Row* row : rows) finish_alone(model, *row, 0, row->start.logits);
    return;
  }
  Batch batch = join(model, rows);
  const at::Tensor ids = at::empty({size, 1}, at::kLong);  // (B, 1)
  std::vector<at::Tensor> alone;
  for (int64_t b = 0; b < size; ++b) {
    Row& row = *rows[static_cast<size_t>(b)];
    const int64_t id = row.draw(0, row.start.logits, codes);
    ids.mutable_data_ptr<int64_t>()[b] = id;
    alone.push_back(
        model.logits(model.decode(model.embed_one(id), row.start.rope.at(0), row.start.cache).select(1, 0)));
  }
  const at::Tensor together = feed(model, ids, batch.rope.at(0), batch.cache);  // (B, Vv)
  if (together.equal(at::cat(alone))) {
    for (Row* row : rows) row->start.cache = KvCache(model.config, 0, 0, model.embed_tokens.weight);
    return finish_together(model, rows, batch, together);
  }
  for (int64_t b = 0; b < size; ++b) {
    Row& row = *rows[static_cast<size_t>(b)];
    if (!row.error) finish_alone(model, row, 1, alone[static_cast<size_t>(b)]);
  }
}

// By lengths of prompt and picture, in groups of at most kLargestPriorBatch.
std::vector<Rows> groups_of(const std::vector<std::unique_ptr<Row>>& rows) {
  std::map<std::pair<int64_t, int64_t>, Rows> open;
  std::vector<Rows> out;
  for (const auto& row : rows) {
    if (!row || row->error) continue;
    Rows& group = open[{row->start.cache.length(), row->start.count}];
    group.push_back(row.get());
    if (static_cast<int64_t>(group.size()) == kLargestPriorBatch) out.push_back(std::exchange(group, {}));
  }
  for (auto& [lengths, group] : open) {
    if (!group.empty()) out.push_back(std::move(group));
  }
  return out;
}

using Outcome = std::variant<PriorResult, Error>;

Outcome run_alone(const ArModel& model, PriorTask& task) {
  try {
    return run_prior(model, task.request, task.generator, task.progress);
  } catch (...) {
    return current_error();
  }
}

}  // namespace

std::vector<Outcome> run_priors(const ArModel& model, std::vector<PriorTask>& tasks) {
  std::vector<Outcome> out;
  if (!model.embed_tokens.weight.is_cpu() || tasks.size() == 1) {
    for (PriorTask& task : tasks) out.push_back(run_alone(model, task));
    return out;
  }
  std::vector<std::unique_ptr<Row>> rows;  // null: refused
  std::vector<Error> refused(tasks.size(), Error(ErrorKind::internal, "not begun"));
  for (size_t i = 0; i < tasks.size(); ++i) {
    rows.emplace_back();
    try {
      PriorStart start = begin_prior(model, tasks[i].request, tasks[i].progress);
      const at::Tensor output = at::empty({1, start.count}, at::kLong);
      rows[i] = std::make_unique<Row>(Row{&tasks[i], std::move(start), output, std::nullopt});
    } catch (...) {
      refused[i] = current_error();
    }
  }
  for (const Rows& group : groups_of(rows)) draw_group(model, group);
  for (size_t i = 0; i < tasks.size(); ++i) {
    if (!rows[i])
      out.emplace_back(refused[i]);
    else if (rows[i]->error)
      out.emplace_back(*rows[i]->error);
    else
      out.emplace_back(end_prior(tasks[i].request, rows[i]->output));
  }
  return out;
}

}  // namespace glmimage
