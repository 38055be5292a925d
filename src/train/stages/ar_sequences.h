#pragma once

#include "models/ar/config.h"
#include "text/chat_template.h"
#include "train/data/encoded_data.h"
#include "train/losses/ar_loss.h"

namespace glmimage::train {

// A batch's sequences, one a picture, every visual id and the end id after them to be predicted:
//   text to picture   prompt ‖ draft ‖ picture ‖ end
//   editing           prompt with the ids of its sources ‖ picture ‖ end
// `draft_weight`: how much an id of a draft counts, against 1 for one of the picture. Rows of a batch share one bucket,
// so they differ by the lengths of their captions alone and are padded on the right: packing would save little.
SequenceBatch make_sequences(const ArConfig& config, const ChatTemplate& chat, const EncodedBatch& batch,
                             double draft_weight);

}  // namespace glmimage::train
